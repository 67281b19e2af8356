"""What the rows of a profile compute and move, from the inspection of the original graph."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from generator.engine.inspect.flops import VIEWS
from generator.engine.inspect.layers import Layer, layer_names, run_layers
from generator.engine.inspect.quantised import as_moved, held, is_quantising
from generator.engine.profile.rows import LayerTime

if TYPE_CHECKING:
    import onnx

    from generator.engine.inspect.shapes import Shaped


@dataclass(frozen=True)
class _Graph:
    """What is known of the original graph, by the names of its nodes and tensors.

    `counted` and `shapes` are in the graph's own types, `run` and `moved` in those of quantised layers.
    """

    nodes: Mapping[str, onnx.NodeProto]
    counted: Mapping[str, Layer]
    run: Mapping[str, Layer]
    shapes: Mapping[str, Shaped]
    moved: Mapping[str, Shaped]
    users: Mapping[str, set[str]]
    outputs: set[str]
    weights: set[str]

    def layers(self, group: list[str]) -> list[str]:
        """Without what only quantises, unless there is nothing else."""
        return [name for name in group if not is_quantising(self.nodes[name])] or group

    def flops(self, group: list[str]) -> int | None:
        counts = [self.counted[name].flops for name in self.layers(group)]
        return None if None in counts else sum(count or 0 for count in counts)

    def moved_bytes(self, group: list[str], op_type: str) -> int | None:
        """Of what is computed as one: tensors that stay inside are not moved."""
        layers = self.layers(group)
        # Operators of 8 bits are called QLinearConv, QGemm and the like.
        quantised = layers != group or (op_type.startswith("Q") and group[0] in self.run)
        counted, shapes = (self.run, self.moved) if quantised else (self.counted, self.shapes)
        if len(group) == 1:
            return counted[group[0]].moved_bytes
        if all(self.nodes[name].op_type in VIEWS for name in layers):
            return 0
        inside = {tensor for name in group for tensor in self.nodes[name].output}
        read = {tensor for name in group for tensor in self.nodes[name].input if tensor} - inside - self.weights
        written = {t for t in inside if t in self.outputs or self.users.get(t, set()) - set(group)} - self.weights
        sizes = [shapes[t].bytes if t in shapes else None for t in sorted(read | written)]
        if None in sizes:
            return None
        return sum(size or 0 for size in sizes) + sum(counted[name].weight_bytes for name in layers)


def with_work(
    rows: Iterable[LayerTime], graph: onnx.GraphProto, layers: Iterable[Layer], shapes: Mapping[str, Shaped]
) -> tuple[LayerTime, ...]:
    """The rows with operations and bytes; `graph` is the original one, `layers` and `shapes` its inspection."""
    nodes = dict(zip(layer_names(graph), graph.node, strict=True))
    users: dict[str, set[str]] = {}
    for name, node in nodes.items():
        for tensor in node.input:
            users.setdefault(tensor, set()).add(name)
    known = _Graph(
        nodes, {layer.name: layer for layer in layers}, {layer.name: layer for layer in run_layers(graph, shapes)},
        shapes, as_moved(graph, shapes), users, {value.name for value in graph.output}, held(graph),
    )  # fmt: skip
    done = []
    for row in rows:
        group = [name for name in row.layers if name in known.counted]
        work = (known.flops(group), known.moved_bytes(group, row.op_type)) if group else (row.flops, row.moved_bytes)
        done.append(replace(row, flops=work[0], moved_bytes=work[1]))
    return tuple(done)
