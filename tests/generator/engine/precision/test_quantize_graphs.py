"""Which Q/DQ stand where: each setting that TensorRT needs is looked up in the graph that was made."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lowering_graphs import (
    Array,
    attention,
    by_name,
    digits,
    digits_ranges,
    graph,
    noise,
    normal,
    run,
    samples,
    texts,
)

from generator.engine.calibrate import collect
from generator.engine.errors import Finding, StageError
from generator.engine.precision import Kept, cast, quantizable, quantize, quantized, sensitivity

EVERY = """(float[N, 3, 6, 6] x) => (float[N, 5] y) {
    conv = Conv <pads = [1, 1, 1, 1]> (x, wc, bc)
    relu = Relu(conv)
    up = ConvTranspose <strides = [2, 2]> (relu, wt)
    pooled = GlobalAveragePool(up)
    flat = Flatten(pooled)
    gemm = Gemm <transB = 1> (flat, wg, bg)
    bent = Tanh(gemm)
    plain = Gemm(bent, wp, bp)
    y = MatMul(plain, wm)
}"""
WEIGHTS = {
    "wc": normal(4, 3, 3, 3), "bc": normal(4), "wt": normal(4, 6, 2, 2), "wg": normal(7, 6), "bg": normal(7),
    "wp": normal(7, 8), "bp": normal(8), "wm": normal(8, 5),
}  # fmt: skip
AXES = {"wc": 0, "wt": 1, "wg": 0, "wp": 1, "wm": 1}


def every() -> onnx.ModelProto:
    return graph(EVERY, **WEIGHTS)


def images() -> Array:
    return normal(16, 3, 6, 6, seed=3)


def ranges_of(model: onnx.ModelProto, **inputs: Array) -> Any:
    return collect(model, samples(**inputs), "minmax")


def reading(model: onnx.ModelProto) -> dict[str, str]:
    """Node and position → what it reads: `x` itself, or `Q(x)` when a Q/DQ pair stands between."""
    made = {name: node for node in model.graph.node for name in node.output}
    found = {}
    for node in model.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            continue
        for i, name in enumerate(node.input):
            back = made.get(name)
            if back is not None and back.op_type == "DequantizeLinear":
                to = made.get(back.input[0])
                found[f"{node.name}.{i}"] = f"Q({to.input[0]})" if to is not None else f"stored({back.input[0]})"
            else:
                found[f"{node.name}.{i}"] = name
    return found


# TensorRT -----------------------------------------------------------------------------------------------------------


def test_all_that_tensorrt_needs() -> None:
    made = quantized(every(), ranges_of(every(), x=images()))
    assert made.layers == ("conv", "up", "gemm", "plain", "y")
    graph_ = made.model.graph
    weights = {w.name: onnx.numpy_helper.to_array(w) for w in graph_.initializer}
    pairs = {n.input[0]: n for n in graph_.node if n.op_type == "QuantizeLinear"}
    backs = {n.input[0]: n for n in graph_.node if n.op_type == "DequantizeLinear"}
    assert set(pairs) == {"x", "relu", "flat", "bent", "plain", *AXES}, (
        "inputs of layers and weights, no output, no bias"
    )
    assert len(pairs) == len(backs)
    for name, node in pairs.items():
        back = backs[node.output[0]]
        assert list(node.input[1:]) == list(back.input[1:])
        scale, zero = weights[node.input[1]], weights[node.input[2]]
        assert zero.dtype == np.int8
        assert not zero.any(), "symmetric"
        if name in AXES:
            assert scale.shape == zero.shape == (WEIGHTS[name].shape[AXES[name]],), "one scale a channel"
            assert {a.i for n in (node, back) for a in n.attribute if a.name == "axis"} == {AXES[name]}
            others = tuple(i for i in range(WEIGHTS[name].ndim) if i != AXES[name])
            np.testing.assert_allclose(scale * 127, np.abs(WEIGHTS[name]).max(axis=others), rtol=1e-5)
            np.testing.assert_array_equal(weights[name], WEIGHTS[name], "weights stay FP32 before their Q")
        else:
            assert scale.shape == ()
    assert reading(made.model)["conv.2"] == "bc", "biases are FP32"
    assert reading(made.model)["relu.0"] == "conv", "a layer's output goes on as it is"


def test_activations_are_scaled_by_the_larger_end_of_their_range() -> None:
    ranges = {**ranges_of(every(), x=images()), "x": (-3.0, 2.0), "relu": (0.0, 5.0)}
    made = quantize(every(), ranges)
    weights = {w.name: onnx.numpy_helper.to_array(w) for w in made.graph.initializer}
    scales = {
        n.input[0]: float(weights[n.input[1]])
        for n in made.graph.node
        if n.op_type == "QuantizeLinear" and weights[n.input[1]].ndim == 0
    }
    assert scales["x"] == pytest.approx(3 / 127)
    assert scales["relu"] == pytest.approx(5 / 127)


def test_one_pair_a_tensor_and_only_quantised_layers_read_it() -> None:
    made = quantize(attention(), ranges_of(attention(), **texts(32, 8)), Kept(nodes=["v"]))
    read = reading(made)
    assert read["q.0"] == read["k.0"] == "Q(x)"
    assert [n.input[0] for n in made.graph.node if n.op_type == "QuantizeLinear"].count("x") == 1
    assert read["v.0"] == "x", "what is kept reads FP32"
    assert read["added.0"] == "x", "a residual reads FP32"
    assert read["last.0"] == "normed"
    assert read["v.1"] == "wv"


@pytest.mark.parametrize("engine", ["tensorrt", "onnxruntime"])
def test_a_weight_that_two_share(engine: str) -> None:
    model = graph("(float[N, 4] x) => (float[N, 4] y) { a = MatMul(x, w) b = Relu(a) c = MatMul(b, w) d = Gemm <transB = 1> (c, w) e = Gemm(d, w, g) y = Gemm(e, w, g) }",
                  w=normal(4, 4), g=normal(4))  # fmt: skip
    x = normal(32, 4, seed=2)
    ranges = ranges_of(model, x=x)
    made = quantized(model, ranges, Kept(nodes=["c"]), for_engine=engine)  # type: ignore[arg-type]
    onnx.checker.check_model(made.model, full_check=True)
    read = reading(made.model)
    assert read["c.0"] == "b"
    assert read["c.1"] == "w"
    weights = {w.name: onnx.numpy_helper.to_array(w) for w in made.model.graph.initializer}
    np.testing.assert_array_equal(weights["w"], normal(4, 4))
    assert len({read["a.1"], read["d.1"]}) == 2, "their channels lie along other axes"
    assert noise(run(made.model, x=x)[0], run(model, x=x)[0]) < 0.01


# ONNX Runtime -------------------------------------------------------------------------------------------------------


def test_what_onnxruntime_gets() -> None:
    made = quantize(every(), ranges_of(every(), x=images()), for_engine="onnxruntime")
    weights = {w.name: onnx.numpy_helper.to_array(w) for w in made.graph.initializer}
    for node in made.graph.node:
        if node.op_type == "QuantizeLinear":
            assert weights[node.input[2]].dtype == np.uint8
    for name, axis in AXES.items():
        assert weights[f"{name}_quantized"].dtype == np.int8
        assert weights[f"{name}_scale"].shape == (WEIGHTS[name].shape[axis],)
        assert name not in weights
    assert weights["bc_quantized"].dtype == np.int32


def test_convolutions_are_chained_in_8_bits() -> None:
    model = graph("(float[N, 3, 6, 6] x) => (float[N, 4, 6, 6] y) { a = Conv <pads = [1, 1, 1, 1]> (x, w1) b = Relu(a) c = Conv <pads = [1, 1, 1, 1]> (b, w2) d = Add(b, c) e = Relu(d) y = Conv <pads = [1, 1, 1, 1]> (e, w2) }",
                  w1=normal(4, 3, 3, 3), w2=normal(4, 4, 3, 3))  # fmt: skip
    ranges = ranges_of(model, x=images())
    chained = reading(quantize(model, ranges, for_engine="onnxruntime"))
    assert (chained["d.0"], chained["d.1"]) == ("Q(b)", "Q(c)")
    broken = reading(quantize(model, ranges, Kept(nodes=["c"]), for_engine="onnxruntime"))
    assert (broken["d.0"], broken["d.1"]) == ("Q(b)", "c"), "a sum with one FP32 operand is FP32"
    assert broken["y.0"] == "Q(e)"


# Which layers -------------------------------------------------------------------------------------------------------


def test_the_layers_of_a_graph() -> None:
    assert [(layer.name, layer.op, layer.weight_elements) for layer in quantizable(every())] == [
        ("conv", "Conv", 108), ("up", "ConvTranspose", 96), ("gemm", "Gemm", 42), ("plain", "Gemm", 56), ("y", "MatMul", 40),
    ]  # fmt: skip
    assert [layer.name for layer in quantizable(digits())] == ["conv_0", "conv_2", "gemm_6", "logits"]


@pytest.mark.parametrize(
    ("keep", "layers", "left"),
    [
        (Kept(first=1), None, ("up", "gemm", "plain", "y")), (Kept(last=2), None, ("conv", "up", "gemm")),
        (Kept(operators=["Gemm"]), None, ("conv", "up", "y")), (Kept(nodes=["up"], last=1), None, ("conv", "gemm", "plain")),
        (Kept(), ["y", "conv"], ("conv", "y")), (Kept(first=1), ["conv", "y"], ("y",)), (Kept(), [], ()),
    ],
)  # fmt: skip
def test_a_choice_of_layers(keep: Kept, layers: list[str] | None, left: tuple[str, ...]) -> None:
    for engine in ("tensorrt", "onnxruntime"):
        made = quantized(every(), ranges_of(every(), x=images()), keep, layers, engine)  # type: ignore[arg-type]
        assert made.layers == left
        assert {*made.layers, *made.stay} == {"conv", "up", "gemm", "plain", "y"}
        read = reading(made.model)
        for name in ("conv", "up", "gemm", "plain", "y"):
            assert read[f"{name}.1"].startswith(("Q(", "stored(")) == (name in left)
        onnx.checker.check_model(made.model, full_check=True)
        assert noise(run(made.model, x=images())[0], run(every(), x=images())[0]) < 0.02


def said(*arguments: Any, **named: Any) -> list[Finding]:
    with pytest.raises(StageError) as raised:
        quantize(*arguments, **named)
    return list(raised.value.findings)


def test_layers_that_cannot_be_named() -> None:
    ranges = ranges_of(every(), x=images())
    assert [f.code for f in said(every(), ranges, None, ["conv", "bent", "zebra"])] == ["TK930"]
    assert [f.code for f in said(every(), ranges, Kept(nodes=["zebra", "bird"]))] == ["TK930", "TK930"]


def test_layers_without_a_range() -> None:
    ranges = {name: ends for name, ends in ranges_of(every(), x=images()).items() if name != "flat"}
    made = quantized(every(), ranges)
    assert "gemm" not in made.layers
    assert "`flat`" in made.stay["gemm"]
    assert [f.code for f in said(every(), ranges, None, ["gemm"])] == ["TK934"]


def test_a_convolution_whose_output_has_no_range() -> None:
    ranges = {name: ends for name, ends in ranges_of(every(), x=images()).items() if name != "conv"}
    assert "conv" in quantized(every(), ranges).layers
    made = quantized(every(), ranges, for_engine="onnxruntime")
    assert "conv" not in made.layers
    assert "`conv`" in made.stay["conv"]
    assert noise(run(made.model, x=images())[0], run(every(), x=images())[0]) < 0.02


@pytest.mark.parametrize("engine", ["tensorrt", "onnxruntime"])
def test_a_bias_that_is_computed(engine: Any) -> None:
    model = graph("(float[N, 3, 6, 6] x, float[4] b) => (float[N, 5] y) { bc = Relu(b) conv = Conv (x, wc, bc) p = GlobalAveragePool(conv) f = Flatten(p) g = Tanh(d) y = Gemm(f, w, g) }",
                  wc=normal(4, 3, 3, 3), w=normal(4, 5), d=normal(5))  # fmt: skip
    given = {"x": images(), "b": normal(4, seed=2)}
    made = quantize(model, ranges_of(model, **given), for_engine=engine)
    assert noise(run(made, **given)[0], run(model, **given)[0]) < 0.02


@pytest.mark.parametrize("engine", ["tensorrt", "onnxruntime"])
def test_an_old_file_whose_weights_are_inputs_too(engine: Any) -> None:
    model = graph(
        "(float[N, 4] x, float[4, 4] w, float[4] b) => (float[N, 4] y) { a = Gemm(x, w, b) c = Relu(a) y = Gemm(c, w, b) }",
        w=normal(4, 4),
        b=normal(4),
    )
    model.ir_version = 3
    x = normal(16, 4, seed=1)
    for made in (
        quantize(model, ranges_of(model, x=x), for_engine=engine),
        cast(model, "fp16"),
        cast(model, "fp16", Kept(last=1)),
    ):
        onnx.checker.check_model(made, full_check=True)
        assert noise(run(made, x=x)[0], run(model, x=x)[0]) < 0.01
    assert len(sensitivity(model, ranges_of(model, x=x), samples(x=x))) == 2


def test_nothing_left() -> None:
    ranges = ranges_of(every(), x=images())
    assert [f.code for f in said(every(), ranges, Kept(first=5))] == ["TK933"]
    model = graph("(float[N, 4] x) => (float[N, 4] y) { y = Relu(x) }")
    assert [f.code for f in said(model, {"x": (0.0, 1.0)})] == ["TK933"]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_weight_that_is_not_finite(bad: float) -> None:
    weights = {**WEIGHTS, "wp": np.full_like(WEIGHTS["wp"], bad)}
    findings = said(graph(EVERY, **weights), ranges_of(every(), x=images()))
    assert [(f.code, "`plain`" in f.message) for f in findings] == [("TK931", True)]
    assert quantized(graph(EVERY, **weights), ranges_of(every(), x=images()), Kept(nodes=["plain"])).layers


def test_channels_and_tensors_of_zeros() -> None:
    weight = normal(4, 4)
    weight[:, 1] = 0
    model = graph("(float[N, 4] x) => (float[N, 4] y) { a = Relu(x) y = MatMul(a, w) }", w=weight)
    made = quantize(model, {"x": (-1.0, 0.0), "a": (0.0, 0.0), "y": (0.0, 0.0)})
    np.testing.assert_array_equal(run(made, x=-np.ones((2, 4), np.float32))[0], np.zeros((2, 4)))


def test_an_old_opset_is_raised() -> None:
    model = graph(
        "(float[N, 4] x) => (float[N, 4] y) { a = MatMul(x, w) y = Softmax <axis = 1> (a) }", 9, w=normal(4, 4)
    )
    made = quantize(model, ranges_of(model, x=normal(8, 4)))
    assert made.opset_import[0].version == 13
    assert noise(run(made, x=normal(8, 4))[0], run(model, x=normal(8, 4))[0]) < 0.01


def test_a_graph_that_has_q_and_dq_already() -> None:
    once = quantize(digits(), digits_ranges(), Kept(last=2))
    [finding] = said(once, digits_ranges(), None, ["logits"])
    assert finding.code == "TK932"
    assert "no Q/DQ yet" in finding.hint


def test_what_the_file_says_of_itself_stays() -> None:
    model = every()
    onnx.helper.set_model_props(model, {"author": "me", "version": "3"})
    model.producer_name = "mine"
    made = quantize(model, ranges_of(model, x=images()))
    assert [(p.key, p.value) for p in made.metadata_props] == [("author", "me"), ("version", "3")]
    assert made.producer_name == "mine"


def test_nothing_is_said_on_the_root_logger(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    quantize(every(), ranges_of(every(), x=images()), for_engine="onnxruntime")
    assert not caplog.records
    assert capsys.readouterr() == ("", "")


@settings(max_examples=25)
@given(
    st.sets(st.sampled_from(["q", "k", "v", "out", "wide", "narrow"])), st.sampled_from(["tensorrt", "onnxruntime"])
)
def test_any_subset_of_layers(chosen: set[str], engine: Any) -> None:
    ranges = ranges_of(attention(), **texts(16, 6))
    made = quantized(attention(), ranges, None, chosen, engine)
    assert set(made.layers) == chosen
    onnx.checker.check_model(made.model, full_check=True)
    [right], [answer] = run(attention(), **texts()), run(made.model, **texts())
    assert noise(answer, right) < 0.01
    if not chosen:
        np.testing.assert_array_equal(answer, right)
    by_name(made.model, "masked")
