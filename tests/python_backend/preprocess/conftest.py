"""The kernel as plain C++, a device that runs it, and the ring's fake device are importable by their files' names."""

from __future__ import annotations

import sys
from pathlib import Path

for folder in (Path(__file__).parent, Path(__file__).parent.parent / "buffered"):
    sys.path.insert(0, str(folder))
