"""What loses accuracy when the precision is lowered: operators, and weights that the type cannot hold."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from generator.engine.inspect.layers import layer_names
from generator.engine.inspect.words import listed

if TYPE_CHECKING:
    import onnx

_LARGEST_FP16 = 65504.0
_LEAST_NORMAL_FP16 = 2.0**-14
_LEAST_FP16 = 2.0**-25  # below half of the least subnormal: becomes zero
_SUMS = {"ReduceSum", "ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceProd", "ReduceLogSumExp", "CumSum"}
_GROW = {"Exp", "Pow", "Softplus"}
_NORMS = {"LayerNormalization", "InstanceNormalization", "GroupNormalization", "RMSNormalization", "LpNormalization"}
_WHY = {
    "fp16": (
        (_GROW, "can pass 65504, the largest FP16 value, and become infinite"),
        (_SUMS, "adds up many values: the sum can pass 65504, and small terms are lost"),
        ({"Softmax", "LogSoftmax"}, "takes exponentials and a sum: small probabilities become 0"),
        (_NORMS, "squares its input: above 256 the square passes 65504"),
    ),
    "bf16": (
        (_SUMS, "adds up many values in 8 bits of mantissa: small terms are lost"),
        ({"Softmax", "LogSoftmax"} | _NORMS, "takes sums in 8 bits of mantissa"),
    ),
    "int8": (
        (_GROW | {"Sigmoid", "Tanh", "Erf", "Log", "Sqrt", "Reciprocal"}, "bends its range: 256 steps are coarse"),
        (_SUMS | {"Softmax", "LogSoftmax"} | _NORMS, "needs more steps than 256 for its sums"),
        ({"Resize", "Upsample", "GridSample"}, "interpolates between steps: rounding shows"),
        ({"Concat"}, "puts tensors of different ranges under one scale"),
    ),
}
_KEEP = "keep it in FP32 (`build: {keep: {operators: [...]}}`), or see what the gate says"


@dataclass(frozen=True)
class Delicate:
    """One kind of thing that may lose accuracy, and the names of the nodes or weights."""

    code: str
    message: str
    hint: str
    nodes: tuple[str, ...]


def delicate(model: onnx.ModelProto, precision: str) -> Iterator[Delicate]:
    """Of the precisions fp16, bf16 and int8 (`mixed` is like int8); nothing of others."""
    names = layer_names(model.graph)
    for operators, why in _WHY.get("int8" if precision == "mixed" else precision, ()):
        found: dict[str, list[str]] = {}
        for name, node in zip(names, model.graph.node, strict=True):
            if node.op_type in operators:
                found.setdefault(node.op_type, []).append(name)
        for op_type, nodes in found.items():
            message = f"{op_type} ({listed(nodes)}) in {precision} {why}"
            yield Delicate("TK915", message, _KEEP, tuple(nodes))
    if precision == "fp16":
        yield from _weights(model)


def _weights(model: onnx.ModelProto) -> Iterator[Delicate]:
    """Weights that FP16 makes infinite, zero or coarse."""
    import numpy as np
    import onnx

    large: list[str] = []
    lost: list[str] = []
    coarse: list[str] = []
    for tensor in model.graph.initializer:
        if tensor.data_type != onnx.TensorProto.FLOAT:
            continue
        size = np.abs(onnx.numpy_helper.to_array(tensor))
        if not size.size:
            continue
        some = size[size > 0]
        if float(size.max()) > _LARGEST_FP16 or not np.isfinite(size).all():
            large.append(tensor.name)
        elif some.size and float((some < _LEAST_FP16).mean()) > 0.01:
            lost.append(tensor.name)
        elif some.size and float((some < _LEAST_NORMAL_FP16).mean()) > 0.05:
            coarse.append(tensor.name)
    for nodes, what, hint in (
        (large, "values above 65504 or not finite, which FP16 cannot hold", "scale them"),
        (lost, "more than 1 % of values that become 0 in FP16 (below 3e-8)", "use bf16"),
        (coarse, "more than 5 % of values that are subnormal in FP16 (below 6e-5) and lose digits", "use bf16"),
    ):
        if nodes:
            message = f"{listed(nodes)} {'holds' if len(nodes) == 1 else 'hold'} {what}"
            yield Delicate("TK917", message, f"keep the layers that use it in FP32, or {hint}", tuple(nodes))
