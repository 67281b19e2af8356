"""What is suggested, with lines that stand in a spec."""

from __future__ import annotations

import pytest
import yaml

from generator.engine.validate.advice import advise, culprits
from generator.engine.validate.blame import LayerHarm
from generator.spec.build import Build


def harm(node: str, added: float, operator: str = "Conv", not_finite: int = 0) -> LayerHarm:
    return LayerHarm(node, operator, f"{node or operator}_out", 20.0, 40.0, added, not_finite)


def build_of(text: str) -> Build:
    return Build.model_validate(yaml.safe_load(text)["build"])


def test_the_layers_that_add_most_are_kept() -> None:
    ranking = [harm("conv_7", 0.6), harm("conv_2", 0.3), harm("conv_1", 0.1), harm("conv_3", 0.0)]
    assert [h.node for h in culprits(ranking)] == ["conv_7", "conv_2"]
    found, first, *_ = advise("int8", ranking)
    assert build_of(found.yaml).mixed
    assert "conv_7 (Conv, 40 → 20 dB)" in first.text
    assert build_of(first.yaml).keep.nodes == ["conv_7", "conv_2"]
    assert str(first).endswith("`")


def test_nodes_without_names_are_kept_by_operator() -> None:
    first = advise("int8", [harm("", 0.5, "Softmax"), harm("conv", 0.4)], mixed=True)[0]
    assert build_of(first.yaml).keep.operators == ["Softmax", "Conv"]


@pytest.mark.parametrize("method", ["entropy", "minmax", "percentile"])
def test_another_calibration(method: str) -> None:
    lines = [a.yaml for a in advise("int8", [], method=method)]
    [other] = [yaml.safe_load(line)["method"] for line in lines if line.startswith("method")]
    assert other in {"entropy", "minmax", "percentile"} - {method}
    assert other == ("entropy" if method == "minmax" else "minmax"), "the one that lost least where the other failed"
    assert build_of(lines[0]).mixed
    assert yaml.safe_load(lines[-1]) == {"precision": "fp16"}


def test_what_was_tried_is_not_suggested() -> None:
    assert not [a for a in advise("int8", [], mixed=True) if "mixed" in a.yaml]
    assert "precision: int8" not in [a.yaml for a in advise("fp16", [])]


@pytest.mark.parametrize(
    ("precision", "expected"),
    [("fp16", ["precision: bf16", "precision: fp32"]), ("bf16", ["precision: fp32"]), ("fp32", [])],
)
def test_wider_precisions(precision: str, expected: list[str]) -> None:
    assert [a.yaml for a in advise(precision, [])] == expected


def test_an_overflow_of_fp16() -> None:
    first = advise("fp16", [harm("exp", 0.0, "Exp", not_finite=3), harm("conv", 0.5)])[0]
    assert "exp (Exp)" in first.text
    assert build_of(first.yaml).keep.nodes == ["exp"]
    assert advise("int8", [harm("exp", 0.0, "Exp", not_finite=3)])[0].yaml == ""
