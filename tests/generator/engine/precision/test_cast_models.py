"""fp16 and bf16 of whole models: what they answer, and how much smaller they are."""

from __future__ import annotations

import warnings

import numpy as np
import onnx
import pytest
from lowering_graphs import (
    FLOOR,
    MAX_DROP,
    ROOT,
    accuracy,
    assert_sound,
    attention,
    digits,
    digits_data,
    evaluate,
    graph,
    noise,
    normal,
    operators,
    run,
    texts,
)

from generator.engine.precision import Kept, cast, lower

MODELS = ["digits", "canvas_detector", "digits_crops", "photos"]


def test_digits_in_fp16_by_onnxruntime() -> None:
    pixels, _ = digits_data()
    made = cast(digits(), "fp16")
    assert_sound(made)
    [before], [after] = run(digits(), pixels=pixels), run(made, pixels=pixels)
    assert accuracy(after) >= FLOOR
    assert accuracy(before) - accuracy(after) <= MAX_DROP
    assert noise(after, before) < 1e-5
    assert made.ByteSize() < 0.52 * digits().ByteSize()
    assert operators(made).count("Cast") == 2


def test_digits_in_fp16_answer_as_those_of_onnxconverter_common() -> None:
    from onnxconverter_common import float16

    pixels, _ = digits_data()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of each weight below 1e-7
        theirs = float16.convert_float_to_float16(digits(), keep_io_types=True)
    np.testing.assert_allclose(
        run(cast(digits(), "fp16"), pixels=pixels)[0], run(theirs, pixels=pixels)[0], atol=0.05
    )


def test_digits_in_bf16_by_the_reference() -> None:
    """ONNX Runtime has no bf16 kernels for the CPU, so that ONNX's own evaluator stands in."""
    pixels, _ = digits_data()
    made = cast(digits(), "bf16")
    assert_sound(made)
    [after] = evaluate(made, pixels=pixels)
    assert accuracy(after) >= FLOOR
    assert accuracy(evaluate(digits(), pixels=pixels)[0]) - accuracy(after) <= MAX_DROP
    assert 1e-7 < noise(after, run(digits(), pixels=pixels)[0]) < 1e-3


@pytest.mark.parametrize("to", ["fp16", "bf16"])
@pytest.mark.parametrize("name", MODELS)
def test_every_model_is_sound_and_the_same_twice(name: str, to: str) -> None:
    model = onnx.load(ROOT / "models" / f"{name}.onnx")
    first = lower(model, to)  # type: ignore[arg-type]
    assert_sound(first.model)
    assert first.model.SerializeToString() == cast(model, to).SerializeToString()  # type: ignore[arg-type]
    for before, after in zip(model.graph.input, first.model.graph.input, strict=True):
        assert before == after
    for before, after in zip(model.graph.output, first.model.graph.output, strict=True):
        assert before.name == after.name
        assert before.type.tensor_type.elem_type == after.type.tensor_type.elem_type


def test_the_model_that_was_given_is_left_alone() -> None:
    model = digits()
    before = model.SerializeToString()
    cast(model, "fp16")
    assert model.SerializeToString() == before


@pytest.mark.parametrize("optimise", [True, False])
def test_a_transformer_with_its_mask(optimise: bool) -> None:
    """The mask's -3.4e38 is clipped: in fp16 it would be infinite, and times 0 NaN."""
    made = lower(attention(), "fp16")
    assert_sound(made.model)
    assert made.clipped == {"far": 1}
    assert made.stay == {}
    [before] = run(attention(), **texts())
    [after] = run(made.model, optimise=optimise, **texts())
    assert noise(after, before) < 1e-4
    assert noise(evaluate(made.model, **texts())[0], before) < 1e-4


def test_a_transformer_in_bf16() -> None:
    made = lower(attention(), "bf16")
    assert_sound(made.model)
    assert made.clipped == {"far": 1}
    assert set(made.stay) <= {"there", "vector"}
    assert noise(evaluate(made.model, **texts())[0], run(attention(), **texts())[0]) < 1e-2


def test_without_keeping_the_types_of_inputs_and_outputs() -> None:
    pixels, _ = digits_data()
    made = cast(digits(), "fp16", keep_io_types=False)
    assert_sound(made)
    assert "Cast" not in operators(made)
    [after] = run(made, pixels=pixels.astype(np.float16))
    assert after.dtype == np.float16
    assert accuracy(after) >= FLOOR


def test_everything_kept_is_fp32_still() -> None:
    pixels, _ = digits_data()
    made = cast(digits(), "fp16", Kept(operators=sorted(set(operators(digits())))))
    assert_sound(made)
    assert "Cast" not in operators(made)
    np.testing.assert_array_equal(run(made, pixels=pixels)[0], run(digits(), pixels=pixels)[0])


def test_a_large_weight_changes_where_the_casts_stand_and_not_the_answer() -> None:
    model = graph("(float[N, 4] x) => (float[N, 3] y) { a = MatMul(x, big) b = Mul(a, tiny) c = Relu(b) y = MatMul(c, w) }",
                  big=normal(4, 4) * 1e6, tiny=np.array([1e-6], np.float32), w=normal(4, 3, seed=1))  # fmt: skip
    made = lower(model, "fp16")
    assert_sound(made.model)
    assert list(made.stay) == ["a"]
    assert "65504" in made.stay["a"]
    assert not made.clipped
