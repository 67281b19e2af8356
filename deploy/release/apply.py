"""A release is brought to a cluster: looked at first, then sent, watched, and taken back when it does not come up."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import TypeVar

from deploy.release.back import roll_back
from deploy.release.cluster import Cluster
from deploy.release.differences import Change, changes_of, differing
from deploy.release.objects import is_hook, objects_of
from deploy.release.overrides import CHART
from deploy.release.patience import answered
from deploy.release.preflight import Found, preflight
from deploy.release.rollout import Rollout, wait
from deploy.release.served import note
from deploy.release.state import OURS, State, state_of
from deploy.release.wanted import Wanted, check_record
from deploy.tools.helm import HelmError
from deploy.tools.kubectl import KubectlError
from deploy.tools.process import BrokenAnswerError
from generator.problems import Problem, ProblemsError, Severity, UserError

T = TypeVar("T")
Say = Callable[[str], None]
Guard = Callable[[], AbstractContextManager[None]]
BACK_WITHIN_S = 120.0  # what served before a failed upgrade still runs, so that it is soon whole again


@dataclass(frozen=True)
class Planned:
    """What would be changed, and what the cluster said before."""

    wanted: Wanted
    found: Found
    changes: tuple[Change, ...]

    @property
    def is_needed(self) -> bool:
        """Whether there is anything to send: a difference, or a revision that did not come to its end."""
        newest = self.found.state.newest
        return bool(differing(self.changes)) or newest is None or newest.status != "deployed"


def plan(
    cluster: Cluster, wanted: Wanted, *, create_namespace: bool = False, changing: bool = True,
    nodes_must_do: bool = True,
) -> Planned:  # fmt: skip
    """Looks at everything and changes nothing: what is in the way, and what the server would make of each object.

    Nodes that will not do are in the way only of a change, and only with `nodes_must_do`. Raises ProblemsError with
    all that is in the way.
    """
    rendered = wanted.rendered(cluster.helm)
    check_record(wanted, rendered)
    found = preflight(
        cluster, wanted.name, rendered, create_namespace=create_namespace, changing=changing,
        nodes_must_do=nodes_must_do,
    )  # fmt: skip
    try:
        made = cluster.helm.dry_run(wanted.name, CHART, wanted.text())
        new = objects_of(made.manifest)
        old = _sent_before(cluster, found.state)
        changes = changes_of(cluster.kubectl, old, new, namespace_exists=found.namespace_exists)
    except BrokenAnswerError:
        raise
    except (HelmError, KubectlError) as error:
        raise cluster.stop("TK451", f"the cluster refuses what would be sent: {error.message}", error.hint) from error
    told = [Problem("TK458", cluster.place, "", line, severity=Severity.WARNING) for line in made.warnings]
    return Planned(wanted, replace(found, problems=(*found.problems, *told)), tuple(changes))


def _sent_before(cluster: Cluster, state: State) -> list[dict[str, object]]:
    """The objects of the revision that an upgrade starts from, as Helm sees it: the deployed one, else the newest."""
    if state.newest is None:
        return []
    deployed = [revision for revision in state.history if revision.status == "deployed"]
    base = deployed[-1] if deployed else state.newest
    return [item for item in objects_of(cluster.helm.manifest(state.name, base.number)) if not is_hook(item)]


@dataclass(frozen=True)
class Applied:
    """The revision that serves now."""

    revision: int
    rollout: Rollout


def apply(
    cluster: Cluster, planned: Planned, *, create_namespace: bool, timeout_s: float, say: Say, guard: Guard,
    keep_failed: bool = False,
) -> Applied:  # fmt: skip
    """Sends the release and waits until all its pods serve.

    What does not come up is taken back to what was there before, and so is what is interrupted; `keep_failed` leaves
    it for a look. Only what this call has sent is taken back. Within `guard` interrupts wait: half an undoing would
    be worse than none. `say` gets what happens. Raises ProblemsError: TK457 when the release has changed since it was
    planned, TK452 when the rollout failed; KeyboardInterrupt goes on when all is as before.
    """
    wanted, before = planned.wanted, planned.found.state
    _check_unchanged(cluster, before)
    made = cluster.namespace if create_namespace and not planned.found.namespace_exists else ""
    sent = Sent(before, secrets.token_hex(8), made)
    try:
        say("sending the release")
        cluster.helm.upgrade(
            wanted.name, CHART, wanted.text(), create_namespace=bool(made), mark=sent.mark,
            description=f"{OURS}{', '.join(wanted.pipelines)} on target {wanted.target}"[:200],
        )  # fmt: skip
        rollout = wait(cluster, wanted.name, timeout_s=timeout_s, progress=say)
    except BaseException as error:
        if keep_failed and isinstance(error, UserError):
            raise _left(cluster, error.message) from error
        with guard():
            told = _back(cluster, sent, say=say)
            say(told)
        if isinstance(error, UserError):
            raise cluster.stop("TK452", f"{error.message}; {told}", error.hint) from error
        raise
    if not rollout.is_done:
        why = _why(rollout, timeout_s)
        if keep_failed:
            raise _left(cluster, why)
        with guard():
            told = _back(cluster, sent, say=say)
            say(told)
        raise cluster.stop("TK452", f"{why}; {told}", _settled(cluster, before, say))
    return _serving(cluster, before, sent.number, rollout, say, mark=sent.mark)


@dataclass(frozen=True)
class Sent:
    """What was sent: over which state, with which mark in Helm's record, and the namespace that was made for it."""

    before: State
    mark: str
    namespace: str = ""

    @property
    def number(self) -> int:
        """The revision that it is, if it is there."""
        return self.before.next_number


def watched(cluster: Cluster, planned: Planned, *, timeout_s: float, say: Say) -> Applied:
    """Of a release that is as it is to be: waits until it serves, and takes nothing back.

    Raises KubectlError; ProblemsError (TK457) when somebody has changed the release meanwhile.
    """
    rollout = wait(cluster, planned.wanted.name, timeout_s=timeout_s, progress=say)
    newest = planned.found.state.newest
    number = newest.number if newest else 0
    if not rollout.is_done:
        return Applied(number, rollout)
    return _serving(cluster, planned.found.state, number, rollout, say)


def _serving(
    cluster: Cluster, before: State, number: int, rollout: Rollout, say: Say, *, mark: str = ""
) -> Applied:  # fmt: skip
    """Notes that revision `number`, which carries the mark, serves: a later rollback goes to none that never did.

    It serves whether or not that can be noted. Raises ProblemsError (TK457) when it is somebody else's that serves.
    """
    name, helm = before.name, cluster.helm

    def ask(question: Callable[[], T]) -> T:
        return answered(question, until=time.monotonic(), say=say)

    try:
        now = State(name, tuple(ask(lambda: helm.history(name))))
        mine = now.newest is not None and now.newest.number == number
        mine = mine and (not mark or ask(lambda: helm.marked(name, mark)) == number)
        told = ask(lambda: note(cluster, name, {*before.served, number})) if mine else ""
    except UserError as error:
        mine, told = True, f"that it serves could not be noted for later rollbacks: {error.message}"
    if not mine:
        raise cluster.stop(
            "TK457",
            f"all pods of release `{name}` serve, but revision {number}, which was waited for, is no longer the "
            f"newest: it is now {now.sentence}, of somebody else",
            "`tritonkit deploy status` shows what runs, `tritonkit deploy diff` what differs from the specs",
        )  # fmt: skip
    if told:
        say(told)
    return Applied(number, rollout)


def _check_unchanged(cluster: Cluster, before: State) -> None:
    """Raises ProblemsError when somebody has changed the release since it was looked at."""
    now = state_of(cluster, before.name)
    if now.history != before.history:
        raise cluster.stop(
            "TK457",
            f"release `{before.name}` was {before.sentence} when it was looked at, and is now {now.sentence}: "
            "somebody else works on it, and nothing was sent", "run the same command again, to see what differs now",
        )  # fmt: skip


def _left(cluster: Cluster, why: str) -> ProblemsError:
    hint = "`tritonkit deploy status` looks again, `tritonkit deploy rollback` takes it back"
    return cluster.stop("TK452", f"{why}; it was left as it is", hint)


def _why(rollout: Rollout, timeout_s: float) -> str:
    """Why it was given up."""
    if rollout.failed:
        return "; ".join(["the rollout failed", rollout.failed, *rollout.waiting])
    return f"the release did not come up within {timeout_s:g} s: {rollout.sentence}"


def _back(cluster: Cluster, sent: Sent, *, say: Say) -> str:
    """Makes the release what it was before; what was done, in words. Raises nothing that Helm or the cluster says.

    What somebody else has done since stays: only the revision with the mark is taken back.
    """
    before, helm = sent.before, cluster.helm

    def ask(question: Callable[[], T]) -> T:
        return answered(question, until=time.monotonic(), say=say)

    try:
        say("looking at what there is to take back")
        now = State(before.name, tuple(ask(lambda: helm.history(before.name))))
        if now.newest is None or (before.newest is not None and now.newest == before.newest):
            return "nothing was changed"
        if now.newest.number != sent.number or ask(lambda: helm.marked(before.name, sent.mark)) != sent.number:
            return f"the release is somebody else's now ({now.sentence}) and was left alone"
        if before.newest is None:
            say("removing what was installed")
            ask(lambda: helm.uninstall(before.name))
            kept = f"; namespace `{sent.namespace}`, which was made for it, stays" if sent.namespace else ""
            return f"it was the first installation, so all of it was removed{kept}"
        if before.good is None:
            return (
                "no revision before it is known to have served, so that there is nothing to go back to: revision "
                f"{sent.number} is left as it is; `tritonkit deploy apply` goes over it once it is mended, and "
                "`tritonkit deploy delete` removes all of it"
            )
        good = before.good.number
        say(f"rolling back to revision {good}")
        ask(lambda: roll_back(cluster, now, good, say))
    except (UserError, ProblemsError) as error:
        remedy = "rollback" if before.good is not None else "delete"
        return f"IT COULD NOT BE TAKEN BACK ({error}): `tritonkit deploy {remedy}` once the cluster answers"
    return f"rolled back to revision {good}"


def _settled(cluster: Cluster, before: State, say: Say) -> str:
    """Whether what was there before serves again, for the hint."""
    if before.good is None:
        return ""
    try:
        rollout = wait(cluster, before.name, timeout_s=BACK_WITHIN_S, progress=say)
    except (UserError, ProblemsError) as error:
        return f"whether revision {before.good.number} serves again is not known: {error}"
    if rollout.is_done:
        return f"revision {before.good.number} serves again"
    return f"revision {before.good.number} is not whole yet: {rollout.sentence}"


def rolled_back(
    cluster: Cluster, state: State, revision: int, *, timeout_s: float, say: Say
) -> Applied:  # fmt: skip
    """Makes an earlier revision the newest, and waits until it serves.

    Raises ProblemsError: TK452 when it does not, TK457 when somebody has changed the release meanwhile.
    """
    try:
        say(f"rolling back to revision {revision}")
        roll_back(cluster, state, revision, say)
        rollout = wait(cluster, state.name, timeout_s=timeout_s, progress=say)
    except UserError as error:
        raise cluster.stop("TK452", f"the rollback failed: {error.message}", error.hint) from error
    if not rollout.is_done:
        hint = "`tritonkit deploy status` looks again; `--revision` names another"
        raise cluster.stop("TK452", _why(rollout, timeout_s), hint)
    return _serving(cluster, state, state.next_number, rollout, say)


def shown_changes(changes: Sequence[Change]) -> str:
    """The differences as text: of new objects their names, of the others every line that differs."""
    lines = []
    for change in differing(changes):
        diff = change.diff()
        lines.append(
            diff if change.before and change.after else f"+ {change.key}\n" if change.after else f"- {change.key}\n"
        )
    return "".join(line if line.endswith("\n") else f"{line}\n" for line in lines)
