"""`tritonkit build` on bad input: one clear sentence with its code, exit 1, and engines/ as it was."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from cli_session import At, Ended
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
    write_spec,
)

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
    "no gate set": ({}, lambda root: (root / GATE).unlink(), "TK201", "no file `data/digits-gate.npz`"),
    "a node that is not there": (int8(keep={"nodes": ["conv_1"]}), lambda root: None, "TK930", "no node `conv_1`"),
}  # fmt: skip


@pytest.fixture(scope="module")
def fp16(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose engine was built in FP16."""
    import tritonkit.cli

    project = digits_project(tmp_path_factory.mktemp("fp16") / "project", model(precision="fp16"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project.root)
        assert tritonkit.cli.main(["build"]) == 0
    return project.root


def refused(ended: Ended, code: str, words: str) -> None:
    assert ended.status == 1, ended.err
    assert f"error[{code}]: specs/" in ended.err
    assert re.search(words, ended.err)
    assert "Traceback" not in ended.err


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


# Against an earlier one ------------------------------------------------------------------------------------


def test_what_is_worse_than_before_is_refused(fp16: Path, at: At, tmp_path: Path) -> None:
    session = at(fp16)
    before = files(fp16)
    old = json.loads(before["engines/embedded/digits_engine/1/engine.json"])
    same = tmp_path / "same.json"
    same.write_text(json.dumps({**old, "measured": {**old["measured"], "latency_us": {}}}))
    assert session.quietly("build", "--compare", str(same)).status == 0
    quicker = {
        size: {key: value / 100 for key, value in of.items()} for size, of in old["measured"]["latency_us"].items()
    }
    better = tmp_path / "better.json"
    better.write_text(json.dumps({
        **old, "measured": {**old["measured"], "latency_us": quicker},
        "accuracy": {**old["accuracy"], "metric": {**old["accuracy"]["metric"], "value": 1.01}},
    }))  # fmt: skip
    before = files(fp16)
    ended = session.quietly("build", "--compare", str(better))
    assert ended.status == 1
    assert "accuracy fell from 1.0100 to 0.9972, by more than 0.005" in ended.err
    assert ended.err.count("error[TK986]") == 1 + len(quicker)
    assert "10% is allowed" in ended.err
    assert files(fp16) == before
    ended = session.quietly("build", "--compare", str(better), "--max-slower", "100000", "--max-drop", "0.02")
    assert ended.status == 0, ended.err


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "cannot be read"),
        ("{", "is no engine.json"),
        ("[]", "is no engine.json"),
        ("{}", "it has no `measured`"),
    ],
)
def test_what_is_no_manifest_cannot_be_compared_with(
    fp16: Path, at: At, tmp_path: Path, text: str | None, words: str
) -> None:
    file = tmp_path / "old.json"
    if text is not None:
        file.write_text(text)
    ended = at(fp16).quietly("build", "--compare", str(file))
    assert (ended.status, ended.out) == (1, "")
    assert words in ended.err


# What there is ---------------------------------------------------------------------------------------------


def states(ended: Ended) -> dict[str, str]:
    return {one["model"]: one["state"] for one in json.loads(ended.out)}


def test_edits_make_an_engine_stale_and_render_refuses_it(at: At, tmp_path: Path) -> None:
    project = digits_project(tmp_path / "project", model(precision="fp16"))
    session = at(project.root)
    assert states(session.quietly("engines", "--json")) == {"digits_engine": "not built"}
    assert session.quietly("engines", "--check").status == 1
    ended = session.quietly("render")
    refused(ended, "TK980", "runs in fp16, and it is not built")
    assert "`tritonkit build" in ended.err
    assert session.quietly("build").status == 0
    assert states(session.quietly("engines", "--json")) == {"digits_engine": "current"}
    assert session.quietly("engines", "--check").status == 0
    assert session.quietly("render").status == 0
    rendered = project.root / "model_repository" / "embedded" / "digits_engine" / "1" / "model.onnx"
    engine = project.root / "engines" / "embedded" / "digits_engine" / "1" / "model.onnx"
    assert rendered.read_bytes() == engine.read_bytes()

    for changes, words in (
        (model(precision="fp16", build={"keep": {"first": 1}}), "build.keep.first: not given, now 1"),
        (model(precision="fp16", accuracy={"floor": 0.9}), "accuracy.floor: 0.98, now 0.9"),
        ({**model(precision="fp16"), "batching": {"max_batch_size": 16, "preferred": []}}, "batch.max: 32, now 16"),
    ):
        write_spec(project.root, changes)
        ended = session.quietly("engines")
        assert "stale" in ended.out
        assert words in " ".join(ended.out.split())
        ended = session.quietly("render")
        refused(ended, "TK981", "was built before something changed")
        assert "`tritonkit build" in ended.err
        assert session.quietly("engines", "--check").status == 1

    write_spec(project.root, model(precision="fp16"))
    (project.root / GATE).write_bytes((project.root / GATE).read_bytes() + b"\0")
    assert "the gate set changed" in " ".join(session.quietly("engines").out.split())


def test_damage_is_found(at: At, tmp_path: Path) -> None:
    project = digits_project(tmp_path / "project", model(precision="fp16"))
    session = at(project.root)
    assert session.quietly("build").status == 0
    engine = project.root / "engines" / "embedded" / "digits_engine" / "1" / "model.onnx"
    whole = engine.read_bytes()
    for spoil in (lambda: engine.write_bytes(whole[:-1] + b"\0"), engine.unlink):
        spoil()
        assert states(session.quietly("engines", "--json")) == {"digits_engine": "damaged"}
        assert session.quietly("engines", "--check").status == 1
        ended = session.quietly("render")
        refused(ended, "TK982", "of the engine of `digits_engine`, model.onnx")
        assert "`tritonkit build" in ended.err
    ended = session.quietly("build")
    assert ended.status == 0
    assert engine.read_bytes() == whole
    assert session.quietly("engines", "--check").status == 0


def test_what_no_spec_asks_for_is_left_over(at: At, tmp_path: Path) -> None:
    project = digits_project(tmp_path / "project", model(precision="fp16"))
    session = at(project.root)
    assert session.quietly("build").status == 0
    write_spec(project.root, {"name": "figures", **model(precision="fp16")})
    assert states(session.quietly("engines", "--json")) == {
        "figures_engine": "not built",
        "digits_engine": "left over",
    }
