"""All nodes and constants of a model, those inside of other nodes and of functions too."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import onnx


def graphs_of(model: onnx.ModelProto) -> Iterator[Any]:
    """The graph, the model's functions, and the graphs inside of nodes (If, Loop, Scan)."""
    left: list[Any] = [model.graph, *model.functions]
    while left:
        graph = left.pop(0)
        yield graph
        for node in graph.node:
            for attribute in node.attribute:
                left += [attribute.g] if attribute.HasField("g") else attribute.graphs


def nodes_of(model: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    """The nodes of all of them."""
    for graph in graphs_of(model):
        yield from graph.node


def constants_of(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """The weights, and the tensors that nodes have as attributes."""
    for graph in graphs_of(model):
        yield from getattr(graph, "initializer", ())
        for node in graph.node:
            for attribute in node.attribute:
                if attribute.HasField("t"):
                    yield attribute.t
                yield from attribute.tensors
