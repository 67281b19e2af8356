"""Engines of one pipeline: judged as they are served, beside each other."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from generator.engine.build.jobs import jobs_of
from generator.engine.build.run import Builder, Outcome
from generator.engine.install.store import installed
from generator.engine.install.write import install, manifest_of
from generator.project import Project
from generator.workspace import open_workspace

CLONE = Path(__file__).parents[4]
DETECTOR = ("embedded", "canvas_detector", 1)


def canvas_in_fp16(root: Path) -> Project:
    for name in ("models", "data", "steps"):
        shutil.copytree(CLONE / name, root / name, ignore=shutil.ignore_patterns("embeddings*", "__pycache__"))
    (root / "specs").mkdir()
    text = (CLONE / "specs" / "canvas.yaml").read_text(encoding="utf-8")
    for file in ("models/canvas_detector.onnx", "models/digits_crops.onnx"):
        text = text.replace(f"onnx: {file}", f"onnx: {file}\n    precision: fp16")
    (root / "specs" / "canvas.yaml").write_text(text, encoding="utf-8")
    return Project(root)


def build(project: Project, key: str) -> Outcome:
    [job] = [job for job in jobs_of(open_workspace(project, target="embedded")) if job.model.key == key]
    return Builder(project, lambda _text: None, force=True).build(job)


def without_boxes(graph: bytes) -> bytes:
    """The same network, whose boxes all are the whole canvas's corner."""
    model = onnx.load_model_from_string(graph)
    output = next(value for value in model.graph.output if value.name == "boxes")
    for node in model.graph.node:
        for index, name in enumerate(node.output):
            if name == output.name:
                node.output[index] = "right"
    nothing = numpy_helper.from_array(np.zeros((), np.float32), "nothing")
    model.graph.initializer.append(nothing)
    model.graph.node.append(helper.make_node("Mul", ["right", "nothing"], [output.name], name="planted"))
    data: bytes = model.SerializeToString()
    return data


def test_an_engine_is_judged_beside_the_others_as_they_are_served(tmp_path: Path) -> None:
    project = canvas_in_fp16(tmp_path / "p")
    assert build(project, "detector").status == "installed"
    fine = build(project, "classifier")
    assert fine.status == "installed", fine.problems
    assert fine.installed is not None
    assert list(fine.installed.manifest["gate"]["beside"]) == ["canvas_detector"]

    # Its own outputs are those for what FP32 gives it, whatever stands before it.
    [verdict] = [row.verdict for row in fine.rows if row.verdict is not None]
    (project.root / "engines" / "embedded" / "canvas_detector").rename(tmp_path / "kept")
    alone = build(project, "classifier")
    [other] = [row.verdict for row in alone.rows if row.verdict is not None]
    assert verdict.to_json()["comparison"] == other.to_json()["comparison"]
    assert alone.installed is not None
    assert "beside" not in alone.installed.manifest["gate"]
    (tmp_path / "kept").rename(project.root / "engines" / "embedded" / "canvas_detector")

    there = installed(project, *DETECTOR)
    assert there is not None
    broken = without_boxes((there.folder / "model.onnx").read_bytes())
    manifest = manifest_of(
        DETECTOR, there.key, there.manifest["request"], engine="onnxruntime", precision="fp16",
        file=("model.onnx", broken), facts={}, measured={},
    )  # fmt: skip
    install(project, DETECTOR, manifest, broken)
    refused = build(project, "classifier")
    assert refused.status == "refused"
    assert "TK972" in {problem.code for problem in refused.problems}
