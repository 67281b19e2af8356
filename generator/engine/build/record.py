"""What one build has found so far, and where what its stages made is written for those who want to look at it."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from generator.engine.build.candidates.choices import Choice
from generator.engine.build.jobs import Job
from generator.engine.build.outcome import Row
from generator.engine.errors import Finding, StageError
from generator.problems import Problem, Severity
from generator.project import Project
from generator.render.json_text import pretty
from generator.whole_file import write_whole


class Stop(Exception):  # noqa: N818  (no error: the stage that was asked for is done)
    """The last stage that was asked for is done."""


@dataclass
class Record:
    """Of one job: the engines that were tried, what is worth knowing, and why some could not be judged.

    `until` is the last stage that is wanted, `keep_in` a folder for what the stages make.
    """

    job: Job
    project: Project
    progress: Callable[[str], None]
    until: str | None = None
    keep_in: Path | None = None
    rows: list[Row] = field(default_factory=list)
    notes: list[Finding] = field(default_factory=list)
    failures: list[Finding] = field(default_factory=list)

    def problems(self) -> list[Problem]:
        """What is worth knowing, whatever came of it."""
        return self.job.problems(dict.fromkeys(self.notes), Severity.NOTE)

    def failed(self, choice: Choice, findings: Sequence[Finding]) -> None:
        """An engine that cannot be compiled, or not even be judged: why, if nothing else can be installed."""
        self.rows.append(Row(choice, why="; ".join(finding.message for finding in findings)))
        self.failures += findings

    def tell(self, text: str) -> None:
        """Progress of this job."""
        self.progress(f"{self.job.title}: {text}")

    def done(self, stage: str, files: Mapping[str, bytes | str]) -> None:
        """Keeps what a stage made, if that is wanted. Raises Stop after the last one that is."""
        self.keep(files)
        if self.until == stage:
            raise Stop

    def keep(self, files: Mapping[str, bytes | str]) -> None:
        """Writes what a stage made into the folder of those who want to look at it. Raises StageError (TK983)."""
        if self.keep_in is None:
            return
        job = self.job
        folder = self.keep_in / job.plan.target.name / job.model.name / str(job.version)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for name, data in files.items():
                write_whole(folder / name, data)
        except OSError as error:
            message = f"{folder} cannot be written: {error.strerror}"
            raise StageError(Finding("TK983", message, "", "engine")) from error

    def keep_ranking(self, mixed: Mapping[str, Any]) -> dict[str, bytes | str]:
        """The layers by the harm that each does, as files to keep; none where nobody wants to look."""
        return {} if self.keep_in is None else _ranking(mixed)


def _ranking(mixed: Mapping[str, Any]) -> dict[str, bytes | str]:
    """The layers by the harm that each does, as data and, where matplotlib is installed, as a chart."""
    import importlib.util

    from generator.engine.precision import Harm, draw_ranking

    files: dict[str, bytes | str] = {"mixed.json": pretty(dict(mixed))}
    if importlib.util.find_spec("matplotlib") is not None:
        ranking = [
            Harm(**{**row, "harm": math.inf if row["harm"] is None else row["harm"]}) for row in mixed["ranking"]
        ]
        with tempfile.TemporaryDirectory() as folder:
            chart = Path(folder) / "mixed.svg"
            draw_ranking(ranking, chart, mixed["layers"])
            files["mixed.svg"] = chart.read_bytes()
    return files
