"""The scripts under benchmarks/ import what stands beside them, as they do when they are run."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [folder for folder in (str(ROOT / "benchmarks"), str(ROOT / "models")) if folder not in sys.path]
