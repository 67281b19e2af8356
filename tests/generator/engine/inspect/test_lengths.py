"""The dynamic axes of a model, and lengths that do not fit them."""

from __future__ import annotations

import pytest

from generator.engine.errors import StageError
from generator.engine.inspect import inspect, without_batch_axis
from written_graphs import written

TWO = written("""g (int64[batch,tokens] i, float[batch,tokens,8] m) => (float[batch,tokens,8] y) <int64[1] axes = {2}>
                 { a = Cast<to=1>(i)
                   b = Unsqueeze(a, axes)
                   y = Mul(b, m) }""")


def test_axes_by_name() -> None:
    found = inspect(TWO, {"tokens": 7}, 3)
    assert found.axes == {"batch": ("i[0]", "m[0]"), "tokens": ("i[1]", "m[1]")}
    assert (found.batch, found.free_axes, found.lengths) == (("batch",), (), {"batch": 3, "tokens": 7})
    assert found.layers[-1].shape == (3, 7, 8)
    assert found.outputs[0].dims == ("batch", "tokens", 8)


def test_an_axis_without_a_name_is_called_after_its_input() -> None:
    model = written("g (float[N,4] x) => (float[N,4] y) { y = Relu(x) }")
    model.graph.input[0].type.tensor_type.shape.dim[0].ClearField("dim_param")
    found = inspect(model, {}, 5)
    assert found.axes == {"x.0": ("x[0]",)}
    assert found.layers[0].shape == (5, 4)


@pytest.mark.parametrize(
    ("lengths", "batch", "says"),
    [
        ({"tokkens": 4}, 1, "no dynamic axis `tokkens`; its dynamic axes are `batch`, `tokens`"),
        ({"tokens": 0}, 1, "the length of `tokens` is 0"),
        ({"tokens": 4}, -2, "the length of `batch` is -2"),
    ],
)
def test_lengths_that_do_not_fit(lengths: dict[str, int], batch: int, says: str) -> None:
    with pytest.raises(StageError) as caught:
        inspect(TWO, lengths, batch)
    assert [finding.code for finding in caught.value.findings] == ["TK910"]
    assert says in caught.value.findings[0].message


def test_a_batch_that_a_fixed_axis_is_not() -> None:
    model = written("g (float[4,8] x) => (float[4,8] y) { y = Relu(x) }")
    assert inspect(model, {}).flops == 32
    assert inspect(model, {}, 4).flops == 32
    with pytest.raises(StageError, match="fixed at 4"):
        inspect(model, {}, 8)


@pytest.mark.parametrize(
    ("graph", "names"),
    [
        ("g (float[N,8] x) => (float[N,8] y) { y = Relu(x) }", []),
        ("g (float[4,8] x) => (float[4,8] y) { y = Relu(x) }", ["input `x`", "output `y`"]),
        ("g (float[N,8] x) => (float y) { y = ReduceSum<keepdims=0>(x) }", ["output `y`"]),
        ("g (float[N] x, float[M] z) => (float[N] y) { y = Add(x, z) }", ["first axes of the inputs"]),
    ],
)
def test_models_without_a_batch_axis(graph: str, names: list[str]) -> None:
    found = without_batch_axis(written(graph))
    assert [finding.code for finding in found] == ["TK908"] * len(names)
    assert all(name in finding.message for name, finding in zip(names, found, strict=True))


def test_what_follows_from_the_inputs_is_more_than_what_is_declared() -> None:
    found = inspect(written("g (float[N,3] x) => (float[N,5] y) { y = Relu(x) }"), {}, 2)
    assert (found.layers[0].shape, found.layers[0].flops) == ((2, 3), 6)
    plugin = inspect(written("g (float[N,3] x) => (float[N,5] y) { y = TRT.EfficientNMS_TRT(x) }"), {}, 2)
    assert (plugin.layers[0].shape, plugin.layers[0].flops) == ((2, 5), None)
