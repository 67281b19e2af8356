"""What `write` with pruning would change, told and not done: as a list, or as a unified diff."""

from __future__ import annotations

import difflib
import enum
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from generator.problems import ProblemsError, errors
from generator.write.disk import Kind, look, sha256_of
from generator.write.failures import one_sentence_each
from generator.write.plan import OwnerOf, Plan, make_plan
from generator.write.target import resolve

_SNIFF_BYTES = 8192
# Files in the way, and models of others, are differences too; only `write` has to refuse them.
_TOLD_AS_DIFFERENCES = {"TK402", "TK403"}


class DifferenceKind(enum.StrEnum):
    """How a file on disk differs from what is rendered."""

    MISSING = "missing"
    CHANGED = "changed"
    STALE = "stale"


@dataclass(frozen=True)
class Difference:
    """One file that is not as rendered. `path` is relative to the repository."""

    path: str
    kind: DifferenceKind

    def __str__(self) -> str:
        return f"{self.kind} {self.path}"


def check(
    files: Mapping[str, bytes], root: str | Path, *, owner_of: OwnerOf, whole: bool = False
) -> list[Difference]:
    """The files in `root` that are not as rendered, sorted by path; empty when all is well. Only reads.

    Stale are generated files that are no longer rendered: of the pipelines rendered now, or of any when
    `whole` says that `files` is all that the repository should hold. The manifest counts as a file.
    Raises ProblemsError when a name is not valid, a path leads through a link, or something is not readable.
    """
    return _differences(*_plan(files, root, owner_of, whole=whole))


def diff(files: Mapping[str, bytes], root: str | Path, *, owner_of: OwnerOf, whole: bool = False) -> str:
    """The differences that `check` lists as a unified diff from what is on disk (a/) to what is rendered (b/).

    Binary files take one line with sizes and hashes. Empty when there is nothing to tell. Raises as `check`.
    """
    plan, base = _plan(files, root, owner_of, whole=whole)
    with one_sentence_each(base):
        told = [_diff_one(base, item.path, plan.writes.get(item.path)) for item in _differences(plan, base)]
    return "".join(told)


def _plan(files: Mapping[str, bytes], root: str | Path, owner_of: OwnerOf, *, whole: bool) -> tuple[Plan, Path]:
    base = resolve(root)
    with one_sentence_each(base):
        plan = make_plan(files, base, owner_of, prune=True, whole=whole)
    fatal = [p for p in errors(plan.problems) if p.code not in _TOLD_AS_DIFFERENCES]
    if fatal:
        raise ProblemsError(fatal)
    return plan, base


def _differences(plan: Plan, base: Path) -> list[Difference]:
    kinds = dict.fromkeys([*plan.removes, *plan.stale], DifferenceKind.STALE)
    for path in plan.writes:
        absent = look(base, path)[0] is Kind.ABSENT
        kinds[path] = DifferenceKind.MISSING if absent else DifferenceKind.CHANGED
    return [Difference(path, kind) for path, kind in sorted(kinds.items())]


def _diff_one(base: Path, path: str, new: bytes | None) -> str:
    """The diff of one file; `new` is None when it is no longer rendered."""
    kind, end = look(base, path)
    if kind is not Kind.ABSENT and (kind, end) != (Kind.FILE, path):
        return f"{end} is {kind.value}, and {path} should be a file\n" if new is not None else ""
    old = None if kind is Kind.ABSENT else base / path
    before = "/dev/null" if old is None else f"a/{path}"
    after = "/dev/null" if new is None else f"b/{path}"
    old_text = "" if old is None else _text(old)
    new_text = "" if new is None else _text(new)
    if old_text is None or new_text is None:
        return f"Binary files {before}{_size_and_hash(old)} and {after}{_size_and_hash(new)} differ\n"
    lines = list(difflib.unified_diff(_lines(old_text), _lines(new_text), before, after))
    if not lines:  # an empty file comes or goes
        lines = [f"--- {before}\n", f"+++ {after}\n"]
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


def _text(source: Path | bytes) -> str | None:
    """The text in `source`, None when it is binary: a large model is told by its first bytes, unread."""
    if isinstance(source, Path):
        with source.open("rb") as stream:
            start = stream.read(_SNIFF_BYTES)
            content = start if b"\0" in start else start + stream.read()
    else:
        content = source
    if b"\0" in content[:_SNIFF_BYTES]:
        return None
    try:
        return content.decode()
    except UnicodeDecodeError:
        return None


def _lines(text: str) -> list[str]:
    """Lines with their ends. Only a newline ends one: str.splitlines would also split at form feeds."""
    lines = [line + "\n" for line in text.split("\n")]
    lines[-1] = lines[-1].removesuffix("\n")
    return lines if lines[-1] else lines[:-1]


def _size_and_hash(source: Path | bytes | None) -> str:
    if source is None:
        return ""
    if isinstance(source, Path):
        return f" ({source.stat().st_size} bytes, sha256 {sha256_of(source)[:16]})"
    return f" ({len(source)} bytes, sha256 {hashlib.sha256(source).hexdigest()[:16]})"
