"""The layers of a graph: what each computes, reads and writes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from generator.engine.inspect.flops import VIEWS, Node, flops
from generator.engine.inspect.quantised import as_moved, held, is_quantising
from generator.engine.inspect.shapes import Shaped

if TYPE_CHECKING:
    import onnx

# These read no more than they write.
_PART_ALONE = frozenset({"Gather", "GatherElements", "GatherND", "Slice"})
# What scales and masks the scores of an attention.
_BETWEEN = frozenset(
    {"Add", "Mul", "Div", "Sub", "Where", "Cast", "Clip", "Max", "Min", "QuantizeLinear", "DequantizeLinear"}
)
_AFTER_SOFTMAX = frozenset({"Cast", "Dropout", "Where", "QuantizeLinear", "DequantizeLinear"})


@dataclass(frozen=True)
class Layer:
    """One node. Counts are of one run; None is unknown.

    `weight_bytes` are of the weights that it reads (of a Gather or Slice the part that it takes); `block` is
    `attention` for the nodes from a product of queries and keys to the product with the values.
    """

    name: str
    op_type: str
    shape: tuple[int | str | None, ...] | None
    flops: int | None
    read_bytes: int | None
    written_bytes: int | None
    weight_bytes: int
    block: str = ""

    @property
    def moved_bytes(self) -> int | None:
        """Activations read and written, and weights."""
        if self.read_bytes is None or self.written_bytes is None:
            return None
        return self.read_bytes + self.written_bytes + self.weight_bytes

    @property
    def intensity(self) -> float | None:
        """Operations for each byte moved: what decides whether memory or arithmetic is the bound."""
        moved = self.moved_bytes
        return None if self.flops is None or not moved else self.flops / moved


def layer_names(graph: onnx.GraphProto) -> list[str]:
    """A name for every node, no two alike: its own, or `OpType_PLACE`; later ones of the same name get `#2`, `#3`."""
    taken: set[str] = set()
    names = []
    for place, node in enumerate(graph.node):
        wanted = node.name or f"{node.op_type}_{place}"
        name, count = wanted, 1
        while name in taken:
            count += 1
            name = f"{wanted}#{count}"
        taken.add(name)
        names.append(name)
    return names


def layers_of(graph: onnx.GraphProto, shapes: Mapping[str, Shaped]) -> tuple[Layer, ...]:
    """All nodes, in the graph's order; `shapes` are those of its tensors. Constants are weights, not layers."""
    weights = held(graph)
    attention = attention_nodes(graph, weights)
    return tuple(
        _layer(name, node, shapes, weights, "attention" if place in attention else "")
        for place, (name, node) in enumerate(zip(layer_names(graph), graph.node, strict=True))
        if node.op_type != "Constant"
    )


def run_layers(graph: onnx.GraphProto, shapes: Mapping[str, Shaped]) -> tuple[Layer, ...]:
    """The layers as an engine runs a quantised graph: its QuantizeLinear and DequantizeLinear are no layers, and what
    is between them has their bits. Of any other graph: all of them."""
    quantising = {n for n, node in zip(layer_names(graph), graph.node, strict=True) if is_quantising(node)}
    return tuple(layer for layer in layers_of(graph, as_moved(graph, shapes)) if layer.name not in quantising)


def _layer(
    name: str, node: onnx.NodeProto, shapes: Mapping[str, Shaped], weights: set[str], block: str
) -> Layer:  # fmt: skip
    import onnx

    outputs = [shapes.get(output, Shaped()) for output in node.output if output]
    inputs = [shapes.get(given, Shaped()) if given else None for given in node.input]
    foreign = node.domain not in ("", "ai.onnx")
    inside = any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute)
    attributes = {a.name: _plain(onnx.helper.get_attribute_value(a)) for a in node.attribute}
    count = None if foreign or inside else flops(Node(node.op_type, inputs, outputs, attributes))
    shape = outputs[0].dims if outputs else None
    if node.op_type in VIEWS and not foreign:
        return Layer(name, node.op_type, shape, count, 0, 0, 0, block)
    written = _sum([tensor.bytes for tensor in outputs])
    taken = [tensor.bytes if tensor is not None else 0 for tensor in inputs]
    if node.op_type in _PART_ALONE and written is not None:
        taken[0] = written if taken[0] is None else min(taken[0], written)
    read = _sum([size for n, size in zip(node.input, taken, strict=True) if n not in weights])
    of_weights = {n: size or 0 for n, size in zip(node.input, taken, strict=True) if n in weights}
    return Layer(name, node.op_type, shape, count, read, written, sum(of_weights.values()), block)


def _plain(value: object) -> object:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _sum(counts: list[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None


def attention_nodes(graph: onnx.GraphProto, weights: set[str]) -> frozenset[int]:
    """Places of the nodes of MatMul → scale and mask → Softmax → MatMul, and of Attention."""
    maker = {name: place for place, node in enumerate(graph.node) for name in node.output if name}
    users: dict[str, list[int]] = {}
    for place, node in enumerate(graph.node):
        for name in node.input:
            users.setdefault(name, []).append(place)
    found = {place for place, node in enumerate(graph.node) if node.op_type == "Attention"}
    for place, node in enumerate(graph.node):
        if node.op_type != "Softmax" or not node.output:
            continue
        before = _towards_product(graph, maker, place, weights)
        after = _following_product(graph, users, place)
        if before and after:
            found |= {place, *before, *after}
    return frozenset(found)


def _towards_product(graph: onnx.GraphProto, maker: Mapping[str, int], start: int, weights: set[str]) -> set[int]:
    """The nodes between a product of two activations and a softmax, the product first; empty without one."""
    trail: set[int] = set()
    place = start
    while True:
        above = [maker[name] for name in graph.node[place].input if name in maker]
        product = [
            p for p in above if graph.node[p].op_type == "MatMul" and not weights & set(graph.node[p].input)
        ]  # fmt: skip
        if product:
            return {*trail, product[0]}
        onward = [p for p in above if graph.node[p].op_type in _BETWEEN and _reaches_product(graph, maker, p)]
        if not onward:
            return set()
        place = onward[0]
        trail.add(place)


def _reaches_product(graph: onnx.GraphProto, maker: Mapping[str, int], start: int) -> bool:
    """Whether a MatMul is above, with nothing but scaling and masking between."""
    left, seen = [start], set[int]()
    while left:
        place = left.pop()
        if place in seen:
            continue
        seen.add(place)
        above = [maker[name] for name in graph.node[place].input if name in maker]
        if any(graph.node[p].op_type == "MatMul" for p in above):
            return True
        left += [p for p in above if graph.node[p].op_type in _BETWEEN]
    return False


def _following_product(graph: onnx.GraphProto, users: Mapping[str, list[int]], start: int) -> set[int]:
    """The nodes from a softmax down to the product that takes its answer; empty without one."""
    trail: set[int] = set()
    place = start
    while True:
        below = users.get(graph.node[place].output[0], [])
        product = [p for p in below if graph.node[p].op_type == "MatMul"]
        if product:
            return {*trail, product[0]}
        onward = [p for p in below if graph.node[p].op_type in _AFTER_SOFTMAX]
        if not onward or onward[0] in trail:
            return set()
        place = onward[0]
        trail.add(place)
