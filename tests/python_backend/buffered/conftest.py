"""The fake device and its engine are importable by their file's name; `load` loads models for the exchange."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from exchange_models import load

__all__ = ["load"]
