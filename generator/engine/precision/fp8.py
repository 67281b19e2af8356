"""fp8 (E4M3) by Q/DQ nodes in the graph, in the form of TensorRT's int8: the same places, another 8-bit number."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from generator.engine.errors import Finding, StageError
from generator.engine.precision.keep import Keep
from generator.engine.precision.opset import at_least
from generator.engine.precision.quantize import Quantized, RangesLike, quantized

if TYPE_CHECKING:
    import onnx

LARGEST = 448.0  # of E4M3
_INT8_LARGEST = 127
_OPSET = 19  # the first whose Q/DQ know it


def fp8(
    model: onnx.ModelProto, ranges: RangesLike, keep: Keep | None = None, layers: Collection[str] | None = None
) -> Quantized:
    """The FP32 graph with Q/DQ in FP8 E4M3 at the layers that `quantized` would take, weights by output channel.

    The largest number of a range becomes 448. An older opset is raised to 19. Raises StageError as `quantized` does.
    """
    try:
        newer = at_least(model, _OPSET)
    except Exception as error:  # the converter's errors have no common base
        message = f"the graph cannot be raised to opset {_OPSET}, which fp8 needs: {error}"
        raise StageError(Finding("TK932", message, f"export it in opset {_OPSET}", "precision")) from error
    made = quantized(newer, ranges, keep, layers, "tensorrt")
    _rescale(made.model)
    return made


def _rescale(model: onnx.ModelProto) -> None:
    """INT8's scales and zero points become those of FP8."""
    import numpy as np
    from onnx import TensorProto, numpy_helper

    weights = {weight.name: weight for weight in model.graph.initializer}
    nodes = [n for n in model.graph.node if n.op_type in ("QuantizeLinear", "DequantizeLinear")]
    # Q and DQ of a pair share both; Q/DQ that the graph had before are of another type and stay.
    pairs = {(n.input[1], n.input[2]) for n in nodes if len(n.input) == 3 and n.input[2] in weights}
    for scale, zero in sorted(pairs):
        if weights[zero].data_type != TensorProto.INT8:
            continue
        values = numpy_helper.to_array(weights[scale]) * np.float32(_INT8_LARGEST / LARGEST)
        weights[scale].CopyFrom(numpy_helper.from_array(values.astype(np.float32), scale))
        dims = list(weights[zero].dims)
        count = int(np.prod(dims, dtype=np.int64))
        weights[zero].CopyFrom(
            TensorProto(name=zero, data_type=TensorProto.FLOAT8E4M3FN, dims=dims, raw_data=bytes(count))
        )
    for value in list(model.graph.value_info):
        if value.type.tensor_type.elem_type == TensorProto.INT8:
            model.graph.value_info.remove(value)
