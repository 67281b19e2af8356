"""Runs the tests of tests/cluster in two processes side by side: those with the control plane, and all others.

    python scripts/cluster_at_once.py

Each is pytest of its own, so that there is one control plane, one Docker engine and one set of images. What the first
prints is seen at once; what the second does is kept in build/cluster-machine.log and printed when both have ended.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TESTS = ROOT / "tests" / "cluster"
BUILD = ROOT / "build"
# Containers, processes and files, and no control plane. What is not beneath one of these is run with it.
MACHINE = ("images", "test_chart_checked.py", "test_rolling_restart.py", "test_scanned.py")


def halves() -> tuple[list[Path], list[Path]]:
    """The files of tests that may have the control plane, and those of the machine."""
    files = sorted(TESTS.rglob("test_*.py"))
    machine = [file for file in files if any(file.is_relative_to(TESTS / name) for name in MACHINE)]
    return [file for file in files if file not in machine], machine


def start(name: str, files: list[Path], out: int | None) -> subprocess.Popen[bytes]:
    """pytest on these files, with a cache of its own."""
    words = ["-o", f"cache_dir={BUILD / f'pytest-cluster-{name}'}", "-m", "cluster", *map(str, files)]
    return subprocess.Popen(
        [sys.executable, "-m", "pytest", *words],
        cwd=ROOT, stdin=subprocess.DEVNULL, stdout=out, stderr=None if out is None else subprocess.STDOUT,
        start_new_session=True,  # Ctrl-C reaches this process alone, which tells both, and each once
    )  # fmt: skip


def end(processes: list[subprocess.Popen[bytes]]) -> None:
    """Interrupts what still runs, as Ctrl-C does, and waits until it has cleared up; a second Ctrl-C kills it."""
    running = [process for process in processes if process.poll() is None]
    try:
        for process in running:
            os.killpg(process.pid, signal.SIGINT)
        for process in running:
            process.wait()
    except BaseException:
        for process in running:
            os.killpg(process.pid, signal.SIGKILL)
        raise


def main() -> int:
    """Runs both; 0 when both passed."""
    plane, machine = halves()
    BUILD.mkdir(exist_ok=True)
    log = BUILD / "cluster-machine.log"
    print(f"with the control plane; beside it, to {log.relative_to(ROOT)}: {', '.join(MACHINE)}", flush=True)
    processes: list[subprocess.Popen[bytes]] = []
    try:
        with log.open("wb") as out:
            processes.append(start("machine", machine, out.fileno()))
            processes.append(start("plane", plane, None))
            statuses = [process.wait() for process in processes]
    finally:
        end(processes)
        print("\nwithout a control plane:", flush=True)
        print(log.read_text(encoding="utf-8", errors="replace"), end="", flush=True)
    return 0 if statuses == [0, 0] else 1


if __name__ == "__main__":
    # Of a job in the background SIGINT is ignored, and pytest would inherit that.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
