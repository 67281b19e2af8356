"""Layout `fused` on a GPU with the arithmetic next to the engine in its graph: the graph of `folded`, the same answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from generator.plan import EngineProgram, Plan
from generator.problems import Severity
from generator.project import Project
from generator.resolve.other_layout import in_layout
from generator.resolve.show import as_yaml, full_spec
from generator.workspace import Workspace, open_workspace, render_trees
from generator_projects import SHORT, make_project
from tritonkit_runtime import parameters
from tritonkit_runtime.batch import Tensors, concatenate
from tritonkit_runtime.programs import Program

ROOT = Path(__file__).parents[3]
FUSED = SHORT.replace("gpu: h200}", "gpu: h200, layout: fused}")
FOLD = FUSED.replace("models/net.onnx}", "models/net.onnx, buffers: {fold: true}}")


def opened(root: Path, spec: str) -> Workspace:
    work = open_workspace(make_project(root / "project", {"spec": spec}), target="production")
    work.stop_on_errors()
    return work


def stages(work: Workspace) -> list[dict[str, Any]]:
    """What the runtime is told."""
    [tree] = render_trees(work)
    found: list[dict[str, Any]] = json.loads(tree.files["small/1/tritonkit.json"])["program"]["stages"]
    return found


def graph_of(plan: Plan) -> str:
    [engine] = plan.engines()
    assert isinstance(engine.part.program, EngineProgram)
    return engine.part.program.versions[0].sha256


def test_bytes_go_in_and_small_answers_come_out(tmp_path: Path) -> None:
    before, engine, after = stages(opened(tmp_path, FOLD))
    assert [step["step"] for step in before["program"]["steps"]] == ["decode", "resize"]
    assert [step["step"] for step in after["program"]["steps"]] == ["labels"]
    assert engine["inputs"] == [{"name": "pixels", "dtype": "UINT8", "dims": [8, 8, 1]}]
    assert [(t["dtype"], t["dims"]) for t in engine["outputs"]] == [("INT32", [3]), ("FP32", [3])]
    assert "fold" not in engine["program"]["buffers"], "the runtime has nothing to do about it"


def test_the_graph_is_that_of_layout_folded(tmp_path: Path) -> None:
    work = opened(tmp_path, FOLD)
    [resolved] = work.resolved["production"]
    folded = in_layout(resolved.spec, resolved.plan, "folded", work.project).plan
    plain = opened(tmp_path / "plain", FUSED).plans["production"][0]
    assert graph_of(resolved.plan) == graph_of(folded) != graph_of(plain)


def test_the_full_form_says_it_and_is_the_same_again(tmp_path: Path) -> None:
    work = opened(tmp_path, FOLD)
    [resolved] = work.resolved["production"]
    text = as_yaml(full_spec(resolved.spec, resolved.expanded, resolved.plan), resolved.plan)
    assert "fold: true" in text
    assert (
        "# In the graph of `engine`: normalize -> channels_first before pixels, softmax -> top_k after logits."
        in text
    )
    again = opened(tmp_path / "again", text)
    assert stages(again) == stages(work)


@pytest.mark.parametrize("preprocess", ["gpu", "auto"])
def test_a_kernel_does_the_rest(tmp_path: Path, preprocess: str) -> None:
    spec = FOLD.replace("fold: true", f"fold: true, preprocess: {preprocess}")
    before, engine, _ = stages(opened(tmp_path, spec))
    assert [step["step"] for step in before["program"]["steps"]] == ["decode", "resize"]
    assert engine["program"]["buffers"]["preprocess"] == preprocess


def test_an_engine_without_arithmetic_beside_it_is_told(tmp_path: Path) -> None:
    spec = """\
        name: small
        inputs: {pixels: {type: fp32, dims: [1, 8, 8]}}
        outputs: {logits: {type: fp32, dims: [10]}}
        model: {onnx: models/net.onnx, buffers: {fold: true}}
        layout: fused
        targets: {production: {server: "26.07", engine: tensorrt, precision: fp16, gpu: h200}}
    """
    [note] = [problem for problem in opened(tmp_path, spec).problems if problem.code == "TK920"]
    assert note.severity is Severity.NOTE
    assert note.message.startswith("`fold` finds no arithmetic step next to an engine")
    assert note.hint == "remove it"


def answers(root: Path, spec: str) -> Tensors:
    """Of the digits' rendered program, whose engine runs in plain memory instead of on a GPU."""
    project = Project(root)
    (root / "specs").mkdir(parents=True)
    for name in ("models", "data"):
        (root / name).symlink_to(ROOT / name)
    (root / "specs" / "digits.yaml").write_text(spec)
    work = open_workspace(project, target="production")
    work.stop_on_errors()
    [tree] = render_trees(work)
    folder = root / "rendered"
    for name, data in tree.files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    program = Program(parameters.load(folder / "digits" / "1"), folder / "digits" / "1", print)
    with np.load(ROOT / "data" / "digits-gate.npz") as data:
        images = data["image"][:40]
    sent = [np.array([[cv2.imencode(".png", image)[1].tobytes()]], object) for image in images]
    batches = [concatenate([{"image": item} for item in sent[at : at + 8]]) for at in range(0, 40, 8)]
    found = [program.run(batch) for batch in batches]
    program.close()
    return {name: np.concatenate([part[name] for part in found]) for name in found[0]}


def test_the_answers_are_those_without(tmp_path: Path) -> None:
    text = (ROOT / "specs" / "digits.yaml").read_text()
    fused = text.replace("layout: ensemble", "layout: fused").split("\ntargets:")[0]
    fused += '\ntargets: {production: {server: "26.07", engine: onnxruntime, gpu: h200}}\n'
    folded = fused.replace("onnx: models/digits.onnx", "onnx: models/digits.onnx\n  buffers: {fold: true}")
    assert folded != fused
    plain, in_graph = answers(tmp_path / "plain", fused), answers(tmp_path / "folded", folded)
    np.testing.assert_array_equal(plain["label"], in_graph["label"])
    np.testing.assert_allclose(plain["score"], in_graph["score"], rtol=0, atol=1e-6)
