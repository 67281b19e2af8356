"""Samples that do not fit: every mistake at once, each once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from calibration_graphs import LINE, graph, samples

from generator.engine.calibrate import Ranges, collect, from_text
from generator.engine.errors import Finding, StageError
from generator.engine.runner import Samples

TWO = "(float[N, 4] x, int64[N] n) => (float[N, 4] y) { f = Cast <to = 1> (n) k = Constant <value = int64[1] {1}> () g = Unsqueeze(f, k) y = Add(x, g) }"


def said(model: Any, given: Samples, *rest: Any) -> list[Finding]:
    with pytest.raises(StageError) as raised:
        collect(model, given, *rest)
    return list(raised.value.findings)


def test_no_samples() -> None:
    for given in (Samples((), ""), samples("x", np.zeros((0, 4), np.float32))):
        assert [f.code for f in said(graph(LINE), given)] == ["TK940"]


@pytest.mark.parametrize(
    ("array", "code", "words"),
    [
        (np.ones((2, 5), np.float32), "TK943", "`x` is [2, 5], and the model takes [any, 4]"),
        (np.ones(4, np.float32), "TK943", "[4]"),
        (np.ones((2, 4), np.float64), "TK942", "`x` is float64, and the model takes float32"),
        (np.full((2, 4), np.nan, np.float32), "TK944", "8 values that are NaN or infinite"),
        (np.array([[1, 2, np.inf, 4]], np.float32), "TK944", "1 values"),
    ],
)
def test_one_mistake(array: Any, code: str, words: str) -> None:
    [finding] = said(graph(LINE), samples("x", np.ones((1, 4), np.float32), array))
    assert finding.code == code
    assert words in finding.message
    assert "batch 1" in finding.message
    assert finding.about == "build.calibration"


def test_names() -> None:
    findings = said(graph(LINE), samples("pixels", np.ones((1, 4), np.float32)))
    assert [f.code for f in findings] == ["TK941", "TK941"]
    assert "`x` is missing; given are `pixels`" in findings[0].message
    assert "no input `pixels`; it has `x`" in findings[1].message


def test_all_mistakes_at_once_each_once() -> None:
    bad = {"x": np.full((3, 5), np.nan, np.float32), "n": np.ones(3, np.int32)}
    findings = said(graph(TWO), Samples((bad, bad), ""), "sideways")
    assert sorted(f.code for f in findings) == ["TK942", "TK943", "TK944", "TK946"]


@pytest.mark.parametrize("percentile", [50, 0, 100.1, -1])
def test_a_percentile_out_of_range(percentile: float) -> None:
    [finding] = said(graph(LINE), samples("x", np.ones((1, 4), np.float32)), "percentile", percentile)
    assert finding.code == "TK946"
    assert str(percentile) in finding.message


def test_few_samples_are_a_warning() -> None:
    few = collect(graph(LINE), samples("x", np.ones((99, 4), np.float32)))
    assert [w.code for w in few.warnings] == ["TK945"]
    assert collect(graph(LINE), samples("x", np.ones((100, 4), np.float32))).warnings == ()


def test_ranges_that_cut_off_many_values_are_a_warning() -> None:
    values = np.random.default_rng(1).normal(size=(500, 4)).astype(np.float32)
    given = samples("x", values)
    cut = collect(graph(LINE), given, "percentile", 97)
    [warning] = cut.warnings
    assert warning.code == "TK945"
    assert "`x` 3.00%" in warning.message
    assert "`double` 3.00%" in warning.message
    assert "method: minmax" in warning.hint
    assert from_text(cut.text()).warnings == cut.warnings
    assert cut.facts["clipped"]["x"] == pytest.approx(float((np.abs(values) > cut["x"][1]).mean()), abs=1e-3)
    for method, percentile in (("minmax", 99.99), ("percentile", 99.95)):
        whole = collect(graph(LINE), given, method, percentile)
        assert whole.warnings == ()
        assert "clipped" not in whole.facts


def test_the_tensors_that_lose_most_are_named() -> None:
    clipped = {"a": 0.002, "b": 0.5, "c": 0.1, "d": 0.1}
    [warning] = Ranges({}, {"method": "entropy", "samples": 100, "clipped": clipped}).warnings
    assert "4 tensors" in warning.message
    assert warning.message.endswith("`b` 50.00%, `c` 10.00%, `d` 10.00%, …")
    assert "`method: minmax` or `method: percentile`" in warning.hint
