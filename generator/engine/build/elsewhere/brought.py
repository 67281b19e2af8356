"""A file that was built elsewhere, beside what a spec has a place for."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from generator.engine.build.candidates.choices import Choice
from generator.engine.build.candidates.compiling import Built
from generator.engine.build.elsewhere.face import Face, unlike
from generator.engine.build.jobs import Job
from generator.engine.build.lower.lowered import Lowered
from generator.engine.compile.base import Compiled, Profile
from generator.engine.errors import Finding, StageError
from generator.engine.install.request import FILE_OF
from generator.report import visible


@dataclass(frozen=True)
class Brought:
    """The file (its bytes `data`), the job that it is for, and the face and shapes that this asks for.

    `root` is the project's, which the paths of plugins count from.
    """

    job: Job
    choice: Choice
    file: Path
    data: bytes
    face: Face
    profiles: Sequence[Profile]
    root: Path

    @property
    def name(self) -> str:
        """The file's name, for people and for engine.json, which both hold text."""
        return path_text(Path(self.file.name))

    def unlike(self, found: Face, wanted: Face | None = None) -> list[str]:
        """What keeps it out of the place, in sentences without a subject; `wanted` in the place of `face`."""
        return unlike(wanted or self.face, found, self.profiles, self.job.model.largest_run)

    def refuse(self, said: Sequence[str], hint: str = "") -> None:
        """Raises StageError with every sentence, the file being what it is about."""
        if said:
            raise StageError([refusal(f"{path_text(self.file)} {text}", hint) for text in said])

    def built(self, data: bytes, judged_with: dict[str, Any], **known: Any) -> Built:
        """As if it had been compiled here. Nothing is told of how it was made but what can be known: `known`."""
        facts = {"elsewhere": {"file": self.name}, **known, "judged_with": judged_with}
        return Built(self.choice, Lowered(b"", facts=facts), Compiled(FILE_OF[self.choice.engine], data, {}))


def path_text(file: Path) -> str:
    """A path as one line of text: bytes that are no UTF-8, line breaks and the like as escapes."""
    return visible(os.fsencode(file).decode(errors="backslashreplace"))


def refusal(text: str, hint: str = "") -> Finding:
    """Why a file from elsewhere is not taken."""
    return Finding("TK992", text, hint, "engine")
