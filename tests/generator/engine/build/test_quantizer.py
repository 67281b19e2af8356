"""`build.quantizer: modelopt`: an int8 engine with another quantiser's Q/DQ and ranges.

ModelOpt needs PyTorch and is not among the project's packages. What takes its place has its signature, and quantises
with ONNX Runtime's own quantiser, which ModelOpt is built on.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
import pytest
from engine_projects import digits_project, int8, merged, model

from generator.engine.build.jobs import jobs_of
from generator.engine.build.run import Builder, Outcome
from generator.engine.compile import onnxruntime as processor
from generator.project import Project
from generator.workspace import open_workspace

STAND_IN = """
import re
import onnx
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static

calls = []

def quantize(onnx_path, quantize_mode="int8", calibration_data_reader=None, calibration_method=None,
             calibration_eps=("cpu", "cuda:0", "trt"), nodes_to_exclude=None, output_path=None, log_level="INFO",
             high_precision_dtype="fp16"):
    calls.append((quantize_mode, calibration_method, nodes_to_exclude, high_precision_dtype))

    class Reader(CalibrationDataReader):
        get_next = staticmethod(calibration_data_reader.get_next)

    names = [node.name for node in onnx.load(onnx_path).graph.node]
    left_out = [name for name in names if any(re.match(pattern, name) for pattern in nodes_to_exclude)]
    quantize_static(onnx_path, output_path, Reader(), quant_format=QuantFormat.QDQ, nodes_to_exclude=left_out,
                    activation_type=QuantType.QInt8, weight_type=QuantType.QInt8, per_channel=True,
                    op_types_to_quantize=["Conv", "Gemm"], calibrate_method=CalibrationMethod.MinMax)
"""
MODELOPT = merged(int8(), model(build={"quantizer": "modelopt", "calibration": {"samples": 64}}))


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """What the stand-in was asked."""
    package = tmp_path / "packages" / "modelopt" / "onnx"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").touch()
    (package / "__init__.py").touch()
    (package / "quantization.py").write_text(STAND_IN)
    monkeypatch.syspath_prepend(tmp_path / "packages")
    monkeypatch.setattr(processor, "has_vnni", lambda: True)
    yield importlib.import_module("modelopt.onnx.quantization").calls
    for name in ("modelopt", "modelopt.onnx", "modelopt.onnx.quantization"):
        sys.modules.pop(name, None)


def built(project: Project, **options: Any) -> Outcome:
    work = open_workspace(project)
    work.stop_on_errors()
    [job] = jobs_of(work)
    return Builder(project, lambda _text: None, **options).build(job)


def test_its_graph_is_judged_and_installed(tmp_path: Path, calls: list[Any]) -> None:
    project = digits_project(tmp_path / "p", MODELOPT)
    kept = tmp_path / "kept"
    outcome = built(project, keep=kept)
    assert outcome.status == "installed", [problem.message for problem in outcome.problems]
    assert calls == [("int8", "entropy", [], "fp32")]
    assert outcome.installed is not None
    manifest = outcome.installed.manifest
    assert manifest["quantizer"] == "modelopt"
    assert manifest["calibration"]["items"] == 64
    assert manifest["quantised"] == {"layers": 4, "stay": {}}
    graph = onnx.load(outcome.installed.folder / "model.onnx")
    assert sum(node.op_type == "QuantizeLinear" for node in graph.graph.node) > 4
    assert not list(kept.rglob("ranges.json")), "the ranges are its own"
    assert built(project, force=True).status == "installed"
    assert len(calls) == 2


def test_its_graph_is_kept_for_the_next_build(tmp_path: Path, calls: list[Any]) -> None:
    project = digits_project(tmp_path / "p", MODELOPT)
    assert [built(project, until="precision").status for _ in range(2)] == ["looked", "looked"]
    assert len(calls) == 1


def test_what_the_spec_keeps_it_leaves_out(tmp_path: Path, calls: list[Any]) -> None:
    changes = merged(MODELOPT, model(build={"keep": {"last": 1}, "calibration": {"method": "minmax"}}))
    outcome = built(digits_project(tmp_path / "p", changes))
    assert calls == [("int8", "max", ["^logits$"], "fp32")]
    assert outcome.installed is not None
    assert outcome.installed.manifest["quantised"] == {
        "layers": 3, "stay": {"logits": "it is one of the last 1 layers"},
    }  # fmt: skip


def test_nothing_that_it_quantises(tmp_path: Path, calls: list[Any]) -> None:
    outcome = built(digits_project(tmp_path / "p", merged(MODELOPT, model(build={"keep": {"last": 4}}))))
    assert len(calls) == 1
    assert [(p.code, p.message.partition(": ")[2]) for p in outcome.problems] == [
        ("TK933", "digits_engine 1: ModelOpt leaves all 4 layers as they are")
    ]


def test_where_it_is_missing(tmp_path: Path) -> None:
    outcome = built(digits_project(tmp_path / "p", MODELOPT))
    assert outcome.status == "refused"
    [problem] = outcome.problems
    assert (problem.code, problem.field) == ("TK935", "model.build")
    assert "pip install 'nvidia-modelopt[onnx]'" in problem.message
    assert "`quantizer: tritonkit`" in str(problem.hint)


@pytest.mark.usefixtures("calls")
def test_a_processor_on_which_its_sums_overflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processor, "has_vnni", lambda: False)
    [problem] = built(digits_project(tmp_path / "p", MODELOPT)).problems
    assert (problem.code, "no VNNI" in problem.message) == ("TK935", True)


def test_of_another_processor_nothing_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, calls: list[Any]
) -> None:
    monkeypatch.setattr(processor, "has_vnni", lambda: False)
    changes = merged(MODELOPT, {"targets": {"elsewhere": {"server": "25.03"}}})
    work = open_workspace(digits_project(tmp_path / "p", changes), target="elsewhere")
    work.stop_on_errors()
    [job] = jobs_of(work)
    assert job.program.engine == "onnxruntime"
    outcome = Builder(work.project, lambda _text: None, until="precision").build(job)
    assert outcome.status == "looked", [problem.message for problem in outcome.problems]
    assert [mode for mode, *_ in calls] == ["int8"]


@pytest.mark.parametrize(
    ("build", "words"),
    [
        ({"mixed": True}, "`mixed` is a search by tritonkit's own quantizer"),
        ({"calibration": {"method": "percentile"}}, "`modelopt` finds ranges by `entropy` or `minmax`"),
    ],
)
def test_what_it_cannot_do(tmp_path: Path, build: dict[str, Any], words: str) -> None:
    work = open_workspace(digits_project(tmp_path / "p", merged(MODELOPT, model(build=build))))
    [problem] = work.problems
    assert words in problem.message
    assert problem.field == "model.build"
