"""Which nodes of a graph became which node of the optimised graph that ONNX Runtime saves.

Optimising keeps the names of most tensors. What lies, in the original graph, between the tensors that an optimised
node gives and those that other optimised nodes give is what it computes. Nodes for another memory layout give tensors
with new names, but carry the name of the node that they stand for.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

_AFFIXES = re.compile(r"^fused |(_nchwc|_nhwc|_token_\d+|_matmul_\d+|_transpose_\d+)+$")
_RANDOM = frozenset({"RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Bernoulli"})


def origins(original: onnx.GraphProto, optimised: onnx.GraphProto) -> tuple[list[tuple[str, ...]], tuple[str, ...]]:
    """The names of original nodes for each optimised node in order, and of those that none computes.

    Every original node is in exactly one of all these. Node names of `original` must be unlike.
    """
    maker = {name: node for node in original.node for name in node.output if name}
    constant = _constant_nodes(original)
    by_name = {node.name: node for node in original.node}
    given = [_given(node, maker, by_name) for node in optimised.node]
    ends = {tensor for tensors in given for tensor in tensors}
    taken: set[str] = set()
    found = []
    # A node with a name of the original stands for that one before a node that only turns its layout back.
    for place in sorted(range(len(given)), key=lambda place: (not _is_named(optimised.node[place], by_name), place)):
        names = _between(given[place], ends, maker, taken | constant)
        taken |= names
        found.append((place, names))
    order = [node.name for node in original.node]
    rank = {name: place for place, name in enumerate(order)}
    groups = [tuple(sorted(names, key=rank.__getitem__)) for _, names in sorted(found, key=lambda pair: pair[0])]
    return groups, tuple(name for name in order if name not in taken)


def plain_name(name: str) -> str:
    """A node's name without what ONNX Runtime's optimisations add to it."""
    return _AFFIXES.sub("", name)


def _is_named(node: onnx.NodeProto, by_name: Mapping[str, onnx.NodeProto]) -> bool:
    return plain_name(node.name) in by_name


def _given(
    node: onnx.NodeProto, maker: Mapping[str, onnx.NodeProto], by_name: Mapping[str, onnx.NodeProto]
) -> list[str]:
    """The original's tensors that an optimised node gives."""
    same = [name for name in node.output if name in maker]
    if same:
        return same
    stands_for = by_name.get(node.name) or by_name.get(plain_name(node.name))
    return [name for name in stands_for.output if name] if stands_for is not None else []


def _between(
    starts: Iterable[str], ends: set[str], maker: Mapping[str, onnx.NodeProto], not_these: set[str]
) -> set[str]:  # fmt: skip
    """Original nodes from `starts` up to the tensors in `ends`, without those that somebody else computes."""
    names: set[str] = set()
    left = [(name, True) for name in starts]
    while left:
        tensor, first = left.pop()
        node = maker.get(tensor)
        if node is None or (tensor in ends and not first) or node.name in names or node.name in not_these:
            continue
        names.add(node.name)
        left += [(name, False) for name in _reads(node)]
    return names


def _constant_nodes(graph: onnx.GraphProto) -> set[str]:
    """The names of nodes that are computed from constants alone. The nodes of a graph are in order."""
    values = {tensor.name for tensor in graph.initializer}
    names = set()
    for node in graph.node:
        if node.op_type not in _RANDOM and all(name in values for name in _reads(node)):
            values.update(node.output)
            names.add(node.name)
    return names


def _reads(node: onnx.NodeProto) -> list[str]:
    """What a node takes, and what the graphs inside of it take from outside."""
    names = [name for name in node.input if name]
    for attribute in node.attribute:
        for graph in [attribute.g] if attribute.HasField("g") else attribute.graphs:
            own = {t.name for t in graph.initializer} | {v.name for v in graph.input}
            own |= {name for inner in graph.node for name in inner.output}
            names += [name for inner in graph.node for name in _reads(inner) if name not in own]
    return names
