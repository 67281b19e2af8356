"""Where the CPU of the served path goes: by process, by thread, by library, and by part within the Python models."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from photos_systems.bound import Bound
from photos_systems.ours import Ours
from photos_systems.served import Served, triton
from photos_systems.work import Answers, Mode, Photos

TURNS = 3  # of the layout and of the bound, one after the other


def profile(
    layout: str, own: Ours, photos: Photos, expected: Answers, *, mode: Mode, seconds: float
) -> dict[str, Any]:
    """One layout under load in one mode; every figure is CPU in µs an image."""
    with tempfile.TemporaryDirectory() as folder:
        repository = Path(folder) / "repository"
        shutil.copytree(own.repository, repository)
        for model in repository.glob("*/1/model.py"):
            shutil.copy(Path(__file__).with_name("probe.py"), model)
        lines = Path(folder) / "lines"
        lines.mkdir()
        os.environ["PHOTOS_PROBE"] = str(lines)
        try:
            system = Served(layout, triton(repository, own.needs, own.plan.name, photos), photos, expected, (mode,))
            with system, Bound(own.plan, dict(own.files), photos, expected) as bound:
                found = [_turn(system, bound, lines, mode=mode, seconds=seconds, seed=turn) for turn in range(TURNS)]
                libraries = _libraries(system, mode, seconds)
        finally:
            del os.environ["PHOTOS_PROBE"]
    return {**_middle(found), "libraries_percent": libraries}


def _turn(system: Served, bound: Bound, lines: Path, *, mode: Mode, seconds: float, seed: int) -> dict[str, Any]:
    """The layout, then the bound."""
    groups = system.processes()
    began, threads = time.monotonic(), _threads(groups)
    part = system.measure(mode, seconds, seed)
    images = len(part.done) * mode.images
    used = {key: (us - threads.get(key, 0.0)) / images for key, us in _threads(groups).items()}
    alone = bound.measure(mode, seconds, seed)
    server = sorted((us for (name, _), us in used.items() if name == "tritonserver"), reverse=True)
    found: dict[str, Any] = {
        "bound": alone.server_cpu_s["processes"] / (len(alone.done) * mode.images) * 1e6,
        "tritonserver": part.server_cpu_s["tritonserver"] / images * 1e6,
        "tritonserver_busiest_threads": server[:6],
        "client": part.client_cpu_s / images * 1e6,
    }
    for model, pids in groups.items():
        if model == "tritonserver":
            continue
        rows = [row for pid in pids for row in _rows(lines / f"{pid}.jsonl", began)]
        execute, program = (sum(row[column] for row in rows) / images for column in (2, 3))
        whole = part.server_cpu_s[model] / images * 1e6
        found[model] = {
            "all": whole,
            "program": program,
            "adapter": execute - program,
            "stub": whole - execute,
            "requests_an_execution": sum(row[1] for row in rows) / len(rows),
        }
    return found


def _rows(file: Path, since: float) -> list[list[float]]:
    return [row for row in map(json.loads, file.read_text().splitlines()) if row[0] >= since]


def _threads(groups: Mapping[str, Sequence[int]]) -> dict[tuple[str, str], float]:
    """(group, thread) → CPU so far in µs. A thread that ends meanwhile is left out."""
    found = {}
    for name, pids in groups.items():
        for task in (task for pid in pids for task in Path(f"/proc/{pid}/task").iterdir()):
            try:
                found[name, task.name] = int((task / "schedstat").read_text().split()[0]) / 1000
            except (FileNotFoundError, ProcessLookupError):
                continue
    return found


def _middle(turns: Sequence[Any]) -> Any:
    """Of equal dictionaries of numbers: the median of each number. Lists are made as short as the shortest."""
    if isinstance(turns[0], dict):
        return {key: _middle([turn[key] for turn in turns]) for key in turns[0]}
    if isinstance(turns[0], list):
        return [_middle(list(values)) for values in zip(*turns, strict=False)]
    return round(sorted(turns)[len(turns) // 2], 1)


def _libraries(system: Served, mode: Mode, seconds: float) -> dict[str, float] | None:
    """`process: library` → per cent of all samples by `perf`, those above 0.5; None where it cannot be run."""
    if shutil.which("perf") is None:
        return None
    pids = ",".join(str(pid) for pids in system.processes().values() for pid in pids)
    with tempfile.TemporaryDirectory() as folder:
        data = f"{folder}/perf.data"
        command = ["perf", "record", "-q", "-F", "997", "-e", "cpu-clock", "-o", data, "-p", pids]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as recorder:
            system.measure(mode, seconds, TURNS)
            recorder.send_signal(signal.SIGINT)
        report = ["perf", "report", "-i", data, "--no-children", "--sort", "comm,dso", "-t", "|", "--stdio"]
        done = subprocess.run(report, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.stderr.write(done.stderr)
        return None
    rows = [line.split("|") for line in done.stdout.splitlines() if line.strip() and not line.startswith("#")]
    shares = {f"{row[1].strip()}: {row[2].strip()}": float(row[0].strip(" %")) for row in rows if len(row) == 3}
    return {name: share for name, share in shares.items() if share >= 0.5}
