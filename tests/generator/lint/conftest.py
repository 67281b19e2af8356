"""The makers of configurations, beside the reader's tests, can be imported."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "pbtxt"))
