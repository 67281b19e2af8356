"""The scripts under models/ import each other as they do when they are run: as neighbours."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [folder for folder in (str(ROOT / "models"), str(ROOT)) if folder not in sys.path]
