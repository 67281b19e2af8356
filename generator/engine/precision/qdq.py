"""Q/DQ nodes by onnxruntime.quantization, with the settings that each engine needs."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import onnx

# What the library is told beside the types, for TensorRT: symmetric, Q/DQ pairs also on the weights (it folds them
# itself), FP32 biases, one Q/DQ a tensor. Each operator of the graph is added to those without Q/DQ behind them.
_TENSORRT = {
    "ActivationSymmetric": True,
    "AddQDQPairToWeight": True,
    "DedicatedQDQPair": False,
    "ForceQuantizeNoInputCheck": True,
    "QDQDisableWeightAdjustForInt32Bias": True,
    "QDQOpTypePerChannelSupportToAxis": {"Conv": 0, "ConvTranspose": 1},
    "QuantizeBias": False,
}
# For ONNX Runtime: convolutions need Q behind them to be fused, matrix products are fused without.
_ONNXRUNTIME = {"OpTypesToExcludeOutputQuantization": ["Gemm", "MatMul"]}


def insert(
    model: onnx.ModelProto, ranges: Mapping[str, tuple[float, float]], layers: list[str], between: list[str],
    engine: str, *, reduce_range: bool,
) -> onnx.ModelProto:  # fmt: skip
    """A tidy graph with Q/DQ around the nodes `layers` and `between`. `model` is used up."""
    import numpy as np
    from onnx import shape_inference
    from onnxruntime.quantization import CalibrationMethod, QuantType
    from onnxruntime.quantization.calibrate import TensorsData
    from onnxruntime.quantization.quant_utils import add_infer_metadata

    from generator.engine.precision.indexed_model import IndexedQuantizer

    if not layers:
        return model
    operators = sorted({node.op_type for node in model.graph.node})
    options: dict[str, Any] = dict(_ONNXRUNTIME)
    if engine == "tensorrt":
        options = {**_TENSORRT, "OpTypesToExcludeOutputQuantization": operators}
    known = shape_inference.infer_shapes(model)
    told = list(known.metadata_props)
    add_infer_metadata(known)  # without it the library writes the graph to a file to infer its shapes
    ends = {n: (np.array(low, np.float32), np.array(high, np.float32)) for n, (low, high) in ranges.items()}
    with _quiet():
        quantizer = IndexedQuantizer(
            known, True, reduce_range, QuantType.QInt8,
            QuantType.QInt8 if engine == "tensorrt" else QuantType.QUInt8,
            TensorsData(CalibrationMethod.MinMax, ends), [*layers, *between], [], operators, options,
        )  # fmt: skip
        made: onnx.ModelProto = quantizer.quantize_model()
    del made.metadata_props[:]
    made.metadata_props.extend(told)
    made.producer_name, made.producer_version = model.producer_name, model.producer_version
    _release_others(made.graph, {*layers, *between})
    _sort(made.graph)
    return made


@contextmanager
def _quiet() -> Iterator[None]:
    """The library warns on the root logger of what is meant so."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def _release_others(graph: onnx.GraphProto, quantised: Collection[str]) -> None:
    """Nodes that are not quantised read a tensor itself, where the library gave all its readers the rounded one.

    Not behind a quantised node: there the rounded tensor is the only one, so that the node can be fused.
    """
    made_by = {name: node for node in graph.node for name in node.output}
    for node in graph.node:
        if node.name in quantised or node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            continue
        for i, name in enumerate(node.input):
            back = made_by.get(name)
            to = made_by.get(back.input[0]) if back is not None and back.op_type == "DequantizeLinear" else None
            if to is None or to.op_type != "QuantizeLinear":
                continue
            source = made_by.get(to.input[0])
            if source is None or source.name not in quantised:
                node.input[i] = to.input[0]


def _sort(graph: onnx.GraphProto) -> None:
    """Every node behind those that it reads; otherwise the order stays."""
    made_by = {name: i for i, node in enumerate(graph.node) for name in node.output if name}
    nodes = list(graph.node)
    placed: dict[int, None] = {}
    for start in range(len(nodes)):
        stack = [start]
        while stack:
            missing = [made_by[n] for n in nodes[stack[-1]].input if n in made_by and made_by[n] not in placed]
            if missing:
                stack.extend(reversed(missing))
            else:
                placed[stack.pop()] = None
    del graph.node[:]
    graph.node.extend(nodes[i] for i in placed)
