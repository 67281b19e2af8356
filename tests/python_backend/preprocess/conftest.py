"""The kernel as plain C++, a device that runs it, and the ring's fake device are importable by their files' names."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent

for folder in (HERE, HERE.parent / "buffered", HERE.parent / "engine_process"):
    sys.path.insert(0, str(folder))
