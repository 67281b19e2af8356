"""`tritonkit build` on bad input: one clear sentence with its code, exit 1, and engines/ as it was."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from cli_session import At, Session, refused
from engine_projects import (
    CLONE,
    digits_graph,
    digits_project,
    files,
    floats_project,
    int8,
    model,
    of_any_length,
    with_batch,
    with_custom_operator,
)

from generator.project import Project

GRAPH, GATE, OWN = "models/digits.onnx", "data/digits-gate.npz", "data/own.npz"
CALIBRATED = int8(calibration={"data": OWN})
Bad = Callable[[Path], object]


def gate_arrays() -> dict[str, Any]:
    with np.load(CLONE / GATE) as data:
        return {name: data[name] for name in ("image", "labels")}


def graph(data: bytes) -> Bad:
    return lambda root: (root / GRAPH).write_bytes(data)


def npz(name: str, **arrays: Any) -> Bad:
    return lambda root: np.savez(root / name, **arrays)


def without_its_weights(root: Path) -> None:
    made = onnx.load_from_string(digits_graph())
    onnx.save(made, str(root / GRAPH), save_as_external_data=True, location="weights.bin", size_threshold=0)
    (root / "models" / "weights.bin").unlink()


def images(*shape: int, dtype: Any = np.uint8) -> Any:
    return np.random.default_rng(0).integers(0, 255, shape).astype(dtype)


def other_labels(root: Path) -> None:
    np.savez(root / GATE, **{**gate_arrays(), "labels": gate_arrays()["labels"] + 100})


# Name → the change of the spec, what is done to the project, the code, and words of the message.
CASES: Mapping[str, tuple[Mapping[str, Any], Bad, str, str]] = {
    "half a graph": ({}, graph(digits_graph()[:100_000]), "TK202", "not an ONNX file, or a damaged one"),
    "no graph": ({}, graph(b"hello"), "TK202", "not an ONNX file"),
    "no external data": ({}, without_its_weights, "TK202", "second file"),
    "a custom operator": ({}, graph(with_custom_operator(digits_graph())), "TK905", "`com.acme` of `Sparkle sparkle`"),
    "no batch axis": ({}, graph(with_batch(digits_graph(), 1)), "TK205", "no batch axis"),
    "calibration of another shape": (CALIBRATED, npz(OWN, image=images(200, 8)), "TK991", r"uint8 \[200, 8\]"),
    "calibration of another type": (CALIBRATED, npz(OWN, image=images(200, 8, 8, dtype=np.float32)), "TK991", "float32"),
    "calibration of another name": (CALIBRATED, npz(OWN, photo=images(200, 8, 8)), "TK991", "no array `image`"),
    "no calibration items": (CALIBRATED, npz(OWN, image=images(0, 8, 8)), "TK940", "no calibration samples"),
    "no archive": (CALIBRATED, lambda root: (root / OWN).write_bytes(b"PK"), "TK991", "no .npz archive"),
    "no calibration file": (CALIBRATED, lambda root: None, "TK201", "there is no file `data/own.npz`"),
    "overlap": (CALIBRATED, npz(OWN, image=gate_arrays()["image"][:40]), "TK949", "40 of 40 calibration items"),
    "no calibration": (int8(calibration=None), lambda root: None, "TK990", "no `calibration` is given"),
    "a floor above FP32": (model(accuracy={"floor": 0.999}), lambda root: None, "TK971", "FP32 itself has top1 0.9972"),
    "no labels": ({}, npz(GATE, image=images(40, 8, 8)), "TK970", "no array `labels`"),
    "too few labels": ({}, npz(GATE, image=images(40, 8, 8), labels=np.zeros(5)), "TK970", "differ in length"),
    "images without pixels": ({}, npz(GATE, image=images(40, 8, 0), labels=np.zeros(40)), "TK970", r"uint8 \[40, 8, 0\]"),
    "images of two channels": ({}, npz(GATE, image=images(4, 8, 8, 2), labels=np.zeros(4)), "TK970", "1 or 3 channels"),
    "no plugin": (model(build={"plugins": ["plugins/x.so"]}), lambda root: None, "TK201", "no file `plugins/x.so`"),
    "a folder for a graph": (model(onnx="models"), lambda root: None, "TK201", "`models` is a folder"),
    "labels of other numbers": ({}, other_labels, "TK970", "none of the labels"),
    "no gate set": ({}, lambda root: (root / GATE).unlink(), "TK201", "no file `data/digits-gate.npz`"),
    "a node that is not there": (int8(keep={"nodes": ["conv_1"]}), lambda root: None, "TK930", "no node `conv_1`"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_bad_input_is_told_and_what_was_there_stays(fp16: Path, at: At, tmp_path: Path, case: str) -> None:
    changes, spoil, code, words = CASES[case]
    project = digits_project(tmp_path / "project", changes)
    before = files(fp16)
    for name, data in before.items():
        (project.root / name).parent.mkdir(parents=True, exist_ok=True)
        (project.root / name).write_bytes(data)
    spoil(project.root)
    refused(at(project.root).quietly("build"), code, words)
    assert files(project.root) == before


def test_a_graph_that_onnx_runtime_is_too_old_for(project: Project, session: Session) -> None:
    """Its FP32 is what a TensorRT plan is compared with; which releases it takes is asked of it alone."""
    file = project.root / "models" / "net.onnx"
    made = onnx.load(file)
    made.ir_version = int(onnx.IR_VERSION)
    onnx.save(made, file)
    try:
        onnxruntime.InferenceSession(made.SerializeToString())
        too_old = False
    except Exception as error:  # noqa: BLE001  (its own are of no public class)
        too_old = "IR version" in str(error)
    ended = session.quietly("build", "--target", "production", "--until", "validate")
    assert "Traceback" not in ended.err
    assert ("TK906" in ended.err) is too_old
    assert (f"does not take opset 17 and IR version {made.ir_version}" in ended.err) is too_old
    assert ended.status in {0, 1}


VALUES = np.random.default_rng(0).standard_normal((100, 8, 4)).astype(np.float32)
WITH_NAN = np.where(np.arange(100)[:, None, None] == 7, np.float32("nan"), VALUES)
AXES = {"axes": {"length": [1, 8, 32]}}
# Name → the model, what is in data/own.npz, the code, and words of the message.
FLOATS: Mapping[str, tuple[Mapping[str, Any], Any, str, str]] = {
    "no lengths": ({}, VALUES, "TK989", r"axis 1 of `values` \(`length`\) has any length"),
    "no such axis": ({"build": {"axes": {"lenght": [1, 2, 3]}}}, VALUES, "TK989", "no input .* has an axis `lenght`"),
    "falling lengths": ({"build": {"axes": {"length": [3, 2, 1]}}}, VALUES, "TK989", "fall: 3, 2, 1"),
    "calibration with NaN": ({"precision": "int8"}, WITH_NAN, "TK944", "`values` holds 32 values that are NaN"),
    "calibration of another length": ({"precision": "int8"}, VALUES[:, :, :3], "TK991", r"FP32 \[-1, 4\]"),
    "calibration in FP64": ({"precision": "int8"}, VALUES.astype(np.float64), "TK991", "float64"),
    "gate set with NaN": ({"accuracy": {"data": OWN, "metric": "cosine", "floor": 0.9}}, WITH_NAN, "TK970", "NaN"),
    "gate set of another rank": (
        {"accuracy": {"data": OWN, "metric": "cosine", "floor": 0.9}}, VALUES[:, 0], "TK970", r"\[100, 4\]",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", FLOATS)
def test_numbers_that_do_not_fit(at: At, tmp_path: Path, case: str) -> None:
    changes, values, code, words = FLOATS[case]
    build = changes.get("build", {**AXES, "calibration": {"data": OWN}} if changes else {})
    dims = {"values": [-1, 4], "mean": [4]}
    project = floats_project(tmp_path / "project", of_any_length(), dims, **{**changes, "build": build})
    np.savez(project.root / OWN, values=values)
    refused(at(project.root).quietly("build"), code, words)
    assert files(project.root) == {}


def test_a_place_that_cannot_be_written(at: At, tmp_path: Path) -> None:
    project = digits_project(tmp_path / "project")
    (project.root / "engines").write_text("a file, where a folder should be")
    refused(at(project.root).quietly("build"), "TK983", "cannot be written to .*Not a directory")
    assert (project.root / "engines").is_file()


# What it does ----------------------------------------------------------------------------------------------


def test_each_stage_can_be_the_last_and_looked_at(at: At, tmp_path: Path) -> None:
    project = digits_project(tmp_path / "project", int8(mixed=True))
    session = at(project.root)
    # Stage → what is new in the folder when it is the last one.
    stages = {
        "inspect": {"graph.onnx"},
        "calibrate": {"ranges.json"},
        "precision": {"onnxruntime-int8.onnx", "mixed.json", "mixed.svg"},
        "compile": {"int8-model.onnx"},
        "validate": {"verdicts.json"},
        "measure": {"tried.json"},
    }
    seen: set[str] = set()
    for stage, new in stages.items():
        folder = tmp_path / stage
        ended = session.quietly("build", "--until", stage, "--keep", str(folder), "--json")
        assert ended.status == 0, ended.err
        [outcome] = json.loads(ended.out)
        assert outcome["status"] == "looked"
        seen |= new
        assert {path.name for path in (folder / "embedded" / "digits_engine" / "1").iterdir()} == seen
    assert files(project.root) == {}


def test_a_second_build_is_current_and_does_nothing(fp16: Path, at: At) -> None:
    before = {path: path.stat().st_mtime_ns for path in (fp16 / "engines").rglob("*")}
    session = at(fp16)
    ended = session.quietly("build")
    assert (ended.status, ended.out) == (0, "")
    assert "is what the spec asks for: engines/embedded/digits_engine/1" in ended.err
    assert {path: path.stat().st_mtime_ns for path in (fp16 / "engines").rglob("*")} == before
    [told] = json.loads(session.quietly("build", "--json").out)
    assert (told["status"], told["engine"], told["precision"]) == ("current", "onnxruntime", "fp16")


def test_the_same_inputs_give_the_same_manifest(at: At, tmp_path: Path) -> None:
    manifests = []
    for name in ("one", "two"):
        project = digits_project(tmp_path / name, int8(mixed=True))
        assert at(project.root).quietly("build", "--force").status == 0
        place = project.root / "engines" / "embedded" / "digits_engine" / "1"
        manifest = json.loads((place / "engine.json").read_text())
        manifests.append({**manifest, "measured": None})
        assert list(manifest["measured"]) == ["latency_us", "tried", "chosen"]
    assert manifests[0] == manifests[1]


def test_a_cached_build_has_the_same_manifest_as_a_fresh_one(at: At, tmp_path: Path) -> None:
    project = digits_project(tmp_path / "project", int8(mixed=True))
    session = at(project.root)
    found = []
    for _ in range(2):
        assert session.quietly("build").status == 0
        before = files(project.root)
        found.append(json.loads(before["engines/embedded/digits_engine/1/engine.json"])["sha256"])
        for name in before:
            (project.root / name).unlink()
    assert found[0] == found[1]
    assert list((project.root / "build" / "engines" / "mixed").iterdir())


def test_a_small_gate_set_is_told_of(at: At, tmp_path: Path) -> None:
    project = digits_project(tmp_path / "project", model(precision="fp16", accuracy={"floor": 0.5}))
    few = {name: array[:1] for name, array in gate_arrays().items()}
    np.savez(project.root / GATE, **few)
    ended = at(project.root).quietly("build")
    assert ended.status == 0, ended.err
    assert "note[TK996]: specs/digits.yaml" in ended.err
    assert "the gate set has only 1 item" in " ".join(ended.err.split())


# Of a model's settings, what only TensorRT goes by -> the words of the note for ONNX Runtime.
OF_TENSORRT: Mapping[str, Mapping[str, Any]] = {
    "`plugins`": {"plugins": ["plugins/x.so"]},
    "`version_compatible`": {"version_compatible": True},
    "`nms`": {"nms": "efficient"},
}


@pytest.mark.parametrize("setting", OF_TENSORRT)
def test_a_setting_of_tensorrt_is_told_of_where_it_does_nothing(at: At, tmp_path: Path, setting: str) -> None:
    targets = {"production": {"server": "26.07", "engine": "tensorrt", "gpu": "h200"}}
    changes = {**model(precision="fp16", build=OF_TENSORRT[setting]), "targets": targets}
    project = digits_project(tmp_path / "project", changes)
    (project.root / "plugins").mkdir()
    (project.root / "plugins" / "x.so").write_bytes(b"a library")
    ended = at(project.root).quietly("build", "--target", "embedded")
    assert ended.status == 0, ended.err
    assert f"{setting}: for TensorRT alone, and this target's engine is onnxruntime" in ended.err


def test_a_note_on_the_precision_of_a_target_points_at_it(at: At, tmp_path: Path) -> None:
    targets = {"production": {"server": "26.07", "engine": "tensorrt", "precision": "fp16", "gpu": "h200"}}
    project = digits_project(tmp_path / "project", {**model(precision="fp32"), "targets": targets})
    made = onnx.load(project.root / GRAPH)
    for weights in made.graph.initializer:
        if weights.data_type == onnx.TensorProto.FLOAT:
            weights.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(weights) * 1e-7, weights.name))
    onnx.save(made, project.root / GRAPH)
    ended = at(project.root).quietly("build", "--target", "production", "--until", "inspect")
    text = (project.root / "specs" / "digits.yaml").read_text().splitlines()
    line = next(number for number, said in enumerate(text, 1) if said == "    precision: fp16")
    assert f"note[TK917]: specs/digits.yaml:{line}:" in ended.err
    assert "targets.production.precision" in ended.err
