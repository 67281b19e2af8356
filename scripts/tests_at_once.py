"""Runs the tests of several files at once; what fails in company is asked once more by itself.

    python scripts/tests_at_once.py -n 3 --dist loadfile -m "not alone" [TEST…]

A test that fails beside others and passes by itself has met its neighbours: a core that was taken, a process that
came late. That is a fault of the test, to be mended, and it is named at the end and in build/unsteady.txt; but it
says nothing against the code. What fails by itself too fails the run. More than `MOST` failures are not asked again,
as is no run that ended for another reason: neither looks like chance.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CACHE = ROOT / "build" / "pytest-at-once"
UNSTEADY = ROOT / "build" / "unsteady.txt"
MOST = 10
SOME_FAILED = 1  # pytest's exit status; the others say that it could not run, or was interrupted


def pytest(*arguments: str) -> int:
    """Runs pytest with a cache of this run's own; its status."""
    command = [sys.executable, "-m", "pytest", "-o", f"cache_dir={CACHE}", *arguments]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


def failed() -> list[str]:
    """The tests that failed, or whose fixtures did, in the last run."""
    try:
        return sorted(json.loads((CACHE / "v" / "cache" / "lastfailed").read_text(encoding="utf-8")))
    except FileNotFoundError:
        return []


def main(arguments: list[str]) -> int:
    """Runs them, and those that failed again; the status of what is left."""
    shutil.rmtree(CACHE, ignore_errors=True)
    UNSTEADY.unlink(missing_ok=True)
    status = pytest(*arguments)
    in_company = failed()
    if status != SOME_FAILED or not 0 < len(in_company) <= MOST:
        return status
    print(
        f"\n{len(in_company)} failed beside others; each once more, by itself:", *in_company, sep="\n  ", flush=True
    )
    by_itself = [name for name in in_company if pytest("-n", "0", name)]
    unsteady = [name for name in in_company if name not in by_itself]
    if unsteady:
        UNSTEADY.write_text("\n".join(unsteady) + "\n", encoding="utf-8")
        print("\nunsteady: failed beside others and passed by themselves:", *unsteady, sep="\n  ", flush=True)
    if by_itself:
        print("\nfailed both times:", *by_itself, sep="\n  ", flush=True)
    return SOME_FAILED if by_itself else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
