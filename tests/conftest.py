"""Helpers of test folders are importable by their file's name; workers begin with the tests that take longest."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

import pytest

with contextlib.suppress(ImportError):  # a GPU machine has what its tests need, and no more
    from hypothesis import settings

    # A busy machine fails a deadline by chance: no example of Hypothesis has one.
    settings.register_profile("suite", deadline=None)
    settings.load_profile("suite")

# Its wheels send usage data unless told otherwise; the runtime says so too, but some tests import it by themselves.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

# Only a power cut could tell the difference, and a disk takes its time for thousands of them. Programs that tests start
# have the real one.
os.fsync = lambda descriptor: None

# What pytest makes of a test file is kept, also where Python is told to write nothing: else each of the processes that
# share the tests, and each run after them, makes all of it again, a quarter of a minute long.
_WRITES_NOTHING, sys.dont_write_bytecode = sys.dont_write_bytecode, False

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent / "generator")]

# Files that take a worker more than half a minute, and start no server.
LONG = ("test_digits.py", "test_false_passes.py", "test_faults.py", "test_growth.py", "test_verdicts.py")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files come first where several workers share the tests: none of them is left for the end."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        slow = {item.path for item in items if item.get_closest_marker("server") or item.path.name in LONG}
        items.sort(key=lambda item: item.path not in slow)


def pytest_collection_finish() -> None:
    """All test files are read: what tests import themselves is theirs."""
    sys.dont_write_bytecode = _WRITES_NOTHING
