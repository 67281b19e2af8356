"""Helpers of test folders are importable by their file's name."""

from __future__ import annotations

import os
import sys
from pathlib import Path

# Its wheels send usage data unless told otherwise; the runtime says so too, but some tests import it by themselves.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent / "generator")]
