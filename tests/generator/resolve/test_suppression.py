"""`build: {nms: efficient}`: where TensorRT's plugin has something to do, and where the spec is told that it has not."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from detector_projects import detector_project

from generator.engine.build.jobs import jobs_of
from generator.problems import Severity
from generator.workspace import Workspace, open_workspace

ON_ONNX_RUNTIME = {"server": "26.07", "engine": "onnxruntime", "precision": "fp32", "gpu": "h200"}


def opened(root: Path, changes: Mapping[str, Any] | None = None, target: str = "production") -> Workspace:
    return open_workspace(detector_project(root, changes), target=target)


def errors(work: Workspace) -> list[tuple[str, str, str]]:
    return [(p.code, p.field, p.message) for p in work.problems if p.severity is Severity.ERROR]


@pytest.mark.parametrize("target", ["production", "embedded"])
def test_one_spec_suits_both_targets(tmp_path: Path, target: str) -> None:
    assert errors(opened(tmp_path / "project", target=target)) == []


@pytest.mark.parametrize("engine", ["tensorrt", "auto"])
def test_a_layout_that_leaves_the_step_outside(tmp_path: Path, engine: str) -> None:
    work = opened(tmp_path / "project", {"layout": "ensemble", "targets": {"production": {"engine": engine}}})
    [(code, field, message)] = errors(work)
    assert (code, field) == ("TK926", "model.build.nms")
    assert "on target `production` the layout is `ensemble`" in message


def test_the_layout_of_the_target_counts(tmp_path: Path) -> None:
    changes = {"layout": "ensemble", "targets": {"production": {"layout": "folded"}}}
    for target in ("production", "embedded"):
        assert errors(opened(tmp_path / target, changes, target)) == []


def test_a_pipeline_without_the_step(tmp_path: Path) -> None:
    outputs = {
        "boxes": {"type": "fp32", "dims": [288, 4]}, "scores": {"type": "fp32", "dims": [288, 10]},
        "label": None, "score": None, "count": None,
    }  # fmt: skip
    work = opened(tmp_path / "project", {"postprocess": None, "outputs": outputs})
    [(code, field, message)] = errors(work)
    assert (code, field) == ("TK926", "model.build.nms")
    assert message.startswith("`nms: efficient` finds no step `nms` in the graph of `detector_engine`")


@pytest.mark.parametrize("target", ["production", "embedded"])
def test_a_spec_that_asks_for_tensorrt_nowhere(tmp_path: Path, target: str) -> None:
    work = opened(tmp_path / "project", {"targets": {"production": ON_ONNX_RUNTIME}}, target)
    [(code, field, message)] = errors(work)
    assert (code, field) == ("TK926", "model.build.nms")
    assert "`detector_engine` runs in TensorRT on no target" in message


def test_another_word(tmp_path: Path) -> None:
    [(code, field, message)] = errors(opened(tmp_path / "project", {"model": {"build": {"nms": "fast"}}}))
    assert (code, field) == ("TK124", "model.build.nms")
    assert "efficient" in message


def test_it_is_part_of_what_is_asked_for(tmp_path: Path) -> None:
    """An engine that was built with the other suppression is stale; one that never had the word is asked as before."""
    keys = {}
    for name, word in {"efficient": "efficient", "standard": "standard", "nothing": None}.items():
        [job] = jobs_of(opened(tmp_path / name, {"model": {"build": {"nms": word}}}))
        keys[name] = job.key
        assert job.request["build"].get("nms") == ("efficient" if word == "efficient" else None)
    assert keys["standard"] == keys["nothing"] != keys["efficient"]
