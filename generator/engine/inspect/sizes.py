"""How many bytes tensors take."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx


def bytes_of_tensor(tensor: onnx.TensorProto) -> int | None:
    """What its values take; None for text."""
    bits = bits_of(tensor.data_type)
    return None if bits is None else (math.prod(tensor.dims) * bits + 7) // 8


def bits_of(element_type: int) -> int | None:
    """Bits of one value of an ONNX type; None for text and unknown types."""
    import onnx

    if element_type in (onnx.TensorProto.STRING, onnx.TensorProto.UNDEFINED):
        return None
    try:
        word = onnx.TensorProto.DataType.Name(element_type)
    except ValueError:
        return None
    if word.startswith(("INT4", "UINT4", "FLOAT4")):
        return 4
    if word in ("INT2", "UINT2"):
        return 2
    return int(onnx.helper.tensor_dtype_to_np_dtype(element_type).itemsize) * 8
