"""Where sums of 8-bit weights overflow: one answer for what is made, taken from elsewhere, and rendered."""

from __future__ import annotations

from pathlib import Path

import pytest
from engine_projects import digits_project, int8, merged

from generator.engine.build.jobs import jobs_of
from generator.engine.build.lower import lowerer
from generator.engine.build.run import Builder
from generator.engine.compile import onnxruntime as processor
from generator.problems import ProblemsError
from generator.render.engines import engines_of
from generator.workspace import open_workspace


@pytest.mark.parametrize(
    ("target", "on_cuda", "vnni", "overflows"),
    [
        ("embedded", False, False, True),
        ("embedded", False, True, False),
        ("embedded", True, False, False),
        ("production", False, False, False),
    ],
)
def test_it_is_known_of_this_processor_alone(
    monkeypatch: pytest.MonkeyPatch, target: str, on_cuda: bool, vnni: bool, overflows: bool
) -> None:
    monkeypatch.setattr(processor, "has_vnni", lambda: vnni)
    assert processor.overflows_here(target, on_cuda=on_cuda) == overflows


@pytest.mark.parametrize("cuda", [False, True])
def test_a_bit_is_left_free_unless_a_gpu_runs_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cuda: bool) -> None:
    """On a GPU target, too, where the gate runs on this processor for want of one."""
    monkeypatch.setattr(processor, "has_vnni", lambda: False)
    monkeypatch.setattr(lowerer, "has_cuda", lambda: cuda)
    asked: list[bool] = []
    monkeypatch.setattr(
        "generator.engine.precision.quantized",
        lambda *_given, reduce_range: asked.append(reduce_range) or pytest.fail("it was asked"),
    )
    target = {"server": "26.07", "gpu": "h200", "engine": "onnxruntime"}
    project = digits_project(tmp_path / "p", merged(int8(), {"targets": {"production": target}}))
    [job] = jobs_of(open_workspace(project, target="production"))
    with pytest.raises(pytest.fail.Exception, match="it was asked"):
        Builder(project, lambda _text: None, until="precision").build(job)
    assert asked == [not cuda]


def test_what_was_built_for_another_processor_is_not_rendered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processor, "has_vnni", lambda: True)
    project = digits_project(tmp_path / "p", int8())
    work = open_workspace(project)
    [job] = jobs_of(work)
    [plan] = work.plans["embedded"]
    assert Builder(project, lambda _text: None).build(job).status == "installed"
    engines_of(plan, project)
    monkeypatch.setattr(processor, "has_vnni", lambda: False)
    with pytest.raises(ProblemsError, match="TK981"):
        engines_of(plan, project)
