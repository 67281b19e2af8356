"""Engines that instances share: built for the batches of several of them together."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx
import pytest
from engine_projects import digits_graph, digits_project, int8, merged, model

from generator.engine.build.candidates.profiles import profiles_of
from generator.engine.build.candidates.speed import sizes_of
from generator.engine.build.jobs import Job, jobs_of
from generator.engine.build.run import Builder
from generator.engine.compile.base import ShapeRange
from generator.engine.errors import StageError
from generator.engine.install.request import differences
from generator.workspace import open_workspace

FUSED = {"layout": "fused", "instances": [{"kind": "gpu", "count": 4}]}


def job_of(root: Path, changes: Mapping[str, Any], target: str = "production") -> Job:
    targets = {"targets": {"production": {"server": "26.07", "gpu": "h200", "engine": "tensorrt"}}}
    work = open_workspace(digits_project(root, merged(merged(FUSED, targets), changes)), target=target)
    work.stop_on_errors()
    [job] = jobs_of(work)
    return job


def shared(*buckets: int, **more: Any) -> dict[str, Any]:
    return model(buffers={"process": "shared", "buckets": list(buckets)}, **more)


def test_the_profile_reaches_the_last_bucket_and_is_best_there(tmp_path: Path) -> None:
    job = job_of(tmp_path / "p", shared(32, 64, 128))
    assert job.request["batch"] == {"min": 1, "opt": 128, "max": 128, "preferred": [8, 16, 32]}
    [profile] = profiles_of(job, onnx.load_from_string(digits_graph()))
    assert profile == {"pixels": ShapeRange((1, 1, 8, 8), (128, 1, 8, 8), (128, 1, 8, 8))}
    assert sizes_of(job) == [1, 8, 16, 32, 128]


def test_an_engine_for_larger_batches_is_another_and_for_the_same_ones_the_same(tmp_path: Path) -> None:
    own = job_of(tmp_path / "own", {})
    same, larger = job_of(tmp_path / "same", shared(8, 32)), job_of(tmp_path / "larger", shared(8, 32, 64))
    assert same.key == own.key
    assert larger.key != own.key
    assert differences(own.request, larger.request) == ["batch.opt: 32, now 64", "batch.max: 32, now 64"]


def given(most: int) -> list[dict[str, Any]]:
    ends = {"min": 1, "opt": most, "max": most}
    return [{end: {"pixels": [size, 1, 8, 8]} for end, size in ends.items()}]


def test_profiles_of_the_specs_own_have_to_take_the_last_bucket(tmp_path: Path) -> None:
    job = job_of(tmp_path / "short", shared(32, 64, build={"profiles": given(32)}))
    with pytest.raises(StageError) as caught:
        profiles_of(job, onnx.load_from_string(digits_graph()))
    [finding] = caught.value.findings
    assert (finding.code, finding.about) == ("TK989", "build.profiles")
    assert finding.message == "no profile takes batches of 33 to 64, and `buckets` end at 64"
    assert "end `buffers: {buckets: ...}` earlier" in finding.hint
    job = job_of(tmp_path / "long", shared(32, 64, build={"profiles": given(64)}))
    assert len(profiles_of(job, onnx.load_from_string(digits_graph()))) == 1


def test_the_gate_compares_a_batch_of_the_last_bucket(tmp_path: Path) -> None:
    """In eight bits on the CPU, where two instances of 32 share one session of ONNX Runtime for 64."""
    changes = merged(int8(), {**shared(32, 64), "layout": "fused", "instances": [{"kind": "cpu", "count": 2}]})
    work = open_workspace(digits_project(tmp_path / "p", changes))
    work.stop_on_errors()
    [job] = jobs_of(work)
    outcome = Builder(work.project, lambda _text: None).build(job)
    assert outcome.status == "installed", outcome.problems
    assert outcome.installed is not None
    compared = outcome.installed.manifest["accuracy"]["shapes"]
    assert [one["shapes"]["pixels"][0] for one in compared] == [1, 64]
