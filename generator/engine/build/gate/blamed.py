"""Which layers of a quantised graph a loss belongs to: the ones that a spec can keep as they are."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from generator.engine.precision.keep import layers_of
from generator.engine.precision.quantize import prepared
from generator.engine.validate.blame import LayerHarm

if TYPE_CHECKING:
    import onnx


def at_layers(ranking: Sequence[LayerHarm], model: onnx.ModelProto, stay: Collection[str]) -> list[LayerHarm]:
    """The ranking by the layers of the FP32 graph `model` that are quantised: all but `stay`; the worst first.

    A tensor is in 8 bits because of the layer that gives it and of those that take it. What stands between, an
    activation or a pooling, has no bits of its own, and keeping it would change nothing.
    """
    graph = prepared(model).graph
    every = [layer.name for layer in layers_of(prepared(model))]
    layers = [name for name in every if name not in stay]
    operators = {node.name: node.op_type for node in graph.node}
    beside = _Beside(graph, set(every), set(layers))
    found: dict[str, list[tuple[LayerHarm, float]]] = {}
    for harm in ranking:
        names = beside.layers(harm.tensor)
        for name in names:
            found.setdefault(name, []).append((harm, harm.added / len(names)))
    if not found:
        return list(ranking)
    blamed = [_one(name, operators[name], parts) for name, parts in found.items()]
    return sorted(blamed, key=lambda harm: (-harm.not_finite, -harm.added, layers.index(harm.node)))


def _one(name: str, operator: str, parts: Sequence[tuple[LayerHarm, float]]) -> LayerHarm:
    """The layer with all that was put down to it, described by the worst of that."""
    worst = max(parts, key=lambda part: part[1])[0]
    return LayerHarm(
        name, operator, worst.tensor, worst.snr_db, worst.before_db,
        sum(share for _, share in parts), max(harm.not_finite for harm, _ in parts),
    )  # fmt: skip


class _Beside:
    """A graph's tensors with the quantised layers that give and take them, past what has no weights."""

    def __init__(self, graph: onnx.GraphProto, layers: Collection[str], quantised: Collection[str]) -> None:
        self.every, self.quantised = layers, quantised
        self.maker = {name: [node] for node in graph.node for name in node.output}
        self.takers: dict[str, list[onnx.NodeProto]] = {}
        for node in graph.node:
            for name in node.input:
                self.takers.setdefault(name, []).append(node)

    def layers(self, tensor: str) -> list[str]:
        """In an order that only the graph decides."""
        before = self._walk(tensor, self.maker, lambda node: node.input)
        behind = self._walk(tensor, self.takers, lambda node: node.output)
        return list(dict.fromkeys([*before, *behind]))

    def _walk(
        self, tensor: str, step: Mapping[str, Sequence[onnx.NodeProto]],
        beyond: Callable[[onnx.NodeProto], Sequence[str]],
    ) -> list[str]:  # fmt: skip
        """The quantised layers that come first in one direction."""
        found, left, seen = [], [tensor], {tensor}
        while left:
            for node in step.get(left.pop(0), []):
                if node.name in self.every:
                    found.append(node.name)
                    continue
                fresh = [name for name in beyond(node) if name and name not in seen]
                seen.update(fresh)
                left += fresh
        return [name for name in found if name in self.quantised]
