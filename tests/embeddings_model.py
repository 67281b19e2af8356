"""The sentence embeddings' ONNX file for tests: made once a run, into build/, from the wheel that pip has there."""

from __future__ import annotations

import sys
from functools import lru_cache
from pathlib import Path

ROOT = Path(__file__).parents[1]


@lru_cache(maxsize=1)
def embeddings_onnx() -> Path:
    """The file, made by models/make_embeddings.py as it is now; models/ is left alone."""
    if str(ROOT / "models") not in sys.path:
        sys.path.insert(0, str(ROOT / "models"))
    from make_embeddings import write_model

    path = ROOT / "build" / "embeddings" / "embeddings.onnx"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_model(path)
    return path
