"""Time by layer in TensorRT, from what its IProfiler and EngineInspector report; TensorRT itself is not needed."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from generator.engine.errors import Finding, StageError
from generator.engine.profile.rows import LayerTime, Profile, medians, profiled

Inspected = str | Mapping[str, Any]
_METADATA = re.compile(r"\[ONNX Layer: ([^\]]+)\]")
_PARTS = re.compile(r" \+ |\.\.\.|, |[(){}\[\]]")


def profile_of(
    runs: Sequence[Sequence[tuple[str, float]]], totals_ms: Sequence[float], inspector: Inspected,
    nodes: Collection[str],
) -> Profile:  # fmt: skip
    """The rows of a TensorRT engine.

    `runs` is for each run what `IProfiler.report_layer_time` was called with: (name, ms); `totals_ms` the time of
    each run as a whole. `inspector` is `EngineInspector.get_engine_information(JSON)`, as text or parsed; `nodes` are
    the names of the ONNX graph's nodes. Raises StageError.
    """
    described = {str(layer.get("Name", "")): layer for layer in layers_of_engine(inspector)}
    times = medians(runs)
    rows, taken = [], set[str]()
    for name, ms in times.items():
        layer = described.get(name, {})
        names = tuple(one for one in onnx_nodes(name, layer, nodes) if one not in taken)
        taken.update(names)
        rows.append(LayerTime(name, str(layer.get("LayerType", "")), ms, names))
    gone = tuple(name for name in nodes if name not in taken)
    return profiled("tensorrt", rows, runs, totals_ms, gone)


def onnx_nodes(name: str, layer: Mapping[str, Any], nodes: Collection[str]) -> list[str]:
    """The ONNX nodes that a layer is of: by its metadata (8.6 on), else by the names inside of its own name."""
    named = _METADATA.findall(str(layer.get("Metadata", ""))) or [name, *_PARTS.split(name)]
    known = set(nodes)
    return list(dict.fromkeys(one.strip() for one in named if one.strip() in known))


def layers_of_engine(inspector: Inspected) -> list[dict[str, Any]]:
    """The layers, each with at least its `Name`. Raises StageError."""
    return [layer if isinstance(layer, dict) else {"Name": str(layer)} for layer in _parsed(inspector)["Layers"]]


def tensors_of_engine(inspector: Inspected) -> list[str]:
    """The names of inputs and outputs: `Bindings` up to TensorRT 10, `I/O Tensors` on 11. Raises StageError."""
    found = _parsed(inspector)
    listed = found.get("I/O Tensors", found.get("Bindings", []))
    return [str(one.get("Name", "")) if isinstance(one, dict) else str(one) for one in listed]


def _parsed(inspector: Inspected) -> Mapping[str, Any]:
    try:
        found = json.loads(inspector) if isinstance(inspector, str) else inspector
    except ValueError as error:
        raise StageError(_unreadable(f"it is no JSON ({error})")) from error
    if not isinstance(found, Mapping) or not isinstance(found.get("Layers"), list):
        raise StageError(_unreadable("it has no list of `Layers`"))
    return found


def _unreadable(why: str) -> Finding:
    hint = "build the engine with detailed profiling verbosity, and ask the inspector for JSON"
    return Finding("TK919", f"TensorRT's description of the engine cannot be read: {why}", hint, "engine")
