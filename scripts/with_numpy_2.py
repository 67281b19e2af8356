"""Runs the tests of what runs inside the server once more, with the numpy 2 of current server images.

    .venv/bin/python scripts/with_numpy_2.py [PYTEST OPTIONS]

The embedded server needs numpy < 2, so that is what .venv has; the packages of constraints-numpy2.txt lie in a folder
of their own (.venv-numpy2) and are found first. Everything else is .venv's, which works with either.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PINNED = ROOT / "constraints-numpy2.txt"
FOLDER = ROOT / ".venv-numpy2"
STAMP = FOLDER / "installed"
TESTS = "tests/python_backend"


def wanted() -> str:
    """What decides what has to be installed."""
    return f"{sys.version}\n{PINNED.read_text(encoding='utf-8')}"


def install() -> None:
    """Puts the pinned packages into the folder, unless they are there. Ends with pip's status when it fails."""
    if STAMP.exists() and STAMP.read_text(encoding="utf-8") == wanted():
        return
    shutil.rmtree(FOLDER, ignore_errors=True)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    done = subprocess.run([*pip, "--target", str(FOLDER), "-r", str(PINNED)], cwd=ROOT, check=False)
    if done.returncode:
        sys.exit("error: pip could not install numpy 2 (its message is above); is the package index reachable?")
    STAMP.write_text(wanted(), encoding="utf-8")


def main() -> int:
    """Installs, makes sure that numpy 2 is what Python finds, and runs pytest; its status."""
    install()
    environment = {**os.environ, "PYTHONPATH": str(FOLDER)}
    ask = [sys.executable, "-c", "import numpy; print(numpy.__version__)"]
    found = subprocess.run(ask, env=environment, capture_output=True, text=True, check=True).stdout.strip()
    if int(found.split(".")[0]) < 2:
        sys.exit(f"error: numpy {found} was found, and not that of {FOLDER.name}")
    print(f"the runtime's tests with numpy {found}", flush=True)
    arguments = [*sys.argv[1:], "-m", "not server", TESTS]
    return subprocess.run(
        [sys.executable, "-m", "pytest", *arguments], cwd=ROOT, env=environment, check=False
    ).returncode


if __name__ == "__main__":
    sys.exit(main())
