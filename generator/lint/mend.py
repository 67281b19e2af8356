"""What is safe to mend: edits of config.pbtxt files, shown as a diff, checked, and written whole or not at all."""

from __future__ import annotations

import difflib
import os
import stat
from bisect import bisect, insort
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path

from generator.lint.check import Checked
from generator.lint.model import Model
from generator.lint.rule import Edit
from generator.pbtxt.reader import read
from generator.pbtxt.tokens import END, Source
from generator.problems import Problem, errors
from generator.whole_file import write_whole

RENDERED = "# Rendered by tritonkit"
_Of = tuple[Problem, tuple[Edit, ...]]


@dataclass
class Mend:
    """A file as it is and as it would be; `mended` are the problems that go away, `later` those of another turn,
    and `by_hand` those whose edits would not read as they say."""

    file: Path
    before: bytes
    after: str
    mended: list[Problem] = field(default_factory=list)
    later: list[Problem] = field(default_factory=list)
    by_hand: list[Problem] = field(default_factory=list)

    def diff(self, shown: str) -> str:
        """What differs, as a unified diff."""
        before, after = (list(StringIO(text, newline="\n")) for text in (self.before.decode("utf-8"), self.after))
        lines = difflib.unified_diff(before, after, shown, shown)
        return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)

    def write(self) -> bool:
        """Writes the file; False when it is no longer what the edits were made for. Raises OSError."""
        if self.file.read_bytes() != self.before:
            return False
        write_whole(self.file, self.after)
        return True


@dataclass
class Mends:
    """What can be mended, and the files that cannot be edited, with the reason. `by_file` has what links lead to."""

    files: list[Mend] = field(default_factory=list)
    left: dict[str, str] = field(default_factory=dict)
    by_file: dict[str, Path] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.files)


def mends_of(checked: Iterable[Checked], told: Sequence[Problem]) -> Mends:
    """The edits that mend what is `told`, by file. Nothing is written.

    Edits that meet each other wait for another turn; those of a problem after which a file would not read as they
    say are left out.
    """
    wanted, mends, seen = set(told), Mends(), set()
    for each in checked:
        models = {twin.file: twin for model in each.models.values() for twin in model.repository.twins[model.name]}
        edits: dict[str, dict[Problem, tuple[Edit, ...]]] = {}
        for problem, changes in each.edits.items():
            if problem in wanted and problem.place.file in models:
                edits.setdefault(problem.place.file, {})[problem] = changes
        for file, of_file in edits.items():
            if file not in seen:
                seen.add(file)
                _add(mends, models[file], file, of_file)
    return mends


def _add(mends: Mends, model: Model, file: str, edits: dict[Problem, tuple[Edit, ...]]) -> None:
    text = model.text.source.text
    if text.startswith(RENDERED):
        mends.left[file] = "it is rendered: mend the spec that its first line names"
        return
    try:
        before = text.encode("utf-8")
    except UnicodeEncodeError:  # a comment with other bytes
        mends.left[file] = "it is not UTF-8 text"
        return
    same = mends.by_file.get(os.path.realpath(file))
    if same is not None:
        mends.left[file] = f"it is a link to the same file as {same}, which comes first"
        return
    if _is_read_only(file):
        mends.left[file] = "it is read-only"
        return
    fitting = _fitting(text, list(edits.items()), file)
    by_hand = [problem for problem in edits if problem not in fitting]
    if not fitting:
        mends.left[file] = f"{codes_of(by_hand)} cannot be mended for you: mend it by hand"
        return
    chosen, mended, later = _chosen(fitting)
    mends.by_file[os.path.realpath(file)] = Path(file)
    mends.files.append(Mend(Path(file), before, _applied(text, chosen), mended, later, by_hand))


def codes_of(problems: Iterable[Problem]) -> str:
    """The codes of problems, each once."""
    return ", ".join(sorted({problem.code for problem in problems}))


def _fitting(text: str, edits: Sequence[_Of], file: str) -> dict[Problem, tuple[Edit, ...]]:
    """All of the edits where the file then reads as they say, else those of the halves that do."""
    chosen, _, _ = _chosen(dict(edits))
    if _reads_as_said(text, chosen, _applied(text, chosen), file):
        return dict(edits)
    if len(edits) == 1:
        return {}
    middle = len(edits) // 2
    first, second = _fitting(text, edits[:middle], file), _fitting(text, edits[middle:], file)
    both = {**first, **second}
    chosen, _, _ = _chosen(both)
    return both if _reads_as_said(text, chosen, _applied(text, chosen), file) else first


def _is_read_only(file: str) -> bool:
    """Whether nobody is to write a file. Replacing it would not need that permission."""
    try:
        return not os.stat(file).st_mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH)  # noqa: PTH116
    except OSError:
        return False


def _chosen(edits: dict[Problem, tuple[Edit, ...]]) -> tuple[list[Edit], list[Problem], list[Problem]]:
    """Edits that do not meet, in order; the problems that they mend, all of each or nothing, and the others."""
    chosen: list[Edit] = []  # in order, so that a new one can meet its neighbours alone
    known: set[Edit] = set()
    mended: list[Problem] = []
    later: list[Problem] = []
    for problem, changes in edits.items():
        new = [edit for edit in changes if edit not in known]
        if any(_meet(edit, other) for edit in new for other in _beside(chosen, edit)):
            later.append(problem)
            continue
        mended.append(problem)
        known.update(new)
        for edit in new:
            insort(chosen, edit, key=_where)
    return chosen, mended, later


def _where(edit: Edit) -> tuple[int, int]:
    return edit.start, edit.end


def _beside(chosen: Sequence[Edit], edit: Edit) -> Sequence[Edit]:
    """The edits before and behind a new one."""
    at = bisect(chosen, _where(edit), key=_where)
    return chosen[max(at - 1, 0) : at + 1]


def _meet(one: Edit, other: Edit) -> bool:
    """Whether two edits change the same characters, or add at one place, where their order would matter."""
    if one.start == one.end == other.start == other.end:
        return True
    return one.start < other.end and other.start < one.end


def _applied(text: str, edits: Sequence[Edit]) -> str:
    parts, at = [], 0
    for edit in edits:
        parts += [text[at : edit.start], edit.text]
        at = edit.end
    return "".join([*parts, text[at:]])


def _reads_as_said(text: str, edits: Sequence[Edit], after: str, file: str) -> bool:
    """Whether the new text has the words of the old with those of the edits in their places, and no new mistake."""
    expected: list[str] = []
    at = 0
    for edit in edits:
        expected += _words(text[at : edit.start]) + _words(edit.text)
        at = edit.end
    if _words(after) != expected + _words(text[at:]):
        return False
    return len(errors(read(after, file).problems)) <= len(errors(read(text, file).problems))


def _words(text: str) -> list[str]:
    tokens = Source(text, "").tokens
    return [token for token in tokens if token != END]
