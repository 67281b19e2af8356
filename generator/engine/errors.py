"""What a stage of a build says when it cannot go on: everything it found, for the build to place in the spec."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

# Which field of the spec's model a finding is about.
About = Literal["onnx", "engine", "precision", "accuracy", "build", "build.calibration", "build.profiles"]


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong: a stable code, what was found and what is valid, and how to mend it."""

    code: str
    message: str
    hint: str = ""
    about: About = "onnx"


class StageError(Exception):
    """Raised with all findings of a stage. The build turns them into problems with a position in the spec."""

    def __init__(self, findings: Iterable[Finding] | Finding) -> None:
        self.findings = (findings,) if isinstance(findings, Finding) else tuple(findings)
        super().__init__("; ".join(f"{f.code} {f.message}" for f in self.findings))
