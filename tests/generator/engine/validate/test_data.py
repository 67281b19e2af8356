"""Gate sets that cannot be used."""

from __future__ import annotations

import numpy as np
import pytest

from generator.engine.errors import StageError
from generator.engine.runner import Samples
from generator.engine.validate.data import Expected, check_gate_set, expected_inputs

PIXELS = np.zeros((4, 1, 8, 8), dtype=np.float32)
LABELS = np.arange(4)


def test_inputs_of_the_digits(graph: bytes) -> None:
    assert expected_inputs(graph) == {"pixels": Expected("float32", (-1, 1, 8, 8))}


def test_a_gate_set_that_fits(graph: bytes, samples: Samples, labels: np.ndarray) -> None:
    check_gate_set(samples, expected_inputs(graph), "top1", labels)
    check_gate_set(samples, expected_inputs(graph), "cosine")


def nan_in_the_third() -> np.ndarray:
    pixels = PIXELS.copy()
    pixels[2] = np.nan
    return pixels


@pytest.mark.parametrize(
    ("batches", "metric", "labels", "words"),
    [
        ((), "cosine", None, ["the gate set is empty"]),
        (({"pixels": PIXELS[:0]},), "top1", LABELS[:0], ["the gate set is empty"]),
        (({"image": PIXELS},), "top1", LABELS, ["has `image`, the graph wants `pixels`"]),
        (({"pixels": PIXELS[:, 0]},), "top1", LABELS, ["items of shape [8, 8], the graph wants [1, 8, 8]"]),
        (({"pixels": np.zeros((4, 1, 9, 8), np.float32)},), "top1", LABELS, ["items of shape [1, 9, 8]"]),
        (({"pixels": PIXELS.astype(np.float64)},), "top1", LABELS, ["is float64, the graph wants float32"]),
        (
            ({"pixels": nan_in_the_third()},),
            "top1",
            LABELS,
            ["holds NaN or Inf, in 1 of 4 items of a batch (the first is 2)"],
        ),
        (({"pixels": PIXELS},), "top1", None, ["no `labels`, which metric top1 needs"]),
        (({"pixels": PIXELS},), "f1", LABELS[:3], ["has 4 items, and labels for 3"]),
        (({"pixels": PIXELS},), "top1", np.array(3), ["labels for one value"]),
        (
            ({"pixels": PIXELS},),
            "top1",
            np.array([0.0, 1.0, np.nan, 2.0]),
            ["`labels` of the gate set hold NaN or Inf"],
        ),
        (({"pixels": nan_in_the_third()},), "top1", None, ["no `labels`", "holds NaN or Inf"]),
    ],
)
def test_what_is_wrong(
    graph: bytes, batches: tuple[dict[str, np.ndarray], ...], metric: str, labels: np.ndarray | None, words: list[str]
) -> None:
    with pytest.raises(StageError) as raised:
        check_gate_set(Samples(batches, "x"), expected_inputs(graph), metric, labels)
    findings = raised.value.findings
    assert {(finding.code, finding.about) for finding in findings} == {("TK970", "accuracy")}
    assert len(findings) == len(words)
    assert all(word in finding.message for word, finding in zip(words, findings, strict=True))
    assert all(finding.hint for finding in findings)
