"""The tensors inside an ONNX graph, as outputs that can be looked at."""

from __future__ import annotations

from collections.abc import Sequence

import onnx


def float_tensors(model: onnx.ModelProto) -> list[str]:
    """The tensors of a float type that nodes of the outer graph make, in its order; those whose type ONNX's shape
    inference cannot tell are left out."""
    floats = {onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE}
    known = onnx.shape_inference.infer_shapes(model, check_type=False, strict_mode=False).graph
    types = {
        value.name: value.type.tensor_type.elem_type
        for value in [*known.value_info, *known.output]
        if value.type.HasField("tensor_type")
    }
    return [name for node in model.graph.node for name in node.output if types.get(name) in floats]


def with_outputs(model: onnx.ModelProto, names: Sequence[str]) -> bytes:
    """The same graph with `names` as its outputs too; ONNX Runtime finds their types itself."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    given = {value.name for value in changed.graph.output}
    changed.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in given)
    data: bytes = changed.SerializeToString(deterministic=True)
    return data
