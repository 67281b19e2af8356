"""How often the gate runs what it needs: the pipeline once an engine, FP32 once a batch, a search once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine_projects import digits_graph, digits_project, model

from generator.engine import runner as runners
from generator.engine.build.candidates.profiles import profiles_of
from generator.engine.build.gate.judge import Judge
from generator.engine.build.gate.pipeline import Pipeline, sha256_of_tensors
from generator.engine.build.gate.reference import Reference
from generator.engine.build.jobs import jobs_of
from generator.engine.build.lower import lowerer
from generator.engine.cache import Cache
from generator.engine.runner import OnnxRunner
from generator.workspace import open_workspace


def pixels(seed: int, items: int = 3) -> dict[str, np.ndarray[Any, Any]]:
    return {"pixels": np.random.default_rng(seed).random((items, 1, 8, 8), dtype=np.float32)}


def counted(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> list[str]:
    """Calls of a method from now on, one entry each."""
    calls: list[str] = []
    before = getattr(owner, name)

    def method(self: Any, *arguments: Any, **named: Any) -> Any:
        calls.append(name)
        return before(self, *arguments, **named)

    monkeypatch.setattr(owner, name, method)
    return calls


def test_each_batch_is_run_once_and_right(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = OnnxRunner(digits_graph(), threads=1)
    loads, runs = (counted(monkeypatch, runners.OnnxRunner, name) for name in ("__init__", "run"))
    reference = Reference(digits_graph())
    assert (loads, runs) == ([], [])
    for seed in (0, 1, 0, 1):
        [given] = reference.run(pixels(seed)).values()
        [right] = plain._session.run(None, pixels(seed))
        assert np.array_equal(given, right)
    assert (len(loads), len(runs)) == (1, 2)
    reference.close()
    reference.close()
    reference.run(pixels(1))
    assert (len(loads), len(runs)) == (1, 2)
    reference.run(pixels(2))
    assert (len(loads), len(runs)) == (2, 3)


def test_a_batch_that_fails_fails_again() -> None:
    reference = Reference(digits_graph())
    for _ in range(2):
        with pytest.raises(Exception, match="pixels"):
            reference.run({"pixels": np.zeros((1, 1, 9, 9), np.float32)})


def test_a_search_runs_the_pipeline_once_a_trial_and_loads_fp32_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = digits_project(tmp_path / "p", model(precision="int8"))
    [job] = jobs_of(open_workspace(project))
    graph, data = job.read(project)
    judge = Judge(job, data, project, profiles_of(job, graph))
    candidate = OnnxRunner(data, threads=1)
    loads, runs = counted(monkeypatch, runners.OnnxRunner, "__init__"), counted(monkeypatch, Pipeline, "run")
    for trial in (1, 2, 3):
        assert judge.is_good(candidate, "int8")
        assert (len(loads), len(runs)) == (1, trial)
    again = judge.verdict(candidate, "int8")
    assert again.passed
    assert (len(loads), len(runs)) == (1, 4)


class Interrupted:
    """An engine that somebody interrupts after `most` runs."""

    def __init__(self, engine: OnnxRunner, most: int) -> None:
        self.engine, self.most, self.runs = engine, most, 0

    def run(self, tensors: Any) -> Any:
        if self.runs == self.most:
            raise KeyboardInterrupt
        self.runs += 1
        return self.engine.run(tensors)

    def close(self) -> None:
        self.engine.close()


def test_fp32_is_closed_whatever_ends_a_verdict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = digits_project(tmp_path / "p", model())
    [job] = jobs_of(open_workspace(project))
    graph, data = job.read(project)
    judge = Judge(job, data, project, profiles_of(job, graph))
    of_the_pipeline = Interrupted(OnnxRunner(data, threads=1), -1)
    judge._compared(of_the_pipeline, "fp32")
    loads, closes = (counted(monkeypatch, runners.OnnxRunner, name) for name in ("__init__", "close"))
    engine = Interrupted(of_the_pipeline.engine, of_the_pipeline.runs)
    with pytest.raises(KeyboardInterrupt):
        judge.verdict(engine, "fp32")
    assert (len(loads), len(closes)) == (1, 1)


def test_texts_that_only_join_to_the_same_are_told_apart() -> None:
    one, other = (np.array([[text] for text in texts], dtype=np.object_) for texts in ([b"a\0", b""], [b"a", b"\0"]))
    assert sha256_of_tensors([{"text": one}]) != sha256_of_tensors([{"text": other}])
    assert sha256_of_tensors([{"text": one}]) == sha256_of_tensors([{"text": one.copy()}])


def test_a_search_is_made_again_when_the_gates_rules_are_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mixed = {"mixed": True, "calibration": {"data": "data/digits-calibration.npz"}}
    project = digits_project(tmp_path / "p", model(precision="int8", build=mixed))
    [job] = jobs_of(open_workspace(project))
    graph, data = job.read(project)
    judge = Judge(job, data, project, profiles_of(job, graph))
    trials = counted(monkeypatch, Judge, "is_good")
    made = []
    for rules, searched in ((1, True), (1, False), (2, True)):
        monkeypatch.setattr(lowerer, "FORMAT", rules)
        trials.clear()
        again = lowerer.Lowerer(job, graph, judge, project, Cache(tmp_path / "cache"))
        made.append(again.lower("onnxruntime", "int8", lambda _text: None).graph)
        assert bool(trials) == searched
    assert made[0] == made[1] == made[2]
