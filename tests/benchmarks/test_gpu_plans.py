"""What gpu_plans.py makes plans of, as far as it shows without a GPU."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import gpu_plans
import gpu_served_graphs as graphs
import numpy as np
import pytest

from generator.engine.compile.base import Compiled, Progress, Settings
from generator.engine.errors import Finding, StageError
from generator.engine.runner import OnnxRunner


def test_texts_are_told_apart_by_random_weights() -> None:
    """The served benchmark takes an answer for wrong when its cosine is off by a thousandth."""
    runner = OnnxRunner(gpu_plans.embeddings(), threads=1)
    found = runner.run(graphs.texts(3, 15))["embedding"].astype(np.float64)
    runner.close()
    assert np.linalg.norm(found, axis=1) == pytest.approx(1, abs=1e-4)
    assert (found @ found.T - np.eye(3)).max() < 0.99


class Fake:
    """Makes a plan that says what it was made with."""

    seconds = 1.0
    fails = ""

    def __init__(self, limit_s: float) -> None:
        assert limit_s > 60

    def compile(self, graph: bytes, settings: Settings, progress: Progress) -> Compiled:
        assert settings.precision == "fp16"
        if graph == Fake.fails.encode():
            raise StageError(Finding("TK955", "no plan", "ask again", "engine"))
        return Compiled("model.plan", b"of " + graph, {}, (settings.timing_cache or b"") + b"+" + graph)


def made(folder: Path, monkeypatch: pytest.MonkeyPatch, *more: str) -> int:
    monkeypatch.setattr("gpu_plans.TensorRT", Fake)
    whole = gpu_plans.all_of(128)
    short = {name: replace(one, make=lambda name=name: name.encode()) for name, one in whole.items()}
    monkeypatch.setattr("gpu_plans.all_of", lambda _: short)
    monkeypatch.setattr("sys.argv", ["gpu_plans.py", str(folder), *more])
    return gpu_plans.main()


def test_timings_of_one_build_help_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert made(tmp_path, monkeypatch) == 0
    assert (tmp_path / "folded.plan").read_bytes() == b"of folded"
    assert (tmp_path / "folded.cache").read_bytes() == b"+plain+folded"
    assert (tmp_path / "texts.cache").read_bytes() == b"+texts"
    assert {file.name for file in tmp_path.glob("*.onnx")} == {"resnet50.fp32.onnx", "embeddings.fp32.onnx"}


def test_a_build_that_fails_stops_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Fake, "fails", "plain")
    assert made(tmp_path, monkeypatch, "--only", "plain,texts") == 1
    assert "TK955" in (tmp_path / "plain.json").read_text()
    assert {file.name for file in tmp_path.glob("*.plan")} == {"texts.plan"}
