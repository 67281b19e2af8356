"""The ranges that a graph is lowered with: those of the 8 bits of each engine; and settings that lowering ignores."""

from __future__ import annotations

from pathlib import Path

import pytest
from engine_projects import digits_project, int8, merged, model

from generator.engine.build.candidates.profiles import profiles_of
from generator.engine.build.gate.judge import Judge
from generator.engine.build.jobs import jobs_of
from generator.engine.build.lower.lowerer import Lowerer
from generator.engine.build.lower.unused import unused_of_lowering
from generator.engine.cache import Cache
from generator.workspace import open_workspace


def lowerer(root: Path, method: str) -> Lowerer:
    calibration = {"samples": 40, "method": method}
    project = digits_project(root, merged(int8(), model(build={"calibration": calibration})))
    [job] = jobs_of(open_workspace(project))
    graph, data = job.read(project)
    return Lowerer(job, graph, Judge(job, data, project, profiles_of(job, graph)), project, Cache(root / "cache"))


def quiet(_text: str) -> None:
    """Progress."""


@pytest.mark.parametrize("method", ["entropy", "percentile"])
def test_two_engines_have_ranges_of_their_own_where_the_method_goes_by_their_steps(
    tmp_path: Path, method: str
) -> None:
    made = lowerer(tmp_path / "project", method)
    ours, theirs = made.ranges("onnxruntime", quiet), made.ranges("tensorrt", quiet)
    said = (False, True) if method == "entropy" else (None, None)
    assert (ours.facts.get("symmetric"), theirs.facts.get("symmetric")) == said
    assert (ours is theirs) is (method != "entropy")
    assert made.ranges("tensorrt", quiet) is theirs
    assert len(made.notes) == len(set(made.notes)), "what both say is said once"
    assert any("40 samples" in note.message for note in made.notes)


def test_settings_that_lowering_ignores(tmp_path: Path) -> None:
    build = {"keep": {"operators": ["Conv", "LSTM"]}, "mixed": True}
    project = digits_project(tmp_path / "project", model(precision="fp16", build=build))
    [job] = jobs_of(open_workspace(project))
    found = unused_of_lowering(job.program, {"Conv", "Gemm"})
    assert [(finding.code, finding.message) for finding in found] == [
        ("TK930", "`keep` names the operator LSTM, of which the graph has none"),
        ("TK993", "`mixed` is for int8, and the precision is fp16"),
    ]
