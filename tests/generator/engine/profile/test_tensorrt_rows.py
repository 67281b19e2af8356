"""TensorRT's profiler and inspector, as they report in 8.6, 10 and 11."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from generator.engine.compile.tensorrt import TensorRT
from generator.engine.errors import StageError
from generator.engine.inspect import inspect, read_graph
from generator.engine.profile.tensorrt import layers_of_engine, profile_of, tensors_of_engine
from generator.engine.profile.tensorrt_run import profile_plan, profile_tensorrt, profile_timed

DIGITS = Path(__file__).parents[4] / "models" / "digits.onnx"
NODES = ["conv_0", "relu_1", "conv_2", "gemm", "unused"]
LAYERS: list[Any] = [
    {"Name": "conv_0 + relu_1", "LayerType": "CaskConvolution",
     "Metadata": "[ONNX Layer: conv_0]\u001e[ONNX Layer: relu_1]"},
    {"Name": "Reformatting CopyNode for Input Tensor 0 to conv_2", "LayerType": "Reformat", "Metadata": ""},
    {"Name": "conv_2", "LayerType": "CaskConvolution"},
    {"Name": "{ForeignNode[gemm]}", "LayerType": "Myelin"},
]  # fmt: skip
RUNS = [
    [("conv_0 + relu_1", 0.2), ("Reformatting CopyNode for Input Tensor 0 to conv_2", 0.1), ("conv_2", 0.4),
     ("{ForeignNode[gemm]}", 0.3)],
    [("conv_0 + relu_1", 0.4), ("Reformatting CopyNode for Input Tensor 0 to conv_2", 0.1), ("conv_2", 0.4),
     ("{ForeignNode[gemm]}", 0.1)],
]  # fmt: skip


@pytest.mark.parametrize("word", ["Bindings", "I/O Tensors"])
@pytest.mark.parametrize("parsed", [True, False])
def test_rows_of_an_engine(word: str, parsed: bool) -> None:
    described = {"Layers": LAYERS, word: ["pixels", {"Name": "logits"}]}
    inspector = described if parsed else json.dumps(described)
    found = profile_of(RUNS, [1.1, 1.3], inspector, NODES)
    assert [(row.op_type, row.layers) for row in found.rows] == [
        ("CaskConvolution", ("conv_0", "relu_1")), ("Reformat", ()), ("CaskConvolution", ("conv_2",)),
        ("Myelin", ("gemm",)),
    ]  # fmt: skip
    assert [row.ms for row in found.rows] == pytest.approx([0.3, 0.1, 0.4, 0.2])
    assert (found.engine, found.runs, found.gone) == ("tensorrt", 2, ("unused",))
    assert found.total_ms == pytest.approx(1.2)
    assert found.outside_ms == pytest.approx(0.2)
    assert tensors_of_engine(json.dumps(described)) == ["pixels", "logits"]


def test_layers_that_are_names_alone() -> None:
    """What the inspector gives of an engine that was built without detailed verbosity."""
    inspector = json.dumps({"Layers": ["conv_0 + relu_1", "conv_2"], "Bindings": []})
    assert [layer["Name"] for layer in layers_of_engine(inspector)] == ["conv_0 + relu_1", "conv_2"]
    found = profile_of([[("conv_0 + relu_1", 1.0), ("conv_2", 2.0)]], [3.0], inspector, NODES)
    assert [row.layers for row in found.rows] == [("conv_0", "relu_1"), ("conv_2",)]


@pytest.mark.parametrize("inspector", ["", "{", "[]", "{}", '{"Layers": 3}', "null"])
def test_descriptions_that_cannot_be_read(inspector: str) -> None:
    with pytest.raises(StageError) as caught:
        layers_of_engine(inspector)
    assert [finding.code for finding in caught.value.findings] == ["TK919"]


class Recorded:
    """What a plan of the digits said of itself."""

    def layers(self, tensors: Mapping[str, Any], runs: int) -> list[tuple[str, float]]:
        assert (tensors["pixels"].shape, runs) == ((4, 1, 8, 8), 7)
        return TIMES

    def time_us(self, tensors: Mapping[str, Any], runs: int) -> list[float]:
        assert tensors["pixels"].shape == (4, 1, 8, 8)
        return [60.0] * runs

    def information(self) -> dict[str, Any]:
        return {"Layers": [{"Name": name, "LayerType": "Convolution"} for name, _ in TIMES]}


TIMES = [("conv_0 + relu_1", 0.01), ("conv_2 + relu_3", 0.02), ("maxpool_4", 0.005), ("gemm_6 + relu_7", 0.01),
         ("logits", 0.005)]  # fmt: skip


def test_a_loaded_plan_gets_the_work_of_its_graph() -> None:
    model = read_graph(DIGITS)
    tensors = {"pixels": np.zeros((4, 1, 8, 8), np.float32)}
    found = profile_timed(Recorded(), model, {"batch": 4}, tensors, 7)
    assert (found.engine, found.runs, found.gone) == ("tensorrt", 7, ("flatten_5",))
    assert found.total_ms == pytest.approx(0.06)
    assert found.outside_ms == pytest.approx(0.01)
    assert sum(row.flops or 0 for row in found.rows) == inspect(model, {}, 4).flops


def test_where_tensorrt_is_not_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TensorRT, "missing", lambda _: "TensorRT cannot build here: it is not installed")
    with pytest.raises(StageError) as caught:
        profile_tensorrt(read_graph(DIGITS), {}, 2, runs=2, progress=print)
    assert [finding.code for finding in caught.value.findings] == ["TK918"]
    assert "TensorRT cannot build here" in caught.value.findings[0].message


def test_a_plan_that_is_there_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own runner is asked: TensorRT is not everywhere."""
    opened: list[tuple[bytes, tuple[str, ...]]] = []

    class Opened(Recorded):
        def __init__(self, plan: bytes, *, plugins: tuple[str, ...] = ()) -> None:
            opened.append((plan, plugins))

        def close(self) -> None:
            opened.append((b"closed", ()))

    class TooLarge(Opened):
        def layers(self, tensors: Mapping[str, Any], runs: int) -> list[tuple[str, float]]:
            raise ValueError(f"no profile takes {tensors['pixels'].shape}")

    monkeypatch.setattr(TensorRT, "missing", lambda _: "")
    monkeypatch.setattr("generator.engine.compile.tensorrt.TensorRTRunner", Opened)
    found = profile_plan(b"plan", read_graph(DIGITS), {}, 4, runs=7, plugins=("a.so",))
    assert opened == [(b"plan", ("a.so",)), (b"closed", ())]
    assert [row.layers for row in found.rows][:2] == [("conv_0", "relu_1"), ("conv_2", "relu_3")]
    monkeypatch.setattr("generator.engine.compile.tensorrt.TensorRTRunner", TooLarge)
    with pytest.raises(StageError) as caught:
        profile_plan(b"plan", read_graph(DIGITS), {}, 4, runs=7)
    assert [(finding.code, finding.message) for finding in caught.value.findings] == [
        ("TK918", "the plan cannot be run: no profile takes (4, 1, 8, 8)")
    ]
    assert opened[-1] == (b"closed", ())
    monkeypatch.setattr(TensorRT, "missing", lambda _: "it is not installed")
    with pytest.raises(StageError, match="a TensorRT plan cannot be run here: it is not installed"):
        profile_plan(b"plan", read_graph(DIGITS), {}, 4, runs=7)
