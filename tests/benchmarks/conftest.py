"""The scripts under benchmarks/ import what stands beside them, as they do when they are run.

One of them is tried on the made-up GPU of the runtime's tests.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("benchmarks", "models", "tests/python_backend/preprocess", "tests/python_backend/buffered")
sys.path[:0] = [folder for folder in (str(ROOT / name) for name in FOLDERS) if folder not in sys.path]
