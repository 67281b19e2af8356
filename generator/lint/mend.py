"""What is safe to mend: edits of config.pbtxt files, shown as a diff, checked, and written whole or not at all."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from generator.lint.check import Checked
from generator.lint.model import Model
from generator.lint.rule import Edit
from generator.pbtxt.reader import read
from generator.pbtxt.tokens import END, Source
from generator.problems import Problem, errors
from generator.whole_file import write_whole

RENDERED = "# Rendered by tritonkit"


@dataclass
class Mend:
    """A file as it is and as it would be; `mended` are the problems that go away, `later` those of another turn."""

    file: Path
    before: bytes
    after: str
    mended: list[Problem] = field(default_factory=list)
    later: list[Problem] = field(default_factory=list)

    def diff(self, shown: str) -> str:
        """What differs, as a unified diff."""
        before = self.before.decode("utf-8").splitlines(keepends=True)
        lines = difflib.unified_diff(before, self.after.splitlines(keepends=True), shown, shown)
        return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)

    def write(self) -> bool:
        """Writes the file; False when it is no longer what the edits were made for. Raises OSError."""
        if self.file.read_bytes() != self.before:
            return False
        write_whole(self.file, self.after)
        return True


@dataclass
class Mends:
    """What can be mended, and the files that cannot be edited, with the reason."""

    files: list[Mend] = field(default_factory=list)
    left: dict[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.files)


def mends_of(checked: Iterable[Checked], told: Sequence[Problem]) -> Mends:
    """The edits that mend what is `told`, by file. Nothing is written.

    Edits that meet each other wait for another turn; a file that would not read as the edits say is left.
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
    chosen, mended, later = _chosen(edits)
    after = _applied(text, chosen)
    if not _reads_as_said(text, chosen, after, file):
        mends.left[file] = "its edits do not fit together"
        return
    mends.files.append(Mend(Path(file), before, after, mended, later))


def _chosen(edits: dict[Problem, tuple[Edit, ...]]) -> tuple[list[Edit], list[Problem], list[Problem]]:
    """Edits that do not meet, in order; the problems that they mend, all of each or nothing, and the others."""
    chosen: list[Edit] = []
    mended: list[Problem] = []
    later: list[Problem] = []
    for problem, changes in edits.items():
        new = [edit for edit in changes if edit not in chosen]
        if any(_meet(edit, other) for edit in new for other in chosen):
            later.append(problem)
        else:
            chosen += new
            mended.append(problem)
    return sorted(chosen, key=lambda edit: (edit.start, edit.end)), mended, later


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
