"""Models without a batch axis, and scores in the place of labels: what they are judged by is item by item."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from generator.engine.build.jobs import jobs_of
from generator.engine.build.run import Builder, Outcome
from generator.project import Project
from generator.workspace import open_workspace

ITEMS, LENGTH, CLASSES = 120, 6, 4


def write_mlp(path: Path, *, batched: bool) -> None:
    """left [6] and right [6] are added and multiplied by a fixed matrix: y [4]."""
    weight = np.random.default_rng(1).standard_normal((LENGTH, CLASSES)).astype(np.float32)
    lead = ["batch"] if batched else []
    nodes = [
        helper.make_node("Add", ["left", "right"], ["sum"], name="add"),
        helper.make_node("Unsqueeze", ["sum", "axis"], ["row"], name="row"),
        helper.make_node("MatMul", ["row", "weight"], ["product"], name="product"),
        helper.make_node("Squeeze", ["product", "axis"], ["y"], name="y"),
    ]
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [*lead, LENGTH]) for n in ("left", "right")]
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, [*lead, CLASSES])
    axis = np.array([1 if batched else 0], np.int64)
    constants = [numpy_helper.from_array(weight, "weight"), numpy_helper.from_array(axis, "axis")]
    graph = helper.make_graph(nodes, "mlp", values, [result], constants)
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def project_of(root: Path, *, batched: bool, metric: str, **model: Any) -> Project:
    for name in ("specs", "models", "data"):
        (root / name).mkdir(parents=True)
    write_mlp(root / "models" / "mlp.onnx", batched=batched)
    random = np.random.default_rng(2)
    items = {name: random.standard_normal((ITEMS, LENGTH)).astype(np.float32) for name in ("left", "right")}
    weight = np.random.default_rng(1).standard_normal((LENGTH, CLASSES))
    labels = ((items["left"] + items["right"]) @ weight).argmax(axis=1)
    np.savez(root / "data" / "gate.npz", **items, labels=labels.astype(np.float64))
    others = {name: random.standard_normal((ITEMS, LENGTH)).astype(np.float32) for name in ("left", "right")}
    np.savez(root / "data" / "calibration.npz", **others)
    tensor = {"type": "fp32", "dims": [LENGTH]}
    spec = {
        "name": "mlp",
        "inputs": {"left": tensor, "right": tensor},
        "outputs": {"y": {"type": "fp32", "dims": [CLASSES]}},
        "model": {
            "onnx": "models/mlp.onnx",
            "accuracy": {"data": "data/gate.npz", "metric": metric, "floor": 0.95},
            "build": {"calibration": {"data": "data/calibration.npz"}},
            **model,
        },
        "batching": {"max_batch_size": 8 if batched else 0},
    }
    (root / "specs" / "mlp.yaml").write_text(json.dumps(spec))
    return Project(root)


def built(project: Project) -> Outcome:
    work = open_workspace(project)
    work.stop_on_errors()
    [job] = jobs_of(work)
    return Builder(project, lambda _text: None).build(job)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_without_a_batch_axis_each_item_is_one(tmp_path: Path, precision: str) -> None:
    outcome = built(project_of(tmp_path / "p", batched=False, metric="cosine", precision=precision))
    assert outcome.status == "installed", outcome.problems
    assert outcome.installed is not None
    manifest = outcome.installed.manifest
    assert manifest["gate"]["items"] == ITEMS
    assert manifest["accuracy"]["metric"]["items"] == ITEMS
    output = manifest["accuracy"]["comparison"]["outputs"]["y"]
    # Of single numbers a cosine would be 1 or -1.
    assert (output["cosine_least"] == pytest.approx(1.0, abs=1e-12)) == (precision == "fp32")
    if precision == "int8":
        assert manifest["calibration"]["samples"] == ITEMS


def test_without_a_batch_axis_a_bad_engine_is_refused_and_a_layer_blamed(tmp_path: Path) -> None:
    accuracy = {"data": "data/gate.npz", "metric": "cosine", "floor": 0.95, "min_snr_db": 90}
    outcome = built(project_of(tmp_path / "p", batched=False, metric="", precision="int8", accuracy=accuracy))
    assert outcome.status == "refused"
    [problem] = [problem for problem in outcome.problems if problem.code == "TK974"]
    assert "product" in problem.hint


def test_of_scores_the_largest_is_the_label(tmp_path: Path) -> None:
    outcome = built(project_of(tmp_path / "p", batched=True, metric="top1"))
    assert outcome.status == "installed", outcome.problems
    assert outcome.installed is not None
    assert outcome.installed.manifest["accuracy"]["metric"]["value"] == 1.0
