"""A detector with TensorRT's suppression in its graph: judged against FP32 with the standard operator.

TensorRT is not here: its place is taken by ONNX Runtime on both sides of the plugin, which numpy stands in for.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from detector_projects import detector_project
from nms_plugin import PluginRunner

from generator.engine.build.candidates import compiling, trying
from generator.engine.build.candidates.choices import Choice
from generator.engine.build.jobs import jobs_of
from generator.engine.build.outcome import Outcome
from generator.engine.build.run import Builder
from generator.engine.compile.base import Compiled, Settings
from generator.engine.validate.neighbours import MOST_TIED
from generator.workspace import open_workspace

Array = np.ndarray[Any, Any]
ONE_TARGET = {"targets": {"embedded": None}}


class StandIn:
    """Compiles nothing: the plan is the graph that TensorRT would be given."""

    name, precision_in_graph = "tensorrt", True

    def missing(self) -> str:
        return ""

    def compile(self, graph: bytes, settings: Settings, progress: Any) -> Compiled:
        return Compiled("model.plan", graph, {"stand-in": True})


class Shifted(PluginRunner):
    """A plugin whose boxes lie beside the objects."""

    def run(self, tensors: dict[str, Array]) -> dict[str, Array]:
        answers = super().run(tensors)
        return {**answers, "boxes": answers["boxes"] + 9 * (answers["score"] > 0)[..., None].astype(np.float32)}


class Unfinished(PluginRunner):
    """A plugin that leaves a NaN in a box."""

    def run(self, tensors: dict[str, Array]) -> dict[str, Array]:
        answers = super().run(tensors)
        answers["boxes"][0, 0, 0] = np.nan
        return answers


def build(root: Path, monkeypatch: pytest.MonkeyPatch, runner: type[PluginRunner], precision: str) -> Outcome:
    changes = {"targets": {"production": {"precision": precision}, "embedded": {"instances": None}}}
    project = detector_project(root, changes)
    made: list[PluginRunner] = []

    def loaded(_choice: Choice, compiled: Compiled, *_more: Any) -> PluginRunner:
        made.append(runner(compiled.data, seed=len(made)))
        return made[-1]

    for module in (compiling, trying):
        monkeypatch.setattr(module, "compiler_of", lambda *_given: StandIn())
    monkeypatch.setattr(trying, "runner_of", loaded)
    [job] = jobs_of(open_workspace(project, target="production"))
    return Builder(project, lambda _text: None).build(job)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_it_passes_the_whole_gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str) -> None:
    """The pipeline's f1, finite outputs, all shapes, and every batch: in every run equals come in another order."""
    done = build(tmp_path / "project", monkeypatch, PluginRunner, precision)
    assert done.status == "installed", done.problems
    assert done.where is not None
    manifest = json.loads((done.where / "engine.json").read_text())
    assert manifest["nms"] == "efficient"
    assert manifest["request"]["build"]["nms"] == "efficient"
    [row] = done.rows
    assert row.verdict is not None
    names = [check.name for check in row.verdict.checks]
    assert {"NaN or Inf", "f1, floor", "f1, drop", "alone and among others"} <= set(names)
    assert row.verdict.facts["neighbours"]["tied"] < 0.75 * MOST_TIED  # the bound is no close call
    if precision != "int8":
        assert row.verdict.facts["metric"]["fp32"] == pytest.approx(row.verdict.facts["metric"]["value"], abs=0.005)
    plan = onnx.load_model_from_string((done.where / "model.plan").read_bytes())
    assert [node.op_type for node in plan.graph.node].count("EfficientNMS_TRT") == 1


@pytest.mark.parametrize(("runner", "code"), [(Shifted, "TK972"), (Unfinished, "TK975")])
def test_a_wrong_one_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runner: type[PluginRunner], code: str
) -> None:
    done = build(tmp_path / "project", monkeypatch, runner, "fp16")
    assert done.status == "refused"
    assert code in {problem.code for problem in done.problems}
    assert not (tmp_path / "project" / "engines").exists()
