"""What is in an ONNX file: its tensors, layers and weights, and what an engine or a precision would trip over.

The names below are imported at their first use: the codes of this stage are wanted where nothing else of it is.
"""

from __future__ import annotations

TYPE_CHECKING = False

if TYPE_CHECKING:
    from generator.engine.inspect.layers import Layer, layer_names
    from generator.engine.inspect.read import read_graph
    from generator.engine.inspect.report import Inspection, Signature, Weights, inspect
    from generator.engine.inspect.suspicion import (
        Suspicion,
        require,
        require_reference,
        suspicious,
        without_batch_axis,
    )

_MODULES = {
    "Inspection": "report",
    "Layer": "layers",
    "Signature": "report",
    "Suspicion": "suspicion",
    "Weights": "report",
    "inspect": "report",
    "layer_names": "layers",
    "read_graph": "read",
    "require": "suspicion",
    "require_reference": "suspicion",
    "suspicious": "suspicion",
    "without_batch_axis": "suspicion",
}

__all__ = [
    "Inspection",
    "Layer",
    "Signature",
    "Suspicion",
    "Weights",
    "inspect",
    "layer_names",
    "read_graph",
    "require",
    "require_reference",
    "suspicious",
    "without_batch_axis",
]


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
