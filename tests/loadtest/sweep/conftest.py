"""The simulated batcher stands under benchmarks/, and what tests share beside this file."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = [f for f in (str(ROOT / "benchmarks"), str(Path(__file__).parent)) if f not in sys.path]
