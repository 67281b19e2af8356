"""`quantizer: modelopt`: the Q/DQ that NVIDIA's package puts into a graph, with the ranges that it finds itself."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from generator.engine.cache import Cache
from generator.engine.errors import Finding, StageError
from generator.engine.runner import Samples
from generator.spec.build import Calibration

if TYPE_CHECKING:
    import onnx

    from generator.engine.precision.keep import Keep


def by_modelopt(
    model: onnx.ModelProto, samples: Samples, keep: Keep, calibration: Calibration, *,
    mode: Literal["int8", "fp8"], words: str, in_graph: bool, overflows: bool, cache: Cache,
    progress: Callable[[str], None],
) -> tuple[bytes, dict[str, Any]]:  # fmt: skip
    """The graph's bytes, and what the manifest says of them. Raises StageError (TK935, TK930).

    What is not 8 bits is fp16 for TensorRT, unless its flags decide that (`in_graph=False`), and fp32 elsewhere.
    `overflows`: where it is served, sums of weights of all 8 bits do.
    """
    import onnx

    from generator.engine.precision.modelopt import left, missing, modelopt, version

    if why := missing():
        raise StageError(Finding("TK935", why, "`quantizer: tritonkit` needs nothing else", "build"))
    if overflows:
        text = "ModelOpt's int8 has all 8 bits, whose sums overflow on this processor: it has no VNNI instructions"
        hint = "`quantizer: tritonkit` leaves a bit free on such processors"
        raise StageError(Finding("TK935", text, hint, "build"))
    method: Literal["entropy", "max"] = "entropy" if calibration.method == "entropy" else "max"
    other: Literal["fp16", "fp32"] = "fp16" if words == "tensorrt" and in_graph else "fp32"
    facts = {
        "graph": hashlib.sha256(model.SerializeToString(deterministic=True)).hexdigest(), "data": samples.sha256,
        "mode": mode, "method": method, "other": other, "version": version(),
        "keep": [list(keep.operators), list(keep.nodes), keep.first, keep.last],
    }  # fmt: skip

    def make() -> bytes:
        progress(f"ModelOpt {version()}: quantising to {mode} ({method}), {samples.items} items")
        made = modelopt(model, mode, samples, keep, method=method, high_precision=other)
        data: bytes = made.SerializeToString(deterministic=True)
        return data

    data = cache.value("modelopt", facts, make, bytes)
    layers, stay = left(model, onnx.load_model_from_string(data), keep)
    if not layers:
        raise StageError(Finding("TK933", f"ModelOpt leaves all {len(stay)} layers as they are", "", "precision"))
    return data, {
        "quantizer": f"modelopt {version()}".strip(),
        "calibration": {"file": calibration.data, "method": method, "items": samples.items, "sha256": samples.sha256},
        "quantised": {"layers": len(layers), "stay": stay},
    }
