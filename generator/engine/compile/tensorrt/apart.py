"""TensorRT in a process of its own: a crash, a hang or Ctrl-C costs the process and nothing else."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from generator.engine.compile.base import Progress
from generator.engine.compile.tensorrt.watched import watched
from generator.engine.compile.tensorrt.worker import MARK, read_batches, write_batches
from generator.engine.errors import Finding, StageError

_MODULE = "generator.engine.compile.tensorrt.worker"
_ROOT = Path(__file__).resolve().parents[4]
_PROBE_LIMIT_S = 120.0


@contextmanager
def job_folder() -> Iterator[Path]:
    """A folder for one job, gone at the end."""
    with tempfile.TemporaryDirectory(prefix="tritonkit-tensorrt-") as name:
        yield Path(name)


class Worker:
    """Runs jobs with `python` (default: this interpreter), each at most `limit_s` seconds long."""

    def __init__(self, python: str = sys.executable, limit_s: float = 3600.0) -> None:
        self._python, self._limit_s = python, limit_s
        self.log: list[str] = []

    def job(self, name: str, folder: Path, progress: Progress, limit_s: float | None = None) -> dict[str, Any]:
        """What the job answers; `log` then holds TensorRT's lines, oldest first.

        Raises StageError with the job's findings, or (TK957) when its process crashed or outlasted the limit.
        """
        limit = limit_s if limit_s is not None else self._limit_s
        status = self._watch([self._python, "-m", _MODULE, name, str(folder)], progress, limit)
        answer = folder / "answer.json"
        if status is None:
            raise StageError(Finding("TK957", f"TensorRT's {name} took longer than {limit:g} s and was ended",
                                     "give it more time, a lower `optimization_level`, or fewer profiles",
                                     "build"))  # fmt: skip
        if status or not answer.exists():
            raise StageError(
                Finding("TK957", f"TensorRT's {name} {_end(status)}{self._last_words()}", about="engine")
            )
        data: dict[str, Any] = json.loads(answer.read_text())
        if "findings" in data:
            raise StageError(tuple(Finding(**finding) for finding in data["findings"]))
        return data

    def errors(self) -> list[str]:
        """The errors of the log, each once, without time and prefix."""
        lines = [line.split("[E]", 1)[1].strip() for line in self.log if "[E]" in line]
        return list(dict.fromkeys(lines))

    def _last_words(self) -> str:
        said = self.errors() or [line.strip() for line in self.log if line.strip()]
        return f"; the last that it said: {said[-1]}" if said else ""

    def _watch(self, command: list[str], progress: Progress, limit_s: float) -> int | None:
        parts = (str(_ROOT), str(_ROOT / "python_backend"), os.environ.get("PYTHONPATH", ""))
        path = os.pathsep.join(part for part in parts if part)
        env = {**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}
        start, phase = time.monotonic(), "starting"
        self.log = []

        def told(line: str | None) -> None:
            nonlocal phase
            if line is None:
                progress(f"TensorRT: {phase}, {time.monotonic() - start:.0f} s")
            elif line.startswith(MARK):
                phase = line[len(MARK) :].strip()
                progress(f"TensorRT: {phase}")
            else:
                self.log.append(line)

        return watched(command, env, told, limit_s)


def _end(status: int) -> str:
    if status < 0:
        with contextlib.suppress(ValueError):
            return f"crashed with {signal.Signals(-status).name}"
    return f"ended with status {status}"


def probe(python: str = sys.executable) -> dict[str, Any]:
    """What TensorRT is here: version, GPU, compute capability, driver, abilities. `reason` says why it cannot build.

    Never raises: where TensorRT crashes, that is the reason.
    """
    worker = Worker(python, _PROBE_LIMIT_S)
    try:
        with job_folder() as folder:
            return worker.job("probe", folder, lambda _text: None)
    except (OSError, StageError) as error:
        findings = error.findings if isinstance(error, StageError) else ()
        return {"reason": "; ".join(finding.message for finding in findings) or str(error)}


def run_apart(
    plan: bytes, batches: Sequence[Mapping[str, Any]], *, profile: int | None = None, plugins: Sequence[str] = (),
    python: str = sys.executable, limit_s: float = 600.0, progress: Progress = lambda _text: None,
) -> list[dict[str, Any]]:  # fmt: skip
    """The plan's outputs for each batch, from a process of its own. Raises StageError."""
    with job_folder() as folder:
        (folder / "model.plan").write_bytes(plan)
        (folder / "job.json").write_text(json.dumps({"profile": profile, "plugins": list(plugins)}))
        write_batches(folder / "batches.npz", list(batches))
        Worker(python, limit_s).job("run", folder, progress)
        return read_batches(folder / "answers.npz")
