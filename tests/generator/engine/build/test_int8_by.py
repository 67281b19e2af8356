"""INT8 without Q/DQ, as TensorRT 8.6 knows it: by a calibration cache, tensor by tensor, or by its own calibration."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine_projects import digits_project, int8, merged
from pydantic import ValidationError

from generator.engine.build.lower.lowerer import _of_one_shape
from generator.engine.runner import Samples
from generator.spec.build import Build

Run = Callable[..., "subprocess.CompletedProcess[str]"]
PRODUCTION = {"targets": {"production": {"server": "25.03", "engine": "tensorrt", "gpu": "h200"}}}


def build(root: Path, command: Run, version: str, **more: Any) -> dict[str, Any]:
    """The outcome of the target with TensorRT."""
    digits_project(root, merged(PRODUCTION, int8(**more)))
    done = command(root, "build", "--target", "production", "--json", tensorrt=version)
    assert "Traceback" not in done.stderr
    [outcome] = json.loads(done.stdout)
    return dict(outcome)


def told(root: Path) -> dict[str, Any]:
    """What the stand-in's builder was told, and engine.json beside it."""
    folder = root / "engines" / "production" / "digits_engine" / "1"
    head = (folder / "model.plan").read_bytes()[4:].partition(b"\n")[0]
    return {**json.loads(head), "manifest": json.loads((folder / "engine.json").read_text())}


def test_as_a_calibration_cache(tmp_path: Path, command: Run) -> None:
    assert build(tmp_path / "p", command, "8.6.1", int8_by="calibration_cache")["status"] == "installed"
    seen = told(tmp_path / "p")
    assert seen["calibration"].startswith("TRT-8601-EntropyCalibration2\n")
    assert "pixels: " in seen["calibration"]
    assert seen["manifest"]["int8_by"] == "calibration_cache"
    assert seen["manifest"]["compiled"]["precision_from"] == "calibration cache"
    assert seen["manifest"]["calibration"]["method"] == "entropy"
    assert "quantised" not in seen["manifest"]


def test_tensor_by_tensor(tmp_path: Path, command: Run) -> None:
    assert build(tmp_path / "p", command, "8.6.1", int8_by="dynamic_range")["status"] == "installed"
    seen = told(tmp_path / "p")
    assert seen["calibration"] is None
    low, high = seen["ranges"]["pixels"]
    assert -low == high
    assert 0.5 < high <= 1
    assert seen["manifest"]["compiled"]["precision_from"] == "dynamic ranges"


def test_by_tensorrt_itself(tmp_path: Path, command: Run) -> None:
    assert build(tmp_path / "p", command, "8.6.1", int8_by="tensorrt")["status"] == "installed"
    seen = told(tmp_path / "p")
    assert (seen["calibration"], seen["ranges"]) == (None, {})
    assert seen["manifest"]["compiled"]["precision_from"] == "calibration"
    calibration = seen["manifest"]["calibration"]
    assert (calibration["file"], calibration["samples"]) == ("data/digits-calibration.npz", 512)
    assert calibration["method"] == "TensorRT's entropy"


def test_qdq_is_in_the_graph(tmp_path: Path, command: Run) -> None:
    assert build(tmp_path / "p", command, "8.6.1")["status"] == "installed"
    seen = told(tmp_path / "p")
    assert seen["manifest"]["compiled"]["precision_from"] == "graph and flags"
    assert "int8_by" not in seen["manifest"]
    # What each of its contexts takes on the GPU, for the memory plan: measured, and so in no hash.
    assert seen["manifest"]["measured"]["activation_bytes"] > 0
    assert [row["activation_bytes"] for row in seen["manifest"]["measured"]["tried"]] == [
        seen["manifest"]["measured"]["activation_bytes"]
    ]


@pytest.mark.parametrize(
    ("version", "by"), [("10.9.0", "calibration_cache"), ("11.4.0", "tensorrt"), ("", "tensorrt")]
)
def test_later_ones_need_qdq(tmp_path: Path, command: Run, version: str, by: str) -> None:
    outcome = build(tmp_path / "p", command, version, int8_by=by)
    [error] = [problem for problem in outcome["problems"] if problem["severity"] == "error"]
    assert (outcome["status"], error["code"]) == ("refused", "TK953")
    assert f"`int8_by: {by}` is for TensorRT 8.6 alone" in error["message"]
    assert "int8_by: qdq" in error["hint"]
    assert not (tmp_path / "p" / "engines").exists()


def test_where_another_engine_runs_it_counts_for_nothing(tmp_path: Path, command: Run) -> None:
    root = digits_project(tmp_path / "p", int8(int8_by="tensorrt")).root
    done = command(root, "build", "--json")
    [outcome] = json.loads(done.stdout)
    [note] = [problem for problem in outcome["problems"] if problem["code"] == "TK993"]
    assert (outcome["status"], note["severity"]) == ("installed", "note")
    assert "`int8_by` is for TensorRT in int8, and this target's engine is onnxruntime int8" in note["message"]


@pytest.mark.parametrize("by", ["calibration_cache", "dynamic_range", "tensorrt"])
@pytest.mark.parametrize(
    ("other", "named"),
    [
        ({"mixed": True}, "`mixed`"),
        ({"keep": {"last": 1}}, "`keep`"),
        ({"keep": {"nodes": ["a"]}, "mixed": True}, "`mixed` and `keep`"),
        ({"quantizer": "modelopt"}, "`quantizer: modelopt`"),
    ],
)
def test_layers_are_chosen_by_one_alone(by: str, other: dict[str, Any], named: str) -> None:
    with pytest.raises(
        ValidationError, match=f"with `int8_by: {by}` TensorRT itself chooses the layers, and {named} "
    ):
        Build.model_validate({"int8_by": by, **other})
    assert Build.model_validate({"int8_by": "qdq", **other})


def test_the_spec_says_where_it_is_wrong(tmp_path: Path, command: Run) -> None:
    root = digits_project(tmp_path / "p", int8(int8_by="tensorrt", mixed=True)).root
    done = command(root, "build")
    assert done.returncode == 1
    lines = (root / "specs" / "digits.yaml").read_text().splitlines()
    assert f"specs/digits.yaml:{lines.index('  build:') + 2}:5: model.build\n" in done.stderr
    assert "`mixed` needs Q/DQ: say `int8_by: qdq`, or remove the other" in done.stderr


def test_batches_of_the_commonest_shape() -> None:
    batches = [{"x": np.full((size, 2), number, np.float32)} for number, size in enumerate((3, 8, 8, 5, 8, 3))]
    chosen = _of_one_shape(Samples(tuple(batches), ""))
    assert [batch["x"][0, 0] for batch in chosen] == [1, 2, 4]
    assert [batch["x"].shape for batch in _of_one_shape(Samples(tuple(batches[:2]), ""))] == [(3, 2)]
