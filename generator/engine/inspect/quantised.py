"""What QuantizeLinear and DequantizeLinear say of the layers beside them: they are run in fewer bits.

An engine does not run these nodes one by one: a convolution between them reads, multiplies and writes 8-bit numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from generator.engine.inspect.shapes import Shaped

if TYPE_CHECKING:
    import onnx

_DOMAINS = frozenset({"", "ai.onnx", "com.microsoft"})


def is_quantising(node: onnx.NodeProto) -> bool:
    """Whether it only turns numbers into others of fewer bits, or back."""
    return node.op_type in ("QuantizeLinear", "DequantizeLinear") and node.domain in _DOMAINS


def held(graph: onnx.GraphProto) -> set[str]:
    """The names of weights: initializers, constants, and what is quantised or dequantised of them."""
    names = {tensor.name for tensor in graph.initializer}
    for node in graph.node:  # in order: what a node reads is before it
        if node.op_type == "Constant" or (is_quantising(node) and node.input[0] in names):
            names.update(node.output)
    return names


def as_moved(graph: onnx.GraphProto, shapes: Mapping[str, Shaped]) -> dict[str, Shaped]:
    """The tensors with the types in which an engine moves them that runs quantised layers as such.

    What comes of a DequantizeLinear is read in its bits, and what only goes to a QuantizeLinear is written in its.
    """
    moved = dict(shapes)
    wide = {value.name for value in graph.output}
    wide |= {name for node in graph.node if not is_quantising(node) for name in node.input}
    for node in filter(is_quantising, graph.node):
        before, after = node.input[0], node.output[0]
        if node.op_type == "QuantizeLinear":
            if before not in wide and after in moved:
                moved[before] = Shaped(moved[after].element_type, moved.get(before, Shaped()).dims)
        elif before in moved:
            moved[after] = Shaped(moved[before].element_type, moved.get(after, moved[before]).dims)
    return moved
