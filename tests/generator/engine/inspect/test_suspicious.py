"""What an engine or a precision would trip over."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from generator.engine.errors import StageError
from generator.engine.inspect import Suspicion, read_graph, require, suspicious
from generator.extras import remedy
from generator.problems import Severity
from written_graphs import written

MODELS = Path(__file__).parents[4] / "models"
ERROR, WARNING = Severity.ERROR, Severity.WARNING


def codes(found: list[Suspicion]) -> list[tuple[str, Severity]]:
    return [(one.code, one.severity) for one in found]


RELU = "g (float[N] x) => (float[N] y) { y = Relu(x) }"


@pytest.mark.parametrize(
    ("graph", "found"),
    [
        (RELU, []),
        ("g (double[N] x) => (double[N] y) { y = Relu(x) }", [("TK912", ERROR)]),
        ("g (float[N] x) => (float[N] z) <double[1] w = {1}> { a = Cast<to=1>(w)\n z = Mul(x, a) }",
         [("TK912", WARNING)]),
        ("g (string[N] x) => (string[N] y) { y = Identity(x) }", [("TK912", ERROR)]),
        ("g (uint8[N,4] x) => (float[4,N] y) { a = Transpose(x)\n y = Cast<to=1>(a) }", [("TK916", ERROR)]),
        ("g (uint8[N,4] x) => (float[4,N] y) { a = Cast<to=1>(x)\n y = Transpose(a) }", []),
        ("g (float[N,4] x) => (int64[N,1] y) { y = ArgMax<axis=1>(x) }", [("TK914", WARNING)]),
        ("g (float[N,4] x) => (int64[2,M] y) { y = NonZero(x) }", [("TK913", WARNING), ("TK914", WARNING)]),
        ("g (float[N,4,4] x) => (float[N] y) { y = Det(x) }", [("TK911", ERROR)]),
        ("g (int8[N,4] a, int8[4,2] b) => (int32[N,2] y) { y = MatMulInteger(a, b) }", [("TK911", ERROR)]),
    ],
)  # fmt: skip
def test_tensorrt(graph: str, found: list[tuple[str, Severity]]) -> None:
    assert codes(suspicious(written(graph), "tensorrt", "fp32")) == found


def test_int64_outputs_stay_with_tensorrt_10() -> None:
    model = written("g (float[N,4] x) => (int64[N,1] y) { y = ArgMax<axis=1>(x) }")
    assert suspicious(model, "tensorrt", "fp32", tensorrt=10) == []


@pytest.mark.parametrize(("opset", "found"), [(12, ["TK906"]), (13, []), (17, []), (18, ["TK906"])])
def test_opsets_of_tensorrt(opset: int, found: list[str]) -> None:
    assert [one.code for one in suspicious(written(RELU, opset), "tensorrt", "fp32")] == found


def test_control_flow_is_told_with_its_node() -> None:
    body = "(float[N] y) { y = If(c) <then_branch = t () => (float[N] p) { p = Relu(x) }, "
    model = written(f"g (bool c, float[N] x) => {body} else_branch = e () => (float[N] q) {{ q = Neg(x) }}> }}")
    [found] = suspicious(model, "onnxruntime", "fp32")
    assert (found.code, found.severity, found.nodes) == ("TK909", WARNING, ("If_0",))


def test_a_plugin_is_for_tensorrt_alone() -> None:
    model = written("g (float[N] x) => (float[N] y) { y = TRT.EfficientNMS_TRT(x) }")
    assert codes(suspicious(model, "onnxruntime", "fp32")) == [("TK905", ERROR)]
    assert codes(suspicious(model, "tensorrt", "fp32")) == []
    [found] = suspicious(model, "inductor", "fp32")
    assert (found.code, found.severity) == ("TK905", ERROR)
    assert "which Inductor lacks" in found.message


def test_a_model_that_is_newer_than_the_installed_onnx_runtime() -> None:
    """What that takes is tried, not looked up: the newest opset of onnx is refused by one that is older."""
    newest = onnx.defs.onnx_opset_version()
    found = suspicious(written(RELU, newest + 50), "onnxruntime", "fp32")
    assert codes(found) == [("TK906", ERROR)]
    assert f"opset {newest + 50}" in found[0].message
    assert suspicious(written(RELU, 17), "onnxruntime", "fp32") == []


def test_where_onnx_runtime_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then nothing is known of what it takes: no older opset would help."""
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    [found] = suspicious(written(RELU), "onnxruntime", "fp32")
    assert (found.code, found.severity, found.about) == ("TK961", ERROR, "engine")
    assert found.message == f"the package `onnxruntime` is not installed; {remedy('build')}"
    assert suspicious(written(RELU), "tensorrt", "fp32") == []


@pytest.mark.parametrize(
    ("precision", "found"),
    [("fp32", []), ("fp16", ["Exp", "Softmax"]), ("bf16", ["Softmax"]), ("int8", ["Exp", "Softmax"])],
)
def test_delicate_operators(precision: str, found: list[str]) -> None:
    model = written("g (float[N,4] x) => (float[N,4] y) { a = Exp(x)\n y = Softmax(a) }")
    told = suspicious(model, "onnxruntime", precision)
    assert [(one.code, one.message.split()[0], one.about) for one in told] == [
        ("TK915", op_type, "precision") for op_type in found
    ]


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ([1.0, -2.0, 0.0, 65504.0], None),
        ([1.0, 70000.0, 0.0, 0.0], "above 65504"),
        ([1.0, float("nan"), 0.0, 0.0], "not finite"),
        ([1.0, 1e-9, 1.0, 1.0], "become 0"),
        ([1.0, 1e-5, 1.0, 1.0], "subnormal"),
    ],
)
def test_weights_that_fp16_cannot_hold(values: list[float], says: str | None) -> None:
    model = written("g (float[N,4] x) => (float[N,4] y) <float[4] w> { y = Mul(x, w) }")
    del model.graph.initializer[:]
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(values, np.float32), "w"))
    told = suspicious(model, "onnxruntime", "fp16")
    assert [one.code for one in told] == (["TK917"] if says else [])
    assert all(says is not None and says in one.message for one in told)
    assert suspicious(model, "onnxruntime", "bf16") == []


def test_what_an_engine_refuses_is_raised_all_at_once() -> None:
    model = written("g (uint8[4,4] x) => (double[4,4] y) { a = Transpose(x)\n y = Cast<to=11>(a) }")
    with pytest.raises(StageError) as caught:
        require(model, "tensorrt", "fp32", batched=True)
    assert [finding.code for finding in caught.value.findings] == ["TK912", "TK916", "TK908", "TK908"]
    require(model, "onnxruntime", "fp32", batched=False)


@pytest.mark.parametrize("name", ["digits", "digits_crops", "canvas_detector", "photos"])
def test_the_models_here_run_in_onnx_runtime(name: str) -> None:
    model = read_graph(MODELS / f"{name}.onnx")
    require(model, "onnxruntime", "fp32", batched=True)
