"""The ranges of all tensors, on real graphs; the extents are compared with onnxruntime's own calibrator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from calibration_graphs import LINE, digits, digits_pixels, graph, samples
from onnxruntime.quantization.calibrate import CalibrationDataReader, MinMaxCalibrater

from generator.engine.cache import key_of
from generator.engine.calibrate import cache_facts, collect, from_text
from generator.engine.errors import StageError
from generator.engine.runner import OnnxRunner

METHODS = ["minmax", "percentile", "entropy"]


class Reader(CalibrationDataReader):
    def __init__(self, batches: list[dict[str, Any]]) -> None:
        self.batches = iter(batches)

    def get_next(self) -> dict[str, Any]:
        return next(self.batches, {})


def test_extents_are_those_of_onnxruntime(tmp_path: Path) -> None:
    pixels = digits_pixels()
    onnx.save(digits(), tmp_path / "digits.onnx")
    theirs = MinMaxCalibrater(tmp_path / "digits.onnx", augmented_model_path=str(tmp_path / "more.onnx"))
    theirs.augment_graph()
    theirs.create_inference_session()
    theirs.collect_data(Reader([{"pixels": pixels[:180]}, {"pixels": pixels[180:]}]))
    right = {name: data.range_value for name, data in theirs.compute_data().items()}
    ours = collect(digits(), samples("pixels", pixels[:180], pixels[180:]), "minmax")
    assert (
        set(right)
        == set(ours)
        == {"pixels", "conv_0", "relu_1", "conv_2", "relu_3", "maxpool_4", "flatten_5", "gemm_6", "relu_7", "logits"}
    )
    for name, (low, high) in right.items():
        np.testing.assert_allclose(ours[name], (float(low.item()), float(high.item())), rtol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_the_same_bytes_twice_from_bytes_or_a_model(method: str) -> None:
    given = samples("pixels", digits_pixels(200))
    first = collect(digits(), given, method)
    assert collect(digits().SerializeToString(), given, method).text() == first.text()
    assert dict(from_text(first.text())) == dict(first)


@pytest.mark.parametrize("method", ["percentile", "entropy"])
def test_a_clipped_range_lies_within_the_extent(method: str) -> None:
    given = samples("pixels", digits_pixels(200))
    whole, cut = collect(digits(), given, "minmax"), collect(digits(), given, method, 99)
    assert set(whole) == set(cut)
    assert all(whole[n][0] <= cut[n][0] <= cut[n][1] <= whole[n][1] for n in whole)
    assert any(cut[n] != whole[n] for n in whole)


def test_large_batches_are_cut_to_a_bounded_size() -> None:
    given = samples("pixels", digits_pixels(64))
    whole = collect(digits(), given, "percentile", 99.5)
    seen: list[tuple[int, int]] = []

    def told(done: int, total: int) -> None:
        seen.append((done, total))

    cut = collect(digits(), given, "percentile", 99.5, told, memory_bytes=100_000)
    assert len(seen) > 4
    assert seen[-1] == (64, 64)
    for name in whole:
        np.testing.assert_allclose(cut[name], whole[name], rtol=1e-4)


def test_a_fixed_batch_axis_gets_its_batches_whole() -> None:
    model = graph(LINE.replace("N", "2"))
    batch = np.array([[1, 2, 3, 4], [-1, -2, -3, -4]], np.float32)
    found = collect(model, samples("x", batch), "minmax", memory_bytes=1)
    assert dict(found) == {"x": (-4, 4), "double": (-8, 8), "y": (0, 8)}


def test_integers_and_constants_have_no_range() -> None:
    model = graph(
        """(uint8[N, 2] x) => (float[N, 2] y) {
        half = Constant <value = float {0.5}> ()
        f = Cast <to = 1> (x)
        i = Cast <to = 7> (f)
        y = Mul(f, half)
    }"""
    )
    assert dict(collect(model, samples("x", np.array([[0, 200]], np.uint8)), "minmax")) == {
        "f": (0, 200),
        "y": (0, 100),
    }


def test_a_tensor_that_is_not_finite_inside_has_no_range_and_is_named() -> None:
    model = graph("(float[N, 2] x) => (float[N, 2] y) { log = Log(x) y = Exp(log) }")
    for method in METHODS:
        found = collect(model, samples("x", np.array([[0.0, 1.0]], np.float32)), method)
        assert found.not_finite == ("log",)
        assert set(found) == {"x", "y"}


def test_a_tensor_that_is_always_zero() -> None:
    for method in METHODS:
        found = collect(graph(LINE), samples("x", -np.ones((3, 4), np.float32)), method)
        assert found["y"] == (0, 0)
        assert found["x"] == (-1, -1)


def test_an_input_that_is_an_output() -> None:
    model = graph("(float[N, 2] x) => (float[N, 2] x, float[N, 2] y) { y = Neg(x) }")
    assert dict(collect(model, samples("x", np.array([[1, 2]], np.float32)), "minmax")) == {
        "x": (1, 2),
        "y": (-2, -1),
    }


def test_interrupted_it_ends_at_once() -> None:
    def interrupt(_done: int, _total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        collect(digits(), samples("pixels", digits_pixels(8)), "entropy", progress=interrupt)


def test_a_broken_model_is_one_clear_error() -> None:
    for broken in (b"not onnx at all", graph("(float[N] x) => (float[N] y) { y = Relu(z) }")):
        with pytest.raises(StageError) as raised:
            collect(broken, samples("x", np.ones(3, np.float32)))
        assert [f.code for f in raised.value.findings] == ["TK947"]


def test_a_model_that_fails_on_a_batch_says_on_which() -> None:
    model = graph(
        "(float[N, K] x) => (float[N, 2] y) { two = Constant <value = int64[2] {-1, 2}> () y = Reshape(x, two) }"
    )
    with pytest.raises(StageError) as raised:
        collect(model, samples("x", np.ones((1, 3), np.float32)))
    assert raised.value.findings[0].code == "TK947"
    assert "[1, 3]" in raised.value.findings[0].message


def test_the_ranges_hold_what_the_graph_computes() -> None:
    pixels = digits_pixels(100)
    ranges = collect(digits(), samples("pixels", pixels), "minmax")
    logits = OnnxRunner(digits().SerializeToString(), optimise=False).run({"pixels": pixels})["logits"]
    np.testing.assert_allclose(ranges["logits"], (logits.min(), logits.max()), rtol=1e-5)


def test_the_key_changes_with_all_that_decides_and_nothing_else() -> None:
    given = samples("pixels", digits_pixels(10))
    key = key_of(cache_facts(digits(), given, "entropy", 99.9))
    assert key == key_of(cache_facts(digits(), given, "entropy", 99))
    others = [
        cache_facts(digits(), given, "minmax", 99.9),
        cache_facts(digits(), given, "percentile", 99.9),
        cache_facts(digits(), given, "percentile", 99),
        cache_facts(graph(LINE), given, "entropy", 99.9),
        cache_facts(digits(), samples("pixels", digits_pixels(11)), "entropy", 99.9),
        cache_facts(digits(), type(given)(given.batches, "other"), "entropy", 99.9),
        cache_facts(digits(), given, "entropy", 99.9, symmetric=True),
    ]
    assert len({key, *map(key_of, others)}) == 8
    both = [cache_facts(digits(), given, "minmax", 99.9, symmetric=symmetric) for symmetric in (False, True)]
    assert both[0] == both[1], "only entropy goes by it"


@pytest.mark.parametrize("symmetric", [False, True])
def test_entropy_says_what_bounds_it(symmetric: bool) -> None:
    given = samples("pixels", digits_pixels(10))
    facts = {method: collect(digits(), given, method, symmetric=symmetric).facts for method in METHODS}
    said = {name: (of.get("bound"), of.get("symmetric")) for name, of in facts.items()}
    assert said == {"entropy": ("squared error", symmetric), "minmax": (None, None), "percentile": (None, None)}


def test_the_ranges_are_those_of_the_engine_that_computes_with_them() -> None:
    """A Relu's: one large value costs INT8 around zero more than UINT8."""
    values = np.random.default_rng(7).normal(size=200_000).astype(np.float32)
    given = samples("x", np.append(values, values.max() * np.float32(1.5))[None])
    model = graph("(float[b, 200001] x) => (float[b, 200001] y) { y = Relu(x) }")
    wide, narrow = (collect(model, given, symmetric=symmetric)["y"][1] for symmetric in (False, True))
    assert narrow < 0.8 * wide
