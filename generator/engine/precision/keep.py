"""Which nodes stay as they are: by operator, by name, and the first and last layers with weights."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from generator.engine.errors import Finding, StageError
from generator.engine.precision.graph import tidy

if TYPE_CHECKING:
    import onnx

# Operators with weights, and where the weight stands: these are what 8 bits pay for.
WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")


class Keep(Protocol):
    """What a spec says under `build.keep`; any object with these four will do."""

    @property
    def operators(self) -> Sequence[str]:
        """Operators of ONNX."""

    @property
    def nodes(self) -> Sequence[str]:
        """Names of nodes."""

    @property
    def first(self) -> int:
        """So many layers with weights, from the inputs."""

    @property
    def last(self) -> int:
        """So many layers with weights, from the outputs."""


@dataclass(frozen=True)
class Kept:
    """Plain data of that shape."""

    operators: Sequence[str] = ()
    nodes: Sequence[str] = ()
    first: int = 0
    last: int = 0


@dataclass(frozen=True)
class Layer:
    """A layer with constant weights: the node's name and operator, and how many numbers its weight has."""

    name: str
    op: str
    weight_elements: int


def quantizable(model: onnx.ModelProto) -> list[Layer]:
    """Conv, ConvTranspose, Gemm and MatMul with a constant FP32 weight, in the graph's order.

    A product of two activations has no weight and is left out, as TensorRT's and ONNX Runtime's fused attention
    wants it.
    """
    return layers_of(tidy(model))


def layers_of(model: onnx.ModelProto) -> list[Layer]:
    """`quantizable` of a graph that is tidy already."""
    import math

    import onnx

    weights = {w.name: w for w in model.graph.initializer if w.data_type == onnx.TensorProto.FLOAT}
    return [
        Layer(node.name, node.op_type, math.prod(weights[node.input[1]].dims))
        for node in model.graph.node
        if node.op_type in WEIGHTED
        and node.domain in ("", "ai.onnx")
        and node.input[1] in weights
        and node.input[0] not in weights
        and (node.op_type.startswith("Conv") or len(weights[node.input[1]].dims) == 2)
    ]


def kept_nodes(model: onnx.ModelProto, keep: Keep) -> dict[str, str]:
    """Names of nodes that stay, with why, of a tidy graph. Raises StageError (TK930) for a name that no node has."""
    nodes = {node.name: node.op_type for node in model.graph.node}
    if findings := [_unknown(name, nodes) for name in keep.nodes if name not in nodes]:
        raise StageError(findings)
    layers = [layer.name for layer in layers_of(model)]
    kept = {name: f"`keep` names its operator {op}" for name, op in nodes.items() if op in keep.operators}
    kept |= dict.fromkeys(layers[: keep.first], f"it is one of the first {keep.first} layers")
    kept |= dict.fromkeys(layers[max(0, len(layers) - keep.last) :], f"it is one of the last {keep.last} layers")
    return kept | dict.fromkeys(keep.nodes, "`keep` names it")


def _unknown(name: str, nodes: Collection[str]) -> Finding:
    close = difflib.get_close_matches(name, nodes, n=3)
    hint = (
        f"did you mean {' or '.join(f'`{c}`' for c in close)}?"
        if close
        else "`tritonkit inspect --layers` lists them"
    )
    return Finding("TK930", f"the graph has no node `{name}`", hint, "build")
