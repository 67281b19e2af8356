"""int8 by Q/DQ nodes in the graph: as TensorRT needs it, or as ONNX Runtime is fastest with it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from generator.engine.errors import Finding, StageError
from generator.engine.precision.graph import fresh, tensor_names, tidy
from generator.engine.precision.keep import WEIGHTED, Keep, Kept, kept_nodes, layers_of
from generator.engine.precision.numbers8 import channel_axis
from generator.engine.precision.opset import at_least
from generator.engine.precision.qdq import insert

if TYPE_CHECKING:
    import onnx

Engine = Literal["tensorrt", "onnxruntime"]
RangesLike = Mapping[str, tuple[float, float]]
_OPSET = 13  # the first whose Q/DQ have a scale for each channel


@dataclass(frozen=True)
class Quantized:
    """`layers` compute in 8 bits in `model`; `stay` are layers that do not, with why, in the graph's order."""

    model: onnx.ModelProto
    layers: tuple[str, ...]
    stay: Mapping[str, str]


def quantize(
    model: onnx.ModelProto, ranges: RangesLike, keep: Keep | None = None, layers: Collection[str] | None = None,
    for_engine: Engine = "tensorrt", *, reduce_range: bool = False,
) -> onnx.ModelProto:  # fmt: skip
    """`quantized`, without what it says."""
    return quantized(model, ranges, keep, layers, for_engine, reduce_range=reduce_range).model


def quantized(
    model: onnx.ModelProto, ranges: RangesLike, keep: Keep | None = None, layers: Collection[str] | None = None,
    for_engine: Engine = "tensorrt", *, reduce_range: bool = False,
) -> Quantized:  # fmt: skip
    """The FP32 graph with Q/DQ at `layers` (names as in `quantizable`; None: all of them) that `keep` does not name.

    Inputs and outputs of the graph stay FP32, weights are scaled for each output channel. For TensorRT all is
    symmetric INT8 and weights keep their FP32 numbers before a Q; for ONNX Runtime activations are UINT8 with a zero
    point, weights are stored in INT8, and what stands between quantised convolutions is quantised too.
    `reduce_range` leaves one bit of the weights unused, which ONNX Runtime needs on x86 CPUs without VNNI: there
    two products of UINT8 and INT8 saturate. An older opset is raised to 13. Raises StageError (TK930-TK934).
    """
    graph_model = prepared(model)
    chosen, stay = choose_layers(graph_model, ranges, keep or Kept(), layers, for_engine)
    _own_weights(graph_model.graph, set(chosen))
    _refuse_names(graph_model.graph)
    between = _between(graph_model.graph, set(chosen), ranges) if for_engine == "onnxruntime" else []
    made = insert(graph_model, ranges, chosen, between, for_engine, reduce_range=reduce_range)
    return Quantized(made, tuple(chosen), stay)


def prepared(model: onnx.ModelProto) -> onnx.ModelProto:
    """A tidy copy in an opset that Q/DQ can stand in. Raises StageError (TK932)."""
    try:
        return tidy(at_least(model, _OPSET))
    except Exception as error:  # the converter's errors have no common base
        message = f"the graph cannot be raised to opset {_OPSET}, which int8 needs: {error}"
        raise StageError(Finding("TK932", message, "export it in opset 13 or later", "precision")) from error


def choose_layers(
    model: onnx.ModelProto, ranges: RangesLike, keep: Keep, layers: Collection[str] | None, for_engine: Engine
) -> tuple[list[str], dict[str, str]]:
    """Of a prepared graph: layers to quantise in the graph's order, and those that stay, with why.

    Raises StageError: a name that is no layer (TK930), a weight of NaN or infinity (TK931), nothing left (TK933),
    `layers` asks for one that lacks a range (TK934).
    """
    possible = [layer.name for layer in layers_of(model)]
    if unknown := sorted(set(layers or ()) - set(possible)):
        message = f"{len(unknown)} names are no layers that can be quantised: {', '.join(f'`{n}`' for n in unknown)}"
        raise StageError(Finding("TK930", message, "`quantizable` lists them", "precision"))
    kept = kept_nodes(model, keep)
    nodes = {node.name: node for node in model.graph.node}
    stay = {n.name: why for n in model.graph.node if n.op_type in WEIGHTED and (why := _no_weight(n, possible))}
    without_range = []
    for name in possible:
        node = nodes[name]
        # ONNX Runtime's convolutions give 8 bits too.
        outputs = [node.output[0]] if for_engine == "onnxruntime" and node.op_type.startswith("Conv") else []
        lost = [tensor for tensor in (node.input[0], *outputs) if tensor not in ranges]
        if name in kept:
            stay[name] = kept[name]
        elif layers is not None and name not in layers:
            stay[name] = "it is not among the layers to quantise"
        elif lost:
            stay[name] = f"`{lost[0]}` has no range: it was NaN or infinite, or was not calibrated"
            without_range.append(name)
    if layers is not None and without_range:
        raise StageError(
            [Finding("TK934", f"layer `{n}`: {stay[n]}", about="build.calibration") for n in without_range]
        )
    chosen = [name for name in possible if name not in stay]
    if not chosen and layers is None:
        reasons = "; ".join(f"`{name}`: {why}" for name, why in list(stay.items())[:5])
        message = f"no layer is left to quantise ({reasons or 'the graph has none with constant weights'})"
        raise StageError(Finding("TK933", message, "choose fp16, or keep fewer layers", "precision"))
    _refuse_weights(model, [nodes[name] for name in chosen])
    order = {node.name: index for index, node in enumerate(model.graph.node)}
    return chosen, dict(sorted(stay.items(), key=lambda item: order[item[0]]))


def _no_weight(node: onnx.NodeProto, possible: list[str]) -> str:
    if node.name in possible:
        return ""
    return "it has no constant FP32 weight as its second operand (of two axes, for a matrix product)"


def _refuse_weights(model: onnx.ModelProto, nodes: list[onnx.NodeProto]) -> None:
    import numpy as np
    from onnx import numpy_helper

    weights = {weight.name: weight for weight in model.graph.initializer}
    wrong = [n for n in nodes if not np.isfinite(numpy_helper.to_array(weights[n.input[1]])).all()]
    if wrong:
        raise StageError(
            Finding(
                "TK931", f"the weight `{n.input[1]}` of layer `{n.name}` holds NaN or infinity", "export it again"
            )
            for n in wrong
        )


def _refuse_names(graph: onnx.GraphProto) -> None:
    """Raises StageError (TK932) when Q/DQ would be called as tensors that are there."""
    names = tensor_names(graph)
    taken = sorted(
        name for name in names if any(name.removesuffix(end) in names for end in _ENDS if name.endswith(end))
    )
    if taken:
        message = f"the graph has tensors that are called as those of Q/DQ are: `{taken[0]}`, {len(taken)} in all"
        raise StageError(Finding("TK932", message, "quantise the graph that has no Q/DQ yet", "precision"))


def _own_weights(graph: onnx.GraphProto, chosen: set[str]) -> None:
    """Weights and biases that other nodes read too are copied, so that those keep theirs as it is."""
    import onnx

    weights = {weight.name: weight for weight in graph.initializer}
    elsewhere = {name for node in graph.node if node.name not in chosen for name in node.input}
    elsewhere |= {value.name for value in graph.output}
    taken = tensor_names(graph)
    copies: dict[tuple[str, str], str] = {}
    users: dict[str, str] = {}
    for node in graph.node:
        if node.name not in chosen:
            continue
        for i in range(1, len(node.input)):
            name = node.input[i]
            # A weight has scales along the layer's channels, a bias the scale of its layer.
            role = f"axis {channel_axis(node)}" if i == 1 else node.name
            if name not in weights or (name not in elsewhere and users.setdefault(name, role) == role):
                continue
            if (name, role) not in copies:
                copies[name, role] = fresh(f"{name}_int8", taken)
                own = onnx.TensorProto()
                own.CopyFrom(weights[name])
                own.name = copies[name, role]
                graph.initializer.append(own)
            node.input[i] = copies[name, role]


# How onnxruntime.quantization calls what it adds to a tensor.
_ENDS = (
    "_QuantizeLinear_Input", "_QuantizeLinear_Output", "_DequantizeLinear_Output", "_quantized", "_quantized_scale",
    "_quantized_zero_point", "_scale", "_zero_point",
)  # fmt: skip
# What ONNX Runtime computes on 8 bits between layers, so that numbers need not become floats and back.
_BETWEEN = frozenset({
    "Add", "AveragePool", "Clip", "Concat", "Flatten", "GlobalAveragePool", "MaxPool", "Relu", "Reshape", "Transpose",
})  # fmt: skip


def _between(graph: onnx.GraphProto, chosen: set[str], ranges: RangesLike) -> list[str]:
    """Nodes whose data comes from quantised convolutions alone."""
    from onnx import TensorProto

    eight = {n.output[0] for n in graph.node if n.name in chosen and n.op_type in ("Conv", "ConvTranspose")}
    eight = {name for name in eight if name in ranges}
    ints = {weight.name for weight in graph.initializer if weight.data_type != TensorProto.FLOAT}
    found = []
    for node in graph.node:
        data = [name for name in node.input if name and name not in ints]
        if node.op_type in ("Clip", "Reshape"):
            data = data[:1]  # what else they read are bounds and shapes
        if node.op_type in _BETWEEN and data and all(n in eight for n in data) and node.output[0] in ranges:
            eight.add(node.output[0])
            found.append(node.name)
    return found
