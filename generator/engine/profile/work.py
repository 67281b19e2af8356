"""What the rows of a profile compute and move, from the inspection of the original graph."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from generator.engine.inspect.flops import VIEWS
from generator.engine.inspect.layers import Layer, layer_names
from generator.engine.profile.rows import LayerTime

if TYPE_CHECKING:
    import onnx

    from generator.engine.inspect.shapes import Shaped


@dataclass(frozen=True)
class _Graph:
    """What is known of the original graph, by the names of its nodes and tensors."""

    nodes: Mapping[str, onnx.NodeProto]
    counted: Mapping[str, Layer]
    shapes: Mapping[str, Shaped]
    users: Mapping[str, set[str]]
    outputs: set[str]
    constants: set[str]

    def flops(self, group: list[str]) -> int | None:
        counts = [self.counted[name].flops for name in group]
        return None if None in counts else sum(count or 0 for count in counts)

    def moved_bytes(self, group: list[str]) -> int | None:
        """Of what is computed as one: tensors that stay inside are not moved."""
        if len(group) == 1:
            return self.counted[group[0]].moved_bytes
        if all(self.nodes[name].op_type in VIEWS for name in group):
            return 0
        inside = {tensor for name in group for tensor in self.nodes[name].output}
        read = {tensor for name in group for tensor in self.nodes[name].input if tensor} - inside - self.constants
        written = {t for t in inside if t in self.outputs or self.users.get(t, set()) - set(group)}
        sizes = [self.shapes[t].bytes if t in self.shapes else None for t in sorted(read | written)]
        if None in sizes:
            return None
        return sum(size or 0 for size in sizes) + sum(self.counted[name].weight_bytes for name in group)


def with_work(
    rows: Iterable[LayerTime], graph: onnx.GraphProto, layers: Iterable[Layer], shapes: Mapping[str, Shaped]
) -> tuple[LayerTime, ...]:
    """The rows with operations and bytes; `graph` is the original one, `layers` and `shapes` its inspection."""
    nodes = dict(zip(layer_names(graph), graph.node, strict=True))
    users: dict[str, set[str]] = {}
    for name, node in nodes.items():
        for tensor in node.input:
            users.setdefault(tensor, set()).add(name)
    constants = {tensor.name for tensor in graph.initializer}
    constants |= {node.output[0] for node in graph.node if node.op_type == "Constant"}
    outputs = {value.name for value in graph.output}
    known = _Graph(nodes, {layer.name: layer for layer in layers}, shapes, users, outputs, constants)
    done = []
    for row in rows:
        group = [name for name in row.layers if name in known.counted]
        done.append(replace(row, flops=known.flops(group), moved_bytes=known.moved_bytes(group)) if group else row)
    return tuple(done)
