"""Scale and zero point of 8-bit numbers, and weights rounded to them; as the Q/DQ nodes of the graph do it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import onnx

    Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Scale:
    """number = (stored - zero_point) * scale, with `stored` INT8 if symmetric and UINT8 if not."""

    scale: float
    zero_point: int
    symmetric: bool


def activation_scale(low: float, high: float, *, symmetric: bool) -> Scale:
    """The scale of a tensor in [low, high]; 0 is always a number of it. A tensor of zeros has scale 1."""
    low, high = min(low, 0.0), max(high, 0.0)
    if symmetric:
        return Scale(max(-low, high) / 127 or 1.0, 0, True)
    scale = (high - low) / 255 or 1.0
    return Scale(scale, round(-low / scale), False)


def rounded_weight(node: onnx.NodeProto, weight: Array) -> Array:
    """The FP32 weight of a layer as INT8 holds it, with one symmetric scale for each channel."""
    import numpy as np

    axis = channel_axis(node)
    others = tuple(i for i in range(weight.ndim) if i != axis)
    scale = np.abs(weight).max(axis=others, keepdims=True) / np.float32(127)
    scale = np.where(scale == 0, np.float32(1), scale)
    return np.asarray(np.clip(np.rint(weight / scale), -127, 127) * scale, np.float32)


def channel_axis(node: onnx.NodeProto) -> int:
    """The axis of the second operand that has one scale for each index."""
    if node.op_type == "Gemm":
        transposed = next((a.i for a in node.attribute if a.name == "transB"), 0)
        return 0 if transposed else 1
    return 0 if node.op_type == "Conv" else 1
