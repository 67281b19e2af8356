"""In which precision a graph computes that somebody else has made: what is told of an engine has to be true."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from generator.engine.build.lower.lowered import QUANTISED
from generator.engine.inspect.walk import constants_of

if TYPE_CHECKING:
    import onnx

_WEIGHTED = frozenset({
    "Attention", "Conv", "ConvTranspose", "FusedConv", "FusedGemm", "FusedMatMul", "GRU", "Gemm", "LSTM", "MatMul",
    "RNN",
})  # fmt: skip
# ONNX's operators that compute in 8 bits or round to them, and com.microsoft's, which ONNX Runtime fuses them into.
# Some more begin with QLinear or QOrdered.
_QUANTISING = frozenset({
    "ConvInteger", "DynamicQuantizeLSTM", "DynamicQuantizeLinear", "DynamicQuantizeMatMul", "MatMulInteger",
    "MatMulInteger16", "MatMulIntegerToFloat", "QAttention", "QEmbedLayerNormalization", "QGemm", "QuantizeLinear",
    "QuantizeWithOrder",
})  # fmt: skip
_INTO = {"FLOAT8": "fp8", "INT8": "int8", "UINT8": "int8", "INT16": "int16", "UINT16": "int16", "INT4": "int4",
         "UINT4": "int4", "FLOAT4": "fp4", "INT2": "int2", "UINT2": "int2"}  # fmt: skip


def other_precision(model: onnx.ModelProto, precision: str) -> list[str]:
    """That the graph is in another precision than the spec names, in a sentence without a subject; else nothing.

    Only what an output depends on counts.
    """
    import onnx

    nodes = list(_used(model.graph))
    constants = {tensor.name: int(tensor.data_type) for tensor in constants_of(model)}
    constants |= {
        node.output[0]: int(attribute.t.data_type)
        for node in nodes if node.op_type == "Constant"
        for attribute in node.attribute if attribute.HasField("t")
    }  # fmt: skip
    found = {word for node in nodes if _is_quantising(node) for word in _words(node, constants)}
    if not found and precision in QUANTISED:
        return [f"has no operator that quantises, and the spec asks for {precision}"]
    if found and precision not in QUANTISED:
        return [f"is quantised, and the spec asks for {precision}"]
    if found and (precision not in found or found >= QUANTISED):
        return [f"is quantised to {' and '.join(sorted(found))}, and the spec asks for {precision}"]
    half = {"fp16": onnx.TensorProto.FLOAT16, "bf16": onnx.TensorProto.BFLOAT16}.get(precision)
    if half is not None and not any(names.intersection(node.input) for node, names in _readers(model, nodes, half)):
        return [f"has no layer in {precision}, which the spec asks for"]
    return []


def has_7_bits(model: onnx.ModelProto) -> bool:
    """Whether all weights of 8 bits use 7 of them: then no sum overflows on a processor without VNNI."""
    import onnx
    from onnx import numpy_helper

    most = {int(onnx.TensorProto.INT8): 64, int(onnx.TensorProto.UINT8): 127}
    weights = [tensor for tensor in constants_of(model) if len(tensor.dims) > 1 and tensor.data_type in most]
    return bool(weights) and all(
        abs(numpy_helper.to_array(tensor).astype("int16")).max(initial=0) <= most[tensor.data_type]
        for tensor in weights
    )


def _used(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """The nodes that an output depends on, and those inside of them."""
    wanted = {value.name for value in graph.output}
    for node in reversed(graph.node):
        if wanted.isdisjoint(node.output):
            continue
        for one in (node, *_inside(node)):
            wanted.update(one.input)
            wanted.update(value.name for inner in _graphs(one) for value in inner.output)
            yield one


def _inside(node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
    for graph in _graphs(node):
        for inner in graph.node:
            yield inner
            yield from _inside(inner)


def _graphs(node: onnx.NodeProto) -> list[Any]:
    """The graphs inside of a node: of If, Loop, Scan."""
    return [
        graph
        for attribute in node.attribute
        for graph in ([attribute.g] if attribute.HasField("g") else attribute.graphs)
    ]


def _is_quantising(node: onnx.NodeProto) -> bool:
    return node.op_type in _QUANTISING or node.op_type.startswith(("QLinear", "QOrdered"))


def _words(node: onnx.NodeProto, constants: dict[str, int]) -> set[str]:
    """What it rounds to: by the types of its zero points and weights, or by its attribute; else it is 8 bits."""
    import onnx

    kinds = [constants[name] for name in node.input if name in constants]
    kinds += [attribute.i for attribute in node.attribute if attribute.name == "output_dtype" and attribute.i]
    names = (onnx.TensorProto.DataType.Name(kind) for kind in kinds)
    return {_INTO[word] for name in names if (word := name.partition("E")[0]) in _INTO} or {"int8"}


def _readers(
    model: onnx.ModelProto, nodes: list[onnx.NodeProto], half: int
) -> Iterator[tuple[onnx.NodeProto, set[str]]]:
    """The layers with weights, or where there are none all but casts; each with the tensors of half precision."""
    import onnx

    try:
        known = onnx.shape_inference.infer_shapes(model).graph
    except (onnx.shape_inference.InferenceError, ValueError):
        known = model.graph
    values = [*known.input, *known.value_info]
    names = {value.name for value in values if value.type.tensor_type.elem_type == half}
    names |= {tensor.name for tensor in constants_of(model) if tensor.data_type == half}
    names |= {
        node.output[0]
        for node in nodes if node.op_type == "Cast"
        for attribute in node.attribute if attribute.name == "to" and attribute.i == half
    }  # fmt: skip
    fixed = {tensor.name for tensor in model.graph.initializer}
    for node in model.graph.node:  # what is made of weights alone: casts of them, say
        if fixed.issuperset(name for name in node.input if name):
            fixed.update(node.output)
    layers = [node for node in nodes if node.op_type in _WEIGHTED and fixed.intersection(node.input)]
    for node in layers or nodes:
        if node.op_type != "Cast":
            yield node, names
