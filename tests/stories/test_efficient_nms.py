"""A detector whose suppression TensorRT's plugin shall do: one spec, built here for one target, prepared for the other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import onnx
from detector_projects import detector_project, detector_spec
from story_tools import tritonkit

BUILD_S = 240.0
AT = Path("detector_engine", "1")


def told(root: Path, *arguments: str) -> list[dict[str, Any]]:
    done = tritonkit(root, "build", "--json", *arguments, timeout_s=BUILD_S)
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def operators(file: Path) -> list[str]:
    model = onnx.load(file)
    onnx.checker.check_model(model)
    return [node.op_type for node in model.graph.node]


def test_one_spec_for_a_laptop_and_a_gpu(tmp_path: Path) -> None:
    root = tmp_path / "project"
    detector_project(root)
    first = {job["target"]: job for job in told(root)}
    assert {name: job["status"] for name, job in first.items()} == {"embedded": "installed", "production": "prepared"}

    manifest = json.loads(root.joinpath("engines", "embedded", AT, "engine.json").read_text())
    assert (manifest["engine"], manifest["accuracy"]["passed"]) == ("onnxruntime", True)
    assert "nms" not in manifest  # the operator is ONNX's own there

    prepared = root.joinpath("build", "engines", "prepared", "production", AT)
    assert operators(prepared / "model.onnx").count("EfficientNMS_TRT") == 1
    assert "NonMaxSuppression" not in operators(prepared / "model.onnx")
    for name in ("build.sh", "job.yaml"):  # trtexec brings the plugin
        assert "lugins" not in (prepared / name).read_text()
    outputs = {value.name for value in onnx.load(prepared / "model.onnx").graph.output}

    (root / "specs" / "detector.yaml").write_text(detector_spec({"model": {"build": {"nms": "standard"}}}))
    [second] = told(root, "--target", "production")
    assert second["status"] == "prepared"
    assert "NonMaxSuppression" in operators(prepared / "model.onnx")
    assert outputs == {value.name for value in onnx.load(prepared / "model.onnx").graph.output}


def test_a_layout_in_which_it_says_nothing(tmp_path: Path) -> None:
    root = tmp_path / "project"
    detector_project(root, {"layout": "ensemble"})
    done = tritonkit(root, "build")
    assert done.returncode == 1
    assert "error[TK926]: specs/detector.yaml" in done.stderr
    assert "say `layout: folded`, or remove it" in done.stderr
    assert "Traceback" not in done.stderr
