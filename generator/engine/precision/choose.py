"""Which nodes compute in a 16-bit type, and which stay in fp32 and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from generator.engine.errors import Finding, StageError
from generator.engine.precision.graph import subgraphs
from generator.engine.precision.number_types import Low
from generator.engine.precision.opset import opset_of

if TYPE_CHECKING:
    import onnx

# Their types are tied to attributes or to another tensor.
_NEVER = frozenset({
    "Bernoulli", "CastLike", "DynamicQuantizeLinear", "EyeLike", "Multinomial", "NonMaxSuppression",
    "RandomNormalLike", "RandomUniformLike",
})  # fmt: skip
# They only move numbers, and do so in the type that they are given.
_MOVES = frozenset({
    "DepthToSpace", "Flatten", "Gather", "GatherElements", "GatherND", "Identity", "Reshape", "Slice", "SpaceToDepth",
    "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze",
})  # fmt: skip


@dataclass(frozen=True)
class Operands:
    """Of a node that may be lowered: which inputs and outputs, by position, change their type with it."""

    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    @property
    def decides(self) -> bool:
        """Whether the node computes floats; others only look at them."""
        return bool(self.outputs)


@dataclass(frozen=True)
class Choice:
    """`lowered` nodes by name. `stay` are nodes with floats that stay in fp32, with why."""

    lowered: Mapping[str, Operands]
    stay: Mapping[str, str] = field(default_factory=dict)


def choose(model: onnx.ModelProto, types: Mapping[str, int], low: Low, kept: Mapping[str, str]) -> Choice:
    """The choice for a tidy graph whose tensors have `types`; `kept` are nodes that stay, with why."""
    stay = {**_weights_too_large(model, low), **_counting(model, types), **kept}
    lowered: dict[str, Operands] = {}
    for node in model.graph.node:
        floats = [name for name in (*node.input, *node.output) if types.get(name) == 1]
        if not floats or node.op_type == "Cast" or node.name in stay:
            continue
        operands = _operands(model, node, types, low)
        if isinstance(operands, str):
            stay[node.name] = operands
        else:
            lowered[node.name] = operands
    named = {node.name for node in model.graph.node}
    return Choice(lowered, {name: why for name, why in stay.items() if name in named})


def moves(node: onnx.NodeProto) -> bool:
    """Whether the node only moves numbers."""
    return node.op_type in _MOVES and node.domain in ("", "ai.onnx")


def _operands(model: onnx.ModelProto, node: onnx.NodeProto, types: Mapping[str, int], low: Low) -> Operands | str:
    """What changes, or why nothing can."""
    from onnx import defs

    if subgraphs(node):
        return "it has branches of its own"
    if node.domain not in ("", "ai.onnx"):
        return f"{node.op_type} is an operator of {node.domain}, of which it is not known"
    if node.op_type in _NEVER:
        return f"{node.op_type} takes its type from elsewhere"
    schema = defs.get_schema(node.op_type, opset_of(model), "")
    if any(t.startswith(("seq(", "optional(", "map(")) for p in (*schema.inputs, *schema.outputs) for t in p.types):
        return f"{node.op_type} takes or gives sequences"
    inputs = [
        (i, formal)
        for i, (name, formal) in enumerate(_with_formals(node.input, schema.inputs))
        if types.get(name) == 1 and low.schema in formal.types
    ]
    if not inputs:
        return f"{node.op_type} knows no {low.word} in opset {opset_of(model)}"
    variables = {formal.type_str for _, formal in inputs}
    outputs = tuple(
        i
        for i, (name, formal) in enumerate(_with_formals(node.output, schema.outputs))
        if types.get(name) == 1 and formal.type_str in variables
    )
    return Operands(tuple(i for i, _ in inputs), outputs)


def _with_formals(
    names: Iterable[str], formals: Sequence[onnx.defs.OpSchema.FormalParameter]
) -> list[tuple[str, onnx.defs.OpSchema.FormalParameter]]:
    # The last one stands for all that follow, where their number is free.
    return [(name, formals[min(i, len(formals) - 1)]) for i, name in enumerate(names)]


def _weights_too_large(model: onnx.ModelProto, low: Low) -> dict[str, str]:
    """Nodes with a weight that the type cannot hold. Raises StageError (TK931) for NaN."""
    import numpy as np
    from onnx import TensorProto, numpy_helper

    large: dict[str, str] = {}
    scales = {n.input[1] for n in model.graph.node if n.op_type in ("QuantizeLinear", "DequantizeLinear")}
    nans = []
    for weight in model.graph.initializer:
        if weight.data_type != TensorProto.FLOAT:
            continue
        values = numpy_helper.to_array(weight)
        if np.isnan(values).any():
            nans.append(Finding("TK931", f"the weight `{weight.name}` holds NaN", "export the model again"))
        elif not low.holds(values):
            large[weight.name] = (
                f"goes to {float(np.abs(values[np.isfinite(values)]).max()):g}, and {low.word} to {low.largest:g}"
            )
        elif weight.name in scales and float(values.min()) < low.least_normal:
            large[weight.name] = f"is a scale of {float(values.min()):g}, which {low.word} rounds too coarsely"
    if nans:
        raise StageError(nans)
    return {
        node.name: f"its weight `{name}` {large[name]}"
        for node in model.graph.node
        for name in node.input
        if name in large
    }


def _counting(model: onnx.ModelProto, types: Mapping[str, int]) -> dict[str, str]:
    """Nodes between a cast from integers and a cast to integers: 16 bits would round counts above 2048."""
    from onnx import TensorProto

    wide = {TensorProto.INT32, TensorProto.INT64, TensorProto.UINT32, TensorProto.UINT64}
    after: set[str] = set()
    for node in model.graph.node:
        from_int = node.op_type == "Cast" and types.get(node.input[0]) in wide
        if from_int or any(types.get(name) == 1 and name in after for name in node.input):
            after.update(node.output)
    before: set[str] = set()
    counting: dict[str, str] = {}
    for node in reversed(model.graph.node):
        to_int = node.op_type == "Cast" and types.get(node.output[0]) in wide
        if to_int or any(types.get(name) == 1 and name in before for name in node.output):
            before.update(node.input)
            if after.intersection(node.input) and not to_int:
                counting[node.name] = "it counts: its numbers come from integers and become integers"
    return counting
