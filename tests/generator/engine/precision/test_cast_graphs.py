"""Casts in all kinds of graphs: each is sound, answers as before, and changes only what it may."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lowering_graphs import assert_sound, by_name, evaluate, graph, normal, operators, run, types

from generator.engine.errors import StageError
from generator.engine.precision import Kept, cast, lower

FP32, FP16 = 1, 10
LINE = "(float[N, 4] x) => (float[N, 4] y) { a = MatMul(x, w) b = Softmax(a) c = Relu(b) y = MatMul(c, w) }"


def line() -> onnx.ModelProto:
    return graph(LINE, w=normal(4, 4))


def same(model: onnx.ModelProto, made: onnx.ModelProto, **inputs: Any) -> None:
    assert_sound(made)
    for before, after in zip(run(model, **inputs), run(made, **inputs), strict=True):
        assert before.dtype == after.dtype
        np.testing.assert_allclose(after, before, rtol=5e-3, atol=5e-3)
    for before, after in zip(run(model, **inputs), evaluate(made, **inputs), strict=True):
        np.testing.assert_allclose(after, before, rtol=5e-3, atol=5e-3)


@pytest.mark.parametrize(
    ("keep", "kept"),
    [
        (Kept(operators=["Softmax"]), {"b"}), (Kept(nodes=["c"]), {"c"}), (Kept(first=1), {"a"}), (Kept(last=1), {"y"}),
        (Kept(first=1, last=1), {"a", "y"}), (Kept(first=9), {"a", "y"}), (Kept(["Relu"], ["b"], 0, 1), {"b", "c", "y"}),
    ],
)  # fmt: skip
def test_what_is_kept(keep: Kept, kept: set[str]) -> None:
    made = lower(line(), "fp16", keep)
    same(line(), made.model, x=normal(3, 4))
    assert set(made.stay) == kept
    known = types(made.model)
    for name in ("a", "b", "c"):
        assert known[name] == (FP32 if name in kept else FP16)


def test_a_weight_of_a_kept_and_a_lowered_node_is_there_twice() -> None:
    made = cast(line(), "fp16", Kept(nodes=["a"]))
    weights = {w.name: w.data_type for w in made.graph.initializer}
    assert weights == {"w": FP32, "w_fp16": FP16}
    assert by_name(made, "a").input[1] == "w"
    assert by_name(made, "y").input[1] == "w_fp16"


def test_a_name_that_no_node_has() -> None:
    with pytest.raises(StageError) as raised:
        cast(graph(LINE.replace("b", "softmax"), w=normal(4, 4)), "fp16", Kept(nodes=["softmx", "zebra"]))
    assert [f.code for f in raised.value.findings] == ["TK930", "TK930"]
    assert "`softmax`" in raised.value.findings[0].hint


def test_a_residual_is_cast_once() -> None:
    model = graph(
        "(float[N, 4] x) => (float[N, 4] y) { a = Relu(x) b = Softmax(a) c = Sigmoid(a) d = Tanh(a) e = Add(b, c) f = Add(e, d) y = Add(f, x) }"
    )
    made = cast(model, "fp16", Kept(operators=["Softmax", "Sigmoid"]))
    same(model, made, x=normal(3, 4))
    assert operators(made).count("Cast") == 1 + 1 + 2 + 1


def test_an_output_that_is_also_read() -> None:
    model = graph("(float[N, 4] x) => (float[N, 4] a, float[N, 4] y) { a = Relu(x) b = Neg(a) y = Softmax(b) }")
    for keep in (Kept(), Kept(nodes=["a"]), Kept(nodes=["b"]), Kept(nodes=["y"])):
        made = cast(model, "fp16", keep)
        same(model, made, x=normal(3, 4))
        unkept = cast(model, "fp16", keep, keep_io_types=False)
        assert_sound(unkept)
        assert [v.type.tensor_type.elem_type for v in unkept.graph.output] == [FP16, FP16]
        assert [v.name for v in unkept.graph.output] == ["a", "y"]


def test_outputs_that_pass_an_input_or_a_weight_on() -> None:
    model = graph(
        "(float[N, 4] x) => (float[N, 4] x, float[4, 4] w, float[N, 4] y) { y = MatMul(x, w) }", w=normal(4, 4)
    )
    same(model, cast(model, "fp16"), x=normal(3, 4))
    assert_sound(cast(model, "fp16", keep_io_types=False))


def test_branches_stay_and_read_fp32() -> None:
    model = graph(
        """(float[N, 4] x, bool flag) => (float[N, 4] y) {
        a = MatMul(x, w)
        b = If (flag) <
            then_branch = yes () => (float[N, 4] t) { t = MatMul(a, w) },
            else_branch = no () => (float[N, 4] e) { e = Add(a, x) }
        >
        y = MatMul(b, w)
    }""",
        w=normal(4, 4),
    )
    made = lower(model, "fp16")
    assert made.stay == {"b": "it has branches of its own"}
    for flag in (True, False):
        same(model, made.model, x=normal(3, 4), flag=np.array(flag))


def test_a_loop_stays() -> None:
    model = graph(
        """(float[2] x, int64 n) => (float[2] y) {
        go = Constant <value = bool {1}> ()
        a = Mul(x, w)
        b = Loop (n, go, a) <
            body = step (int64 i, bool c, float[2] s) => (bool d, float[2] t) { d = Identity(c) t = Add(s, a) }
        >
        y = Mul(b, w)
    }""",
        w=normal(2),
    )
    same(model, cast(model, "fp16"), x=normal(2), n=np.array(3))


def test_the_scales_of_a_resize_stay_fp32() -> None:
    model = graph("(float[N, 1, 4, 4] x) => (float[N, 1, 8, 8] y) { a = Relu(x) y = Resize <mode = \"linear\"> (a, , scales) }",
                  scales=np.array([1, 1, 2, 2], np.float32))  # fmt: skip
    made = cast(model, "fp16")
    same(model, made, x=normal(2, 1, 4, 4))
    assert {w.name: w.data_type for w in made.graph.initializer} == {"scales": FP32}


@pytest.mark.parametrize("dtype", [np.uint8, np.int32])
def test_a_cast_from_integers(dtype: type) -> None:
    number = {np.uint8: "uint8", np.int32: "int32"}[dtype]  # type: ignore[index]
    model = graph(f"({number}[N, 4] x) => (float[N, 4] y) {{ f = Cast <to = 1> (x) a = Div(f, d) y = MatMul(a, w) }}",
                  d=np.array(255, np.float32), w=normal(4, 4))  # fmt: skip
    made = cast(model, "fp16")
    same(model, made, x=np.arange(12).reshape(3, 4).astype(dtype))
    assert operators(made).count("Cast") == 2


def test_counts_stay() -> None:
    """3001 is no number of fp16."""
    model = graph(
        """(float[N, 4] x) => (float[N, 4] y, int64[1] n) {
        s = Shape <start = 0, end = 1> (x)
        f = Cast <to = 1> (s)
        g = Mul(f, k)
        h = Add(g, one)
        n = Cast <to = 7> (h)
        y = Relu(x)
    }""",
        k=np.array(1000, np.float32), one=np.array(1, np.float32),
    )  # fmt: skip
    made = lower(model, "fp16")
    same(model, made.model, x=normal(3, 4))
    assert {"g", "h"} <= set(made.stay)
    assert "counts" in made.stay["g"]


def test_what_only_looks_takes_what_is_there() -> None:
    model = graph("(float[N, 4] x) => (int64[N] best, bool[N, 4] over) { a = Softmax(x) best = ArgMax <axis = 1, keepdims = 0> (a) over = Greater(a, t) }",
                  t=np.array(0.2, np.float32))  # fmt: skip
    kept = cast(model, "fp16", Kept(operators=["Softmax"]))
    same(model, kept, x=normal(3, 4))
    assert "Cast" not in operators(kept)
    lowered = cast(model, "fp16")
    same(model, lowered, x=normal(3, 4))
    assert operators(lowered).count("Cast") == 1


def test_moving_numbers_needs_no_cast() -> None:
    model = graph(
        "(float[N, 4] x) => (float[4, N] y) { a = Softmax(x) b = Transpose <perm = [1, 0]> (a) c = Identity(b) y = Sigmoid(c) }"
    )
    made = cast(model, "fp16", Kept(operators=["Softmax", "Sigmoid"]))
    assert "Cast" not in operators(made)
    same(model, made, x=normal(3, 4))


def test_another_domain_stays() -> None:
    model = graph('(float[N, 4] x) => (float[N, 4] y) { a = MatMul(x, w) b = com.microsoft.Gelu(a) y = MatMul(b, w) }',
                  more=', "com.microsoft" : 1', w=normal(4, 4))  # fmt: skip
    made = lower(model, "fp16")
    assert list(made.stay) == ["b"]
    onnx.checker.check_model(made.model)
    np.testing.assert_allclose(run(made.model, x=normal(3, 4))[0], run(model, x=normal(3, 4))[0], atol=1e-2)


def test_an_operator_that_nobody_knows() -> None:
    model = graph("(float[N, 4] x) => (float[N, 4] y) { a = my.Own(x) y = Relu(a) }", more=', "my" : 1')
    with pytest.raises(StageError) as raised:
        cast(model, "fp16")
    assert [f.code for f in raised.value.findings] == ["TK932"]
    assert "`a`" in raised.value.findings[0].message


def test_constants_functions_and_nameless_nodes() -> None:
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17, "own" : 1]> g (float[N, 4] x) => (float[N, 4] y) {
            c = Constant <value = float[4] {1, 2, 3, 4}> () a = own.twice(x) y = Mul(a, c) }
        <domain: "own", opset_import: ["" : 17]> twice (v) => (w) { w = Add(v, v) }"""
    )
    made = cast(model, "fp16")
    same(model, made, x=normal(3, 4))
    assert operators(made) == ["Cast", "Add", "Mul", "Cast"]
    assert all(node.name for node in made.graph.node)


def test_constants_of_every_kind() -> None:
    model = graph(
        "(float[N, 4] x) => (float[N, 4] y) { a = Constant <value_float = 2.0> () b = Constant <value_floats = [1.0, 2.0, 3.0, 4.0]> () c = Constant <value_ints = [-1, 4]> () d = Mul(x, a) e = Add(d, b) y = Reshape(e, c) }"
    )
    made = cast(model, "fp16")
    same(model, made, x=normal(3, 4))
    assert operators(made) == ["Cast", "Mul", "Add", "Reshape", "Cast"]


def test_double_and_integers_are_left_alone() -> None:
    model = graph("(double[N, 4] x, int64[N, 4] n) => (double[N, 4] y, int64[N, 4] m) { y = Relu(x) m = Neg(n) }")
    made = lower(model, "fp16")
    same(model, made.model, x=normal(3, 4).astype(np.float64), n=np.ones((3, 4), np.int64))
    assert operators(made.model) == ["Relu", "Neg"]
    assert not made.stay


def test_a_graph_in_16_bits_already_stays_what_it_is() -> None:
    once = cast(line(), "fp16", keep_io_types=False)
    assert cast(once, "fp16").graph.node == once.graph.node


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite(number: float) -> None:
    weight = normal(4)
    weight[2] = number
    model = graph("(float[N, 4] x) => (float[N, 4] y) { y = Max(x, w) }", w=weight)
    if np.isnan(number):
        with pytest.raises(StageError) as raised:
            cast(model, "fp16")
        assert [f.code for f in raised.value.findings] == ["TK931"]
    else:
        same(model, cast(model, "fp16"), x=normal(3, 4))


NODES = ("Relu", "Softmax", "Tanh", "Transpose", "Add", "MatMul", "Mul", "Concat")


@st.composite
def graphs(draw: st.DrawFn) -> tuple[onnx.ModelProto, Kept]:
    """Square matrices through a random net of operators, with random outputs and a random set to keep."""
    tensors, lines = ["x", "w"], []
    for i in range(draw(st.integers(1, 8))):
        op = draw(st.sampled_from(NODES))
        one, other = draw(st.sampled_from(tensors)), draw(st.sampled_from(tensors))
        if op == "Concat":
            lines.append(
                f"j{i} = Concat <axis = 0> ({one}, {other}) s{i} = Slice(j{i}, zero, four) t{i} = Tanh(s{i})"
            )
        elif op in ("Add", "MatMul", "Mul"):
            lines.append(f"r{i} = {op}({one}, {other}) t{i} = Tanh(r{i})")
        else:
            lines.append(f"t{i} = {op}({one})")
        tensors.append(f"t{i}")
    outputs = sorted(draw(st.sets(st.sampled_from(tensors[2:]), min_size=1)))
    text = f"(float[4, 4] x) => ({', '.join(f'float[4, 4] {o}' for o in outputs)}) {{ {' '.join(lines)} }}"
    model = graph(text, w=normal(4, 4), zero=np.array([0]), four=np.array([4]))
    names = [node.output[0] for node in model.graph.node]
    return model, Kept(
        draw(st.lists(st.sampled_from(NODES), max_size=3)), draw(st.lists(st.sampled_from(names), max_size=3))
    )


@settings(max_examples=60)
@given(graphs(), st.booleans())
def test_any_graph(drawn: tuple[onnx.ModelProto, Kept], keep_io_types: bool) -> None:
    model, keep = drawn
    made = cast(model, "fp16", keep, keep_io_types=keep_io_types)
    onnx.checker.check_model(made, full_check=True)
    x = normal(4, 4)
    given_x = x if keep_io_types else x.astype(np.float16)
    for before, after in zip(run(model, x=x), run(made, x=given_x), strict=True):
        np.testing.assert_allclose(after.astype(np.float32), before, atol=0.03)
    if keep_io_types:
        assert_sound(made)
