"""The digits model with a fault in it, and what a build does with an engine."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from generator.engine.compile.base import ShapeRange
from generator.engine.runner import OnnxRunner, Runner, Samples
from generator.engine.validate.compare import compare
from generator.engine.validate.judge import Gate, judge
from generator.engine.validate.metrics import Score, score_top1
from generator.engine.validate.neighbours import check_neighbours
from generator.engine.validate.shapes import check_shapes
from generator.engine.validate.verdict import Verdict

PROFILE = {"pixels": ShapeRange((1, 1, 8, 8), (8, 1, 8, 8), (16, 1, 8, 8))}
GATE = Gate("top1", floor=0.98, max_drop=0.005)


def with_weights(graph: bytes, node: int, change: Callable[[np.ndarray], np.ndarray]) -> bytes:
    """The weights (and not the bias) of the graph's node number `node` changed."""
    model = onnx.load_from_string(graph)
    name = model.graph.node[node].input[1]
    [tensor] = [t for t in model.graph.initializer if t.name == name]
    weights = numpy_helper.to_array(tensor).copy()
    tensor.CopyFrom(numpy_helper.from_array(change(weights).astype(weights.dtype), name))
    return model.SerializeToString()


def with_tail(graph: bytes, make: Callable[[str, str], list[onnx.NodeProto]], *constants: onnx.TensorProto) -> bytes:
    """More nodes behind the logits: `make(logits, output)` gives those that turn the one into the other."""
    model = onnx.load_from_string(graph)
    last = model.graph.node[-1]
    output = last.output[0]
    last.output[0] = "before"
    model.graph.node.extend(make("before", output))
    model.graph.initializer.extend(constants)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def less_the_mean_of_the_batch(graph: bytes) -> bytes:
    def tail(logits: str, output: str) -> list[onnx.NodeProto]:
        return [
            helper.make_node("ReduceMean", [logits], ["mean"], axes=[0], keepdims=1),
            helper.make_node("Sub", [logits, "mean"], [output]),
        ]

    return with_tail(graph, tail)


def wrong_from_batch_8(graph: bytes) -> bytes:
    """Right for smaller batches; from 8 on the logits have the other sign."""

    def tail(logits: str, output: str) -> list[onnx.NodeProto]:
        return [
            helper.make_node("Shape", [logits], ["shape"], start=0, end=1),
            helper.make_node("Less", ["shape", "eight"], ["small"]),
            helper.make_node("Where", ["small", "one", "minus_one"], ["sign"]),
            helper.make_node("Mul", [logits, "sign"], [output]),
        ]

    return with_tail(
        graph,
        tail,
        helper.make_tensor("eight", TensorProto.INT64, [1], [8]),
        helper.make_tensor("one", TensorProto.FLOAT, [1], [1.0]),
        helper.make_tensor("minus_one", TensorProto.FLOAT, [1], [-1.0]),
    )


def top1_of(runner: Runner, samples: Samples, labels: np.ndarray) -> Score:
    answers = [row for batch in samples.batches for row in runner.run(batch)["logits"]]
    return score_top1([np.argsort(-row, kind="stable") for row in answers], labels)


def verdict_on(graph: bytes, candidate: bytes, samples: Samples, labels: np.ndarray, gate: Gate = GATE) -> Verdict:
    """Everything that a build checks, with a tolerance of FP32."""
    first, second = OnnxRunner(graph, optimise=False, threads=1), OnnxRunner(candidate, threads=1)
    answers = [[runner.run(batch) for batch in samples.batches] for runner in (first, second)]
    return judge(
        "fp32", gate, compare(*answers),
        reference=top1_of(first, samples, labels), candidate=top1_of(second, samples, labels),
        shapes=check_shapes(first, second, [PROFILE], samples),
        neighbours=check_neighbours(second, samples, [4, 16], 1e-4, scores=True),
    )  # fmt: skip


def failed(verdict: Verdict) -> set[str]:
    return {check.code for check in verdict.checks if not check.passed}
