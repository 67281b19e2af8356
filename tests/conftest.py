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

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent / "generator")]


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that start servers come first where several workers share the tests: none of them is left for the end."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        slow = {item.path for item in items if item.get_closest_marker("server")}
        items.sort(key=lambda item: item.path not in slow)
