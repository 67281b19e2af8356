"""Which nodes became which: every node of a graph is in exactly one group, whatever was fused."""

from __future__ import annotations

from pathlib import Path

import onnx
import onnx.parser
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from generator.engine.inspect import layer_names, read_graph
from generator.engine.profile import profile
from generator.engine.profile.fusion import origins
from written_graphs import written

MODELS = Path(__file__).parents[4] / "models"


def named(model: onnx.ModelProto) -> onnx.GraphProto:
    for node, name in zip(model.graph.node, layer_names(model.graph), strict=True):
        node.name = name
    return model.graph


ORIGINAL = named(written("""g (float[N,4] x) => (float[N,4] e) <float[4,4] w, float[4] b, float[4] c>
    { k = Add(b, c)
      a = MatMul(x, w)
      d = Add(a, k)
      f = Relu(d)
      i = Identity(f)
      e = Neg(i) }"""))  # fmt: skip


def test_what_lies_between_the_tensors_that_are_left() -> None:
    optimised = named(written("""g (float[N,4] x) => (float[N,4] e) <float[4,4] w, float[4] k>
        { f = Gemm(x, w, k)
          e = Neg(f) }"""))  # fmt: skip
    groups, gone = origins(ORIGINAL, optimised)
    assert groups == [("MatMul_1", "Add_2", "Relu_3"), ("Identity_4", "Neg_5")]
    assert gone == ("Add_0",)


def test_a_node_with_new_tensors_stands_for_the_one_that_it_is_named_after() -> None:
    optimised = named(written("""g (float[N,4] x) => (float[N,4] e) <float[4,4] w, float[4] k>
        { token_1 = Gemm(x, w, k)
          f = Identity(token_1)
          e = Neg(f) }"""))  # fmt: skip
    optimised.node[0].name = "Relu_3_nchwc"
    groups, _ = origins(ORIGINAL, optimised)
    assert groups == [("MatMul_1", "Add_2", "Relu_3"), (), ("Identity_4", "Neg_5")]


@pytest.mark.parametrize("name", ["digits", "digits_crops", "photos", "canvas_detector"])
def test_groups_of_a_real_model_cover_every_node_once(name: str) -> None:
    model = read_graph(MODELS / f"{name}.onnx")
    found = profile(model, {}, 2, runs=1, threads=1)
    covered = [node for row in found.rows for node in row.layers] + list(found.gone)
    assert sorted(covered) == sorted(layer_names(model.graph))


def test_the_digits_are_fused_as_is_known() -> None:
    found = profile(read_graph(MODELS / "digits.onnx"), {}, 2, runs=1, threads=1)
    groups = [row.layers for row in found.rows if len(row.layers) > 1]
    assert groups == [("conv_0", "relu_1"), ("conv_2", "relu_3"), ("gemm_6", "relu_7")]


STEPS = ("Relu({0})", "Add({0}, {1})", "MatMul({0}, w)", "Add({0}, b)", "Identity({0})", "Abs({0})",
         "Sigmoid({0})", "Mul({0}, {1})", "Add(b, b)")  # fmt: skip


@given(st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 99), st.integers(0, 99)), min_size=1, max_size=12))
@settings(max_examples=25)
def test_groups_of_any_graph_cover_every_node_once(steps: list[tuple[str, int, int]]) -> None:
    tensors, lines = ["x"], []
    for place, (step, one, other) in enumerate(steps):
        lines.append(f"t{place} = {step.format(tensors[one % len(tensors)], tensors[other % len(tensors)])}")
        tensors.append(f"t{place}")
    lines.append(f"y = Add({tensors[-1]}, x)")
    model = written(f"g (float[N,4] x) => (float[N,4] y) <float[4,4] w, float[4] b> {{ {' '.join(lines)} }}")
    found = profile(model, {}, 3, runs=1, threads=1)
    covered = [node for row in found.rows for node in row.layers] + list(found.gone)
    assert sorted(covered) == sorted(layer_names(model.graph))
