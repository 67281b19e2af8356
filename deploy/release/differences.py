"""What a release would change on a cluster: each object as it is there, and as the server would make it."""

from __future__ import annotations

import difflib
import enum
from collections.abc import Sequence
from dataclasses import dataclass

from deploy.release.merge import merged
from deploy.release.objects import Key, Object, as_yaml, by_key, key_of, told
from deploy.tools.kubectl import Kubectl


class Action(enum.StrEnum):
    """What becomes of an object."""

    CREATE = "create"
    CHANGE = "change"
    DELETE = "delete"
    KEEP = "keep"


@dataclass(frozen=True)
class Change:
    """One object: `before` and `after` are what may be shown of it, as YAML; empty where it is not there."""

    key: Key
    action: Action
    before: str = ""
    after: str = ""
    secret_changed: bool = False

    def diff(self) -> str:
        """The lines that differ, as `diff -u` writes them. Empty where nothing does."""
        if self.action is Action.KEEP:
            return ""
        if self.secret_changed and self.before == self.after:
            return (
                f"--- {self.key} (on the cluster)\n+++ {self.key} (the release's)\n@@ values that are not shown @@\n"
            )
        lines = difflib.unified_diff(
            self.before.splitlines(keepends=True), self.after.splitlines(keepends=True),
            f"{self.key} (on the cluster)", f"{self.key} (the release's)",
        )  # fmt: skip
        return "".join(lines)


def changes_of(
    kubectl: Kubectl, old: Sequence[Object], new: Sequence[Object], *, namespace_exists: bool
) -> list[Change]:
    """What an upgrade from the objects `old` (none: an installation) to `new` would do, in the order of `new`.

    The server makes every object ready in a dry run, so that what it fills in does not count as a change, and so that
    it refuses now what it would refuse later. Where the namespace is not there yet it cannot: then objects are shown
    as they were rendered. Raises KubectlError with what it refuses.
    """
    before = by_key(kubectl.live([*new, *_gone(old, new)]))
    olds = by_key(old)
    fresh = [item for item in new if key_of(item) not in before]
    known = [item for item in new if key_of(item) in before]
    made = by_key(kubectl.create(fresh, dry_run=True) if namespace_exists else fresh)
    meant = [merged(before[key_of(item)], olds.get(key_of(item), {}), item) for item in known]
    made |= by_key(kubectl.replace(meant, dry_run=True))
    found = [_change(key_of(item), before.get(key_of(item)), made[key_of(item)]) for item in new]
    return found + [
        Change(key_of(item), Action.DELETE, before=_text(before[key_of(item)]))
        for item in _gone(old, new)
        if key_of(item) in before
    ]


def _gone(old: Sequence[Object], new: Sequence[Object]) -> list[Object]:
    """What the release had and has no more; Helm leaves alone what says that it is to be kept."""
    wanted = {key_of(item) for item in new}
    return [item for item in old if key_of(item) not in wanted and not is_kept(item)]


def is_kept(item: Object) -> bool:
    """Whether Helm leaves it on the cluster when the release no longer has it."""
    return (item.get("metadata", {}).get("annotations") or {}).get("helm.sh/resource-policy") == "keep"


def _change(key: Key, before: Object | None, after: Object) -> Change:
    if before is None:
        return Change(key, Action.CREATE, after=_text(after))
    old, new = _text(before), _text(after)
    secret = key.kind == "Secret" and before.get("data") != after.get("data")
    action = Action.KEEP if old == new and not secret else Action.CHANGE
    return Change(key, action, old, new, secret)


def _text(item: Object) -> str:
    return as_yaml(told(item))


def summary(changes: Sequence[Change]) -> str:
    """`2 to create, 1 to change, 8 as they are`; `nothing` where there is no object."""
    counts = {action: sum(change.action is action for change in changes) for action in Action}
    words = [
        f"{count} as they are" if action is Action.KEEP else f"{count} to {action}"
        for action, count in counts.items()
        if count
    ]
    return ", ".join(words) or "nothing"


def differing(changes: Sequence[Change]) -> list[Change]:
    """Those that are not as they are to be."""
    return [change for change in changes if change.action is not Action.KEEP]
