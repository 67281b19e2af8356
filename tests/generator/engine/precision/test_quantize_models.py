"""int8 and fp8 of whole models: what they answer."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from lowering_graphs import (
    CALIBRATED,
    FLOOR,
    MAX_DROP,
    ROOT,
    accuracy,
    assert_sound,
    attention,
    digits,
    digits_data,
    digits_ranges,
    evaluate,
    noise,
    operators,
    run,
    samples,
    texts,
    types,
)

from generator.engine.calibrate import collect
from generator.engine.precision import Kept, fp8, lower, quantize, quantized

ENGINES = ["tensorrt", "onnxruntime"]


@pytest.mark.parametrize("method", ["entropy", "minmax", "percentile"])
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("reduce_range", [False, True])
def test_digits_on_those_that_gave_no_range(method: str, engine: str, reduce_range: bool) -> None:
    pixels, _ = digits_data()
    made = quantize(digits(), digits_ranges(method), for_engine=engine, reduce_range=reduce_range)  # type: ignore[arg-type]
    onnx.checker.check_model(made, full_check=True)
    [before], [after] = run(digits(), pixels=pixels), run(made, pixels=pixels)
    assert accuracy(after, CALIBRATED) >= FLOOR
    assert accuracy(before) - accuracy(after) <= MAX_DROP
    assert 1e-6 < noise(after, before) < 0.02


@pytest.mark.parametrize("engine", ENGINES)
def test_onnxruntime_answers_as_the_reference(engine: str) -> None:
    """What ONNX Runtime fuses into 8-bit arithmetic is what the graph says, to a step of the last tensor's scale."""
    pixels = digits_data()[0][:64]
    made = quantize(digits(), digits_ranges(), for_engine=engine)  # type: ignore[arg-type]
    [by_reference] = evaluate(made, pixels=pixels)
    assert noise(run(made, pixels=pixels)[0], by_reference) < 2e-4
    np.testing.assert_allclose(run(made, optimise=False, pixels=pixels)[0], by_reference, atol=0.3)


def test_digits_in_fp8() -> None:
    """ONNX Runtime's optimiser takes Q/DQ for int8 of any type, so that the graph is run as it is written."""
    pixels, _ = digits_data()
    made = fp8(digits(), digits_ranges("minmax")).model
    onnx.checker.check_model(made, full_check=True)
    [before], [after] = run(digits(), pixels=pixels), run(made, optimise=False, pixels=pixels)
    assert accuracy(after, CALIBRATED) >= FLOOR
    assert accuracy(before) - accuracy(after) <= MAX_DROP
    np.testing.assert_allclose(after[:32], evaluate(made, pixels=pixels[:32])[0], atol=1e-4)
    assert made.SerializeToString() == fp8(digits(), digits_ranges("minmax")).model.SerializeToString()


def test_what_fp8_is_made_of() -> None:
    made = fp8(digits(), digits_ranges("minmax"), Kept(last=1))
    weights = {w.name: w for w in made.model.graph.initializer}
    pairs = [n for n in made.model.graph.node if n.op_type == "QuantizeLinear"]
    assert made.layers == ("conv_0", "conv_2", "gemm_6")
    assert len(pairs) == 6
    for node in pairs:
        assert weights[node.input[2]].data_type == onnx.TensorProto.FLOAT8E4M3FN
        scale = onnx.numpy_helper.to_array(weights[node.input[1]])
        if node.input[0] in weights:  # a weight: its largest number of each channel is 448
            array = np.abs(onnx.numpy_helper.to_array(weights[node.input[0]]))
            axis = next(a.i for a in node.attribute if a.name == "axis")
            others = tuple(i for i in range(array.ndim) if i != axis)
            np.testing.assert_allclose(array.max(axis=others), scale * 448, rtol=1e-5)
    assert made.model.opset_import[0].version == 19


@pytest.mark.parametrize("number", ["int8", "fp8"])
def test_digits_in_8_bits_and_the_rest_in_fp16(number: str) -> None:
    """For engines that take all types from the graph: between Q and DQ 8 bits, elsewhere fp16, nowhere FP32."""
    pixels, _ = digits_data()
    ranges = digits_ranges("minmax")
    eight = (
        quantize(digits(), ranges, Kept(last=1)) if number == "int8" else fp8(digits(), ranges, Kept(last=1)).model
    )
    made = lower(eight, "fp16")
    assert_sound(made.model)
    assert not made.stay
    assert sorted(name for name, kind in types(made.model).items() if kind == 1) == ["logits", "pixels"]
    assert operators(made.model).count("Cast") == 1, "at the output; the first Q takes FP32 as it comes"
    [before], [after] = run(digits(), pixels=pixels), run(made.model, optimise=False, pixels=pixels)
    assert accuracy(after, CALIBRATED) >= FLOOR
    assert accuracy(before) - accuracy(after) <= MAX_DROP
    assert noise(after, run(eight, optimise=False, pixels=pixels)[0]) < 2e-3


def test_scales_too_small_for_fp16_stay() -> None:
    ranges = {**digits_ranges("minmax"), "pixels": (0.0, 1e-3)}
    made = lower(quantize(digits(), ranges, None, ["conv_0", "logits"]), "fp16")
    assert_sound(made.model)
    assert set(made.stay) == {"pixels_QuantizeLinear", "pixels_DequantizeLinear"}
    assert "coarsely" in made.stay["pixels_QuantizeLinear"]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_transformer(engine: str) -> None:
    given = texts(32, 8)
    ranges = collect(attention(), samples(**given), "minmax")
    made = quantized(attention(), ranges, for_engine=engine)  # type: ignore[arg-type]
    assert made.layers == ("q", "k", "v", "out", "wide", "narrow")
    assert set(made.stay) == {"raw", "seen"}
    onnx.checker.check_model(made.model, full_check=True)
    new = texts(16, 8, seed=5)
    [right] = run(attention(), **new)
    assert noise(run(made.model, **new)[0], right) < 0.01
    assert noise(evaluate(made.model, **new)[0], right) < 0.01


@pytest.mark.parametrize("name", ["digits_crops", "photos"])
@pytest.mark.parametrize("engine", ENGINES)
def test_other_models(name: str, engine: str) -> None:
    model = onnx.load(ROOT / "models" / f"{name}.onnx")
    [given] = model.graph.input
    shape = [4 if axis.dim_param else axis.dim_value for axis in given.type.tensor_type.shape.dim]
    rng = np.random.default_rng(2)
    batch = rng.integers(0, 255, shape).astype(np.uint8 if given.type.tensor_type.elem_type == 2 else np.float32)
    batch = batch if batch.dtype == np.uint8 else batch / np.float32(255)
    ranges = collect(model, samples(**{given.name: batch}), "minmax")
    made = quantize(model, ranges, for_engine=engine)  # type: ignore[arg-type]
    onnx.checker.check_model(made, full_check=True)
    assert [v.SerializeToString() for v in made.graph.output] == [v.SerializeToString() for v in model.graph.output]
    [by_reference] = evaluate(made, **{given.name: batch})
    assert noise(run(made, **{given.name: batch})[0], by_reference) < 1e-3
    assert noise(by_reference, run(model, **{given.name: batch})[0]) < 0.2  # of random pixels not much is left


@pytest.mark.parametrize("engine", ENGINES)
def test_the_same_bytes_twice(engine: str) -> None:
    ranges = collect(attention(), samples(**texts(32, 8)), "minmax")
    made = [quantize(attention(), ranges, for_engine=engine).SerializeToString() for _ in range(2)]  # type: ignore[arg-type]
    assert made[0] == made[1]
    shuffled = dict(reversed(list(ranges.items())))
    assert quantize(attention(), shuffled, for_engine=engine).SerializeToString() == made[0]  # type: ignore[arg-type]


def test_of_the_weights_a_quarter_is_left_for_onnxruntime() -> None:
    made = quantize(digits(), digits_ranges(), for_engine="onnxruntime")
    assert made.ByteSize() < 0.3 * digits().ByteSize()
    assert "Relu" not in operators(made)[:10]  # the scale of what is behind it takes its place


def test_without_vnni_two_products_would_saturate() -> None:
    """vpmaddubsw adds two products of UINT8 and INT8 in 16 bits: 255 · 127 · 2 is too much, 255 · 64 · 2 is not."""
    for reduce_range, most in ((False, 127), (True, 64)):
        made = quantize(digits(), digits_ranges(), for_engine="onnxruntime", reduce_range=reduce_range)
        stored = [onnx.numpy_helper.to_array(w) for w in made.graph.initializer if w.name.endswith("_quantized")]
        largest = max(int(np.abs(w.astype(np.int32)).max()) for w in stored if w.dtype == np.int8)
        assert largest == most
        assert (255 * largest * 2 <= np.iinfo(np.int16).max) == reduce_range
