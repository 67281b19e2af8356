"""UINT8 inputs cast at once: TensorRT has no UINT8 inside of a graph, and numbers up to 255 lose nothing by it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from generator.engine.precision.graph import captured, fresh, tensor_names

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
    readers, outputs = _readers(graph), {value.name for value in graph.output}
    taken = tensor_names(graph)
    casts = []
    for value in graph.input:
        if value.type.tensor_type.elem_type != onnx.TensorProto.UINT8 or not _can_be(value.name, readers, outputs):
            continue
        name = fresh(f"{value.name}/fp32", taken)
        for node in readers[value.name]:
            node.input[0] = name
        casts.append(onnx.helper.make_node("Cast", [value.name], [name], name=name, to=onnx.TensorProto.FLOAT))
    if casts:
        nodes = [*reversed(casts), *graph.node]
        del graph.node[:]
        graph.node.extend(nodes)
        del graph.value_info[:]  # some of what they say of types is no longer so
    return changed


def _readers(graph: onnx.GraphProto) -> dict[str, list[onnx.NodeProto]]:
    """The nodes that read each tensor, themselves or in their branches, each once."""
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in dict.fromkeys((*node.input, *captured(node))):
            if name:
                readers.setdefault(name, []).append(node)
    return readers


def _can_be(start: str, readers: Mapping[str, Sequence[onnx.NodeProto]], outputs: Collection[str]) -> bool:
    """Whether all that comes of a tensor is moved until it is cast to FP32, and some of it is moved."""
    import onnx

    open_, seen, moved = [start], {start}, False
    while open_:
        tensor = open_.pop()
        if tensor in outputs:
            return False
        for node in readers.get(tensor, ()):
            if node.op_type == "Cast" and onnx.helper.get_node_attr_value(node, "to") == onnx.TensorProto.FLOAT:
                continue
            if node.op_type not in _MOVING or node.domain not in {"", "ai.onnx"} or node.input[0] != tensor:
                return False
            moved = True
            open_ += [name for name in node.output if name not in seen]
            seen.update(node.output)
    return moved
