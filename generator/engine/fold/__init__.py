"""Arithmetic next to an engine as part of its graph: bytes in, small answers out.

`fold` puts steps of a pipeline in front of a graph's inputs and behind its outputs; `why_not` says which steps can
be; `add_masked_mean` and `add_l2_normalize` end a language model's graph in an embedding.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from generator.engine.fold.folding import Before, Folded, Steps, fold
    from generator.engine.fold.operators import why_not
    from generator.engine.fold.pooling import add_l2_normalize, add_masked_mean

__all__ = ["Before", "Folded", "Steps", "add_l2_normalize", "add_masked_mean", "fold", "why_not"]

_HOMES = {"why_not": "operators", "add_l2_normalize": "pooling", "add_masked_mean": "pooling"}


def __getattr__(name: str) -> Any:
    """Imported when it is asked for: `onnx` is slow to import, and the codes of this stage do not need it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES.get(name, 'folding')}"), name)
