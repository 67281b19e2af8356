"""An engine that another tool made: through the same gate, served as right as it said; a bad one changes nothing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from engine_projects import PLACE, digits_graph, digits_project, files, int8, loud_channel, model, write_spec
from story_tools import Protocol, Running, gate, render_to, running, tritonkit

from generator.gate_set import top1
from generator.project import Project
from tritonkit import Pipeline
from tritonkit.client.contract import Contract

pytestmark = pytest.mark.server
# Int8, and not a word of how: whoever quantised it knows that.
ASKED = model(precision="int8", build=None)
BUILD_S = 240.0


def made(root: Path, graph: bytes) -> bytes:
    """`graph` in int8, by a tool that asks no gate."""
    project = digits_project(root, int8(calibration={"method": "minmax"}))
    (root / "models" / "digits.onnx").write_bytes(graph)
    done = tritonkit(project.root, "build", "--until", "compile", "--keep", "kept", timeout_s=BUILD_S)
    assert done.returncode == 0, done.stderr
    [file] = (root / "kept").rglob("int8-model.onnx")
    return file.read_bytes()


@dataclass(frozen=True)
class Taken:
    """A project whose engine came from elsewhere, that file, and the server of it."""

    project: Project
    theirs: Path
    served: Running


@pytest.fixture(scope="module")
def taken(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Taken]:
    root = tmp_path_factory.mktemp("taken")
    theirs = root / "theirs.onnx"
    theirs.write_bytes(made(root / "tool", digits_graph()))
    project = digits_project(root / "project", ASKED)
    done = tritonkit(project.root, "build", "specs/digits.yaml", "--from", str(theirs), timeout_s=BUILD_S)
    assert done.returncode == 0, done.stderr
    assert "digits_engine 1: installed in engines/embedded/digits_engine/1" in done.stderr
    with running(render_to(root / "repository", project)) as served:
        yield Taken(project, theirs, served)


def manifest(root: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads(root.joinpath(*PLACE, "engine.json").read_text())
    return found


def test_the_server_is_as_right_as_the_gate_said(taken: Taken, protocol: Protocol) -> None:
    metric = json.loads(json.dumps(manifest(taken.project.root)["accuracy"]))["metric"]
    assert metric["value"] >= 0.98
    data = gate("digits")
    contract = Contract.of_plan(taken.served.rendered.plans["digits"])
    address = taken.served.address(protocol)
    with Pipeline("digits", address, protocol=protocol, contract=contract) as pipeline:
        answers = pipeline.infer([item["image"] for item in data.items])
    assert top1([answer.label for answer in answers], data.labels) == metric["value"]


def test_it_is_that_file_that_is_served(taken: Taken) -> None:
    served = taken.served.rendered.repository / "digits_engine" / "1" / "model.onnx"
    assert served.read_bytes() == taken.theirs.read_bytes()


def test_the_list_says_where_it_is_from(taken: Taken) -> None:
    assert manifest(taken.project.root)["elsewhere"] == {"file": "theirs.onnx"}
    done = tritonkit(taken.project.root, "engines", "--check")
    assert (done.returncode, "onnxruntime int8, built elsewhere" in done.stdout) == (0, True)
    again = tritonkit(taken.project.root, "build")
    assert (again.returncode, "is what the spec asks for" in again.stderr) == (0, True)


@pytest.fixture
def root(taken: Taken, tmp_path: Path) -> Path:
    """A copy of the project, its engine in place."""
    shutil.copytree(taken.project.root, tmp_path / "project")
    return tmp_path / "project"


def test_a_bad_one_changes_nothing(root: Path, tmp_path: Path) -> None:
    before = files(root)
    bad = tmp_path / "bad.onnx"
    bad.write_bytes(made(tmp_path / "tool", loud_channel(digits_graph())))
    done = tritonkit(root, "build", "--from", f"digits_engine={bad}", timeout_s=BUILD_S)
    assert done.returncode == 1
    assert "error[TK972]" in done.stderr
    assert "Traceback" not in done.stderr
    assert files(root) == before
    assert tritonkit(root, "engines", "--check").returncode == 0


def test_what_is_no_engine_changes_nothing(root: Path, tmp_path: Path) -> None:
    before = files(root)
    text = tmp_path / "notes.onnx"
    text.write_text("the quantised model is on the other disk")
    other = Path(__file__).parents[2] / "models" / "photos.onnx"
    for file, said in (
        (text, "error[TK901]"), (other, "error[TK992]"), (tmp_path / "gone.onnx", "cannot be read"),
    ):  # fmt: skip
        done = tritonkit(root, "build", "--from", str(file))
        assert (done.returncode, said in done.stderr) == (1, True), done.stderr
        assert "Traceback" not in done.stderr
        assert files(root) == before


def test_when_the_spec_changes_it_is_stale(root: Path) -> None:
    write_spec(root, model(precision="int8", build=None, accuracy={"floor": 0.97}))
    [one] = json.loads(tritonkit(root, "engines", "--json").stdout)
    assert (one["state"], one["why"]) == ("stale", "accuracy.floor: 0.98, now 0.97")
    assert tritonkit(root, "render", "--target", "embedded").returncode == 1
