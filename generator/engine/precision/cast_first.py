"""UINT8 inputs cast at once: TensorRT has no UINT8 inside of a graph, and numbers up to 255 lose nothing by it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from generator.engine.precision.graph import fresh, tensor_names

if TYPE_CHECKING:
    import onnx

# Operators that only move numbers: what they do is the same in any type. The other operands are shapes or indices.
_MOVING = frozenset({
    "Identity", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Slice", "Gather", "Expand", "Tile",
    "DepthToSpace", "SpaceToDepth",
})  # fmt: skip


def cast_first(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy in which every UINT8 input that is moved and then cast to FP32 is cast to FP32 and then moved.

    Inputs that meet anything else are left alone; the same numbers come out.
    """
    import onnx

    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    graph = changed.graph
    for value in graph.input:
        if value.type.tensor_type.elem_type == onnx.TensorProto.UINT8 and _can_be(graph, value.name):
            name = fresh(f"{value.name}/fp32", tensor_names(graph))
            for node in graph.node:
                if node.input and node.input[0] == value.name:
                    node.input[0] = name
            cast = onnx.helper.make_node("Cast", [value.name], [name], name=name, to=onnx.TensorProto.FLOAT)
            graph.node.insert(0, cast)
            del graph.value_info[:]  # some of what they say of types is no longer so
    return changed


def _can_be(graph: onnx.GraphProto, start: str) -> bool:
    """Whether all that comes of a tensor is moved until it is cast to FP32, and some of it is moved."""
    import onnx

    open_, moved = [start], False
    outputs = {value.name for value in graph.output}
    while open_:
        tensor = open_.pop()
        if tensor in outputs:
            return False
        for node in graph.node:
            if tensor not in node.input:
                continue
            if node.op_type == "Cast" and onnx.helper.get_node_attr_value(node, "to") == onnx.TensorProto.FLOAT:
                continue
            if node.op_type not in _MOVING or node.domain not in {"", "ai.onnx"} or list(node.input).index(tensor):
                return False
            moved = True
            open_ += node.output
    return moved
