"""A fault in the engine is found by the check that is there for it."""

from __future__ import annotations

import json

import numpy as np
import onnx
from planted import (
    GATE,
    PROFILE,
    failed,
    less_the_mean_of_the_batch,
    top1_of,
    verdict_on,
    with_weights,
    wrong_from_batch_8,
)

from generator.engine.compile.base import ShapeRange
from generator.engine.runner import OnnxRunner, Samples
from generator.engine.validate.advice import advise
from generator.engine.validate.blame import blame
from generator.engine.validate.compare import compare
from generator.engine.validate.judge import Gate, judge
from generator.engine.validate.neighbours import check_neighbours
from generator.engine.validate.shapes import check_shapes

CONV_2, DENSE_1, DENSE_2 = 2, 6, 8


def test_the_model_itself_passes(graph: bytes, samples: Samples, labels: np.ndarray) -> None:
    verdict = verdict_on(graph, graph, samples, labels)
    assert verdict.passed
    assert verdict.findings() == ()
    assert verdict.facts["metric"]["fp32"] == verdict.facts["metric"]["value"] > 0.98
    low, high = verdict.facts["metric"]["interval"]
    assert 0.97 < low < verdict.facts["metric"]["value"] < high < 1
    assert json.loads(json.dumps(verdict.to_json(), allow_nan=False))["passed"] is True
    assert all(len(row) == 5 and row[-1] == "ok" for row in verdict.rows())


def test_scaled_weights_of_a_layer(graph: bytes, samples: Samples, labels: np.ndarray) -> None:
    bad = with_weights(graph, CONV_2, lambda w: w * np.where(np.arange(len(w)) % 2, 4, 1)[:, None, None, None])
    verdict = verdict_on(graph, bad, samples, labels)
    assert "TK976" in failed(verdict)
    [first, second, *_] = blame(graph, bad, samples)
    assert first.operator == "Conv"
    assert first.tensor == onnx.load_from_string(graph).graph.node[CONV_2].output[0]
    assert first.added > 0.5
    assert first.before_db == 200
    assert first.added > 3 * second.added
    [advice] = [text for text in map(str, advise("int8", blame(graph, bad, samples))) if "most of the error" in text]
    assert "keep: {" in advice


def test_nan_in_a_weight(graph: bytes, samples: Samples, labels: np.ndarray) -> None:
    def spoil(weights: np.ndarray) -> np.ndarray:
        weights.flat[0] = np.nan
        return weights

    bad = with_weights(graph, DENSE_1, spoil)
    verdict = verdict_on(graph, bad, samples, labels)
    assert {"TK972", "TK975", "TK976"} <= failed(verdict)
    [text] = [check.text for check in verdict.checks if check.code == "TK975"]
    assert "`logits` holds 3600 values that are NaN or Inf, in 360 of 360 items; FP32's has none" in text
    ranking = blame(graph, bad, samples)
    assert ranking[0].tensor == onnx.load_from_string(graph).graph.node[DENSE_1].output[0]
    assert ranking[0].not_finite > 0
    assert all(harm.not_finite == 0 for harm in ranking[1:])
    assert "the first NaN or Inf comes out of" in str(advise("fp16", ranking)[0])
    assert json.dumps(verdict.to_json(), allow_nan=False)


def test_two_outputs_swapped(graph: bytes, samples: Samples, labels: np.ndarray) -> None:
    def swap(weights: np.ndarray) -> np.ndarray:
        axis = list(weights.shape).index(10)
        return np.take(weights, [0, 1, 2, 8, 4, 5, 6, 7, 3, 9], axis=axis)

    verdict = verdict_on(graph, with_weights(graph, DENSE_2, swap), samples, labels)
    assert {"TK972", "TK973"} <= failed(verdict)
    assert [note.split()[:2] for note in verdict.notes if note.startswith("class")] == [
        ["class", "3"],
        ["class", "8"],
    ]
    assert set(labels[list(verdict.changed.lost)]) == {3, 8}
    [finding, *_] = verdict.findings(["try something else"])
    assert (finding.hint, finding.about) == ("try something else", "accuracy")


def test_a_fault_in_one_class_that_the_mean_hides(graph: bytes, samples: Samples, labels: np.ndarray) -> None:
    few = np.flatnonzero(labels == 5)[:6]
    runner = OnnxRunner(graph, threads=1)
    good = top1_of(runner, samples, labels)
    wrong = labels.copy()
    wrong[few] = 4
    worse = top1_of(runner, samples, wrong)
    spoilt = {**worse.by_class, "5": (good.by_class["5"][0] - 6, good.by_class["5"][1])}
    bad = type(worse)("top1", worse.value, worse.interval, worse.right, worse.labels, spoilt)
    answers = [runner.run(batch) for batch in samples.batches]
    verdict = judge("int8", Gate("top1", 0.97, 0.02), compare(answers, answers), reference=good, candidate=bad)
    assert verdict.passed
    assert [note for note in verdict.notes if note.startswith("class 5 fell from")]


def test_an_answer_that_depends_on_the_batch(graph: bytes, samples: Samples, labels: np.ndarray) -> None:
    bad = less_the_mean_of_the_batch(graph)
    assert "TK977" in failed(verdict_on(graph, bad, samples, labels))
    found = check_neighbours(OnnxRunner(bad, threads=1), samples, [2], 3e-2)
    assert found.worst > 0.1
    [advice, *_] = advise("int8", [], failed=["TK977"])
    assert "batch axis" in str(advice)


def test_a_scale_that_is_taken_from_the_whole_batch(graph: bytes, samples: Samples) -> None:
    """onnxruntime's dynamic quantisation: one neighbour with large values, and everybody's answer is coarser."""
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization.onnx_quantizer import ONNXQuantizer
    from onnxruntime.quantization.quant_utils import QuantizationMode

    quantizer = ONNXQuantizer(
        onnx.load_from_string(graph), False, False, QuantizationMode.IntegerOps, False, QuantType.QInt8,
        QuantType.QUInt8, None, [], [], ["Gemm", "MatMul", "Conv"], {},
    )  # fmt: skip
    quantizer.quantize_model()
    runner = OnnxRunner(quantizer.model.model.SerializeToString(), threads=1)
    pixels = samples.batches[0]["pixels"][:8]
    loud = pixels.copy()
    loud[-1] *= 50
    assert check_neighbours(runner, Samples(({"pixels": pixels},), "quiet"), [8], 1e-4).worst > 1e-4
    found = check_neighbours(runner, Samples(({"pixels": loud},), "loud"), [8], 3e-2)
    assert found.worst > 1e-2


def test_right_alone_and_wrong_at_batch_8(
    graph: bytes, samples: Samples, labels: np.ndarray, fp32: OnnxRunner
) -> None:
    bad = wrong_from_batch_8(graph)
    assert {"TK976", "TK977"} <= failed(verdict_on(graph, bad, samples, labels))
    runner = OnnxRunner(bad, threads=1)
    by_where = {result.where: result for result in check_shapes(fp32, runner, [PROFILE], samples)}
    assert by_where["min"].passed
    assert not by_where["opt"].passed
    assert by_where["opt"].cosine < 0
    assert check_neighbours(runner, samples, [2, 4], 1e-4, scores=True).passed
    found = check_neighbours(runner, samples, [8], 1e-4, scores=True)
    assert not found.passed
    assert found.changed


def test_a_shape_that_the_engine_refuses(graph: bytes, samples: Samples, fp32: OnnxRunner) -> None:
    model = onnx.load_from_string(graph)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    fixed = OnnxRunner(model.SerializeToString(), threads=1)
    by_where = {result.where: result for result in check_shapes(fp32, fixed, [PROFILE, PROFILE], samples)}
    assert by_where["min"].passed
    assert "Got: 8 Expected: 1" in by_where["opt"].error
    assert "the engine does not run at profile 0, opt (pixels [8, 1, 8, 8])" in by_where["opt"].check().text
    assert "batch" in check_neighbours(fixed, samples, [1, 4], 1e-4).error
    odd = {"pixels": ShapeRange((1, 1, 8, 8), (2, 1, 9, 8), (2, 1, 9, 8))}
    refused = check_shapes(fp32, fp32, [odd], samples)[1]
    assert refused.random
    assert refused.error.startswith("nor does the FP32 graph")


def test_fp16_passes_and_needs_no_blame(graph: bytes, samples: Samples, labels: np.ndarray) -> None:
    from onnxconverter_common import float16

    half = float16.convert_float_to_float16(onnx.load_from_string(graph), keep_io_types=True).SerializeToString()
    verdict = verdict_on(graph, half, samples, labels, GATE)
    assert failed(verdict) <= {"TK977"}  # of which fp32's tolerance is not meant for 11 bits
    assert verdict.facts["comparison"]["outputs"]["logits"]["snr_db"] > 50
    ranking = blame(graph, half, samples)
    assert {harm.operator for harm in ranking} >= {"Conv", "Gemm"}
    assert ranking[0].snr_db > 40


def test_noise_that_an_activation_cuts_off_is_nobodys_fault(graph: bytes, samples: Samples) -> None:
    """What is negative before a Relu is nothing behind it, however wrong it was."""
    model = onnx.load_from_string(graph)
    [conv, relu] = model.graph.node[:2]
    assert (conv.op_type, relu.op_type) == ("Conv", "Relu")
    ranking = {harm.tensor: harm for harm in blame(graph, _with_clip_in_front(graph, conv.output[0]), samples)}
    assert ranking[conv.output[0]].snr_db == 200
    assert ranking[relu.output[0]].added == 0


def _with_clip_in_front(graph: bytes, tensor: str) -> bytes:
    """`tensor` without its negative values, which the Relu behind it takes away in any case."""
    model = onnx.load_from_string(graph)
    node = next(n for n in model.graph.node if tensor in n.output)
    node.output[0] = "uncut"
    at = list(model.graph.node).index(node) + 1
    model.graph.node.insert(at, onnx.helper.make_node("Relu", ["uncut"], [tensor]))
    data: bytes = model.SerializeToString()
    return data
