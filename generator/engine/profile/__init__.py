"""Time by layer: what was fused into what, and whether memory or arithmetic is its limit.

The names below are imported at their first use: the codes of this stage are wanted where nothing else of it is.
"""

from __future__ import annotations

TYPE_CHECKING = False

if TYPE_CHECKING:
    from generator.engine.profile.onnxruntime import profile
    from generator.engine.profile.roofline import Roofs, measure_roofs
    from generator.engine.profile.rows import LayerTime, Profile

_MODULES = {
    "LayerTime": "rows",
    "Profile": "rows",
    "Roofs": "roofline",
    "measure_roofs": "roofline",
    "profile": "onnxruntime",
}

__all__ = ["LayerTime", "Profile", "Roofs", "measure_roofs", "profile"]


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
