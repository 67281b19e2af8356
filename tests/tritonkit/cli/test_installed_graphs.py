"""`inspect` and `profile` of a spec: the graph that an engine is made of, and with --installed the one that was built."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from cli_session import At, Session
from engine_projects import PLACE, digits_project, int8, merged, write_spec

from generator.engine.install.store import own_sha256

FOLDED = "normalize -> channels_first before pixels, softmax -> top_k after logits"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The digits in int8, built."""
    import subprocess
    import sys

    root = digits_project(tmp_path_factory.mktemp("built") / "project", int8()).root
    done = subprocess.run([str(Path(sys.executable).with_name("tritonkit")), "build"], cwd=root, timeout=120,
                          capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    return root


@pytest.fixture
def digits(built: Path, tmp_path: Path, at: At) -> Session:
    """A session in a copy of it."""
    return at(Path(shutil.copytree(built, tmp_path / "copy")))


def told(session: Session, *arguments: str) -> dict[str, Any]:
    """The only graph of a command with --json."""
    ended = session.quietly(*arguments, "--json")
    assert ended.status == 0, ended.err
    [found] = json.loads(ended.out)
    return dict(found)


def test_the_graph_and_what_was_built_of_it(digits: Session) -> None:
    before = told(digits, "inspect", "specs/digits.yaml")
    after = told(digits, "inspect", "specs/digits.yaml", "--installed")
    assert (before["file"], before["installed"]) == (str(digits.folder / "models" / "digits.onnx"), False)
    assert (after["file"], after["installed"]) == (str(digits.folder.joinpath(*PLACE, "model.onnx")), True)
    assert before["target"] == after["target"] == "embedded"
    assert before["quantising_nodes"] == 0 < after["quantising_nodes"]
    assert (before["precision"], after["precision"]) == ("int8", "int8")
    assert sum(layer["weight_bytes"] for layer in after["layers"]) < before["weights"]["FP32"]["bytes"] / 3
    assert after["findings"] == []
    shown = digits.quietly("inspect", "specs/digits.yaml", "--installed").out
    assert shown.startswith("digits_engine: engines/embedded/digits_engine/1/model.onnx, built for target embedded: "
                            "onnxruntime in int8\n")  # fmt: skip
    assert "are no layers of their own" in shown


def test_both_are_timed(digits: Session) -> None:
    before = told(digits, "profile", "specs/digits.yaml", "--runs", "2")
    after = told(digits, "profile", "specs/digits.yaml", "--runs", "2", "--installed")
    assert {row["op_type"] for row in before["rows"]} >= {"Conv", "Gemm"}
    assert {row["op_type"] for row in after["rows"]} >= {"QLinearConv", "QGemm"}
    assert after["installed"] is True
    shown = digits.quietly("profile", "specs/digits.yaml", "--runs", "2", "--installed").out
    assert shown.startswith("digits_engine: engines/embedded/")


def test_the_steps_that_are_folded_are_in_it(digits: Session) -> None:
    write_spec(digits.folder, merged(int8(), {"layout": "folded"}))
    found = told(digits, "inspect", "specs/digits.yaml")
    assert found["folded"] == FOLDED
    assert [(one["name"], one["dtype"]) for one in found["inputs"]] == [("pixels", "UINT8")]
    assert {one["name"] for one in found["outputs"]} == {"label_index", "score"}
    assert f"  folded   {FOLDED}\n" in digits.quietly("inspect", "specs/digits.yaml").out
    timed = told(digits, "profile", "specs/digits.yaml", "--runs", "2")
    assert {"Softmax", "TopK"} <= {row["op_type"] for row in timed["rows"]}
    ended = digits.quietly("inspect", "specs/digits.yaml", "--installed")  # what is there has no steps in it
    assert (ended.status, ended.out) == (1, "")
    assert "TK981" in ended.err


def test_an_engine_inside_of_one_process(digits: Session) -> None:
    write_spec(digits.folder, merged(int8(), {"layout": "fused"}))
    found = told(digits, "inspect", "specs/digits.yaml")
    assert (found["model"], found["folded"]) == ("digits_engine", None)
    assert {row["op_type"] for row in told(digits, "profile", "specs/digits.yaml", "--runs", "2")["rows"]} >= {"Conv"}
    assert digits.quietly("build").status == 0
    assert told(digits, "inspect", "specs/digits.yaml", "--installed")["quantising_nodes"] > 0


def change(session: Session, **changes: Any) -> None:
    """The installed engine.json with these entries, as if it had been built so."""
    file = session.folder.joinpath(*PLACE, "engine.json")
    manifest = {**json.loads(file.read_bytes()), **changes}
    file.write_text(json.dumps({**manifest, "sha256": own_sha256(manifest)}))


@pytest.mark.parametrize("command", ["inspect", "profile"])
def test_what_cannot_be_shown(digits: Session, command: str) -> None:
    build = "hint: `tritonkit build specs/digits.yaml --target embedded`, or leave out --installed"

    def says(code: str, words: str) -> None:
        ended = digits.quietly(command, "specs/digits.yaml", "--installed")
        assert (ended.status, ended.out) == (1, "")
        assert f"error[{code}]: specs/digits.yaml" in ended.err
        assert f"embedded: digits_engine 1: {words}" in ended.err
        assert build in ended.err

    write_spec(digits.folder, int8(keep={"nodes": ["conv_0"]}))
    says("TK981", "it was built before something changed: build.keep")
    write_spec(digits.folder, int8())
    file = digits.folder.joinpath(*PLACE, "model.onnx")
    file.write_bytes(file.read_bytes()[:-1])
    says("TK982", "it is damaged: model.onnx is not the file that was built")
    shutil.rmtree(digits.folder / "engines")
    says("TK980", "it has not been built")
    write_spec(digits.folder, {})
    says("TK980", "nothing was built of it: its ONNX file is served as it is")
    for arguments, why in (
        ((command, "models/digits.onnx", "--installed"), "--installed goes with a spec, not with an ONNX file"),
        ((command, "models/digits.onnx", "--target", "embedded"), "--target goes with a spec"),
    ):
        ended = digits.quietly(*arguments)
        assert (ended.status, ended.out) == (1, "")
        assert why in ended.err


def test_a_graph_that_is_served_as_it_is_and_was_judged(digits: Session) -> None:
    write_spec(digits.folder, {})
    assert digits.quietly("build").status == 0
    found = told(digits, "inspect", "specs/digits.yaml", "--installed")
    assert (found["file"], found["precision"]) == (str(digits.folder / "models" / "digits.onnx"), "fp32")
    assert found["installed"] is True


def test_a_plan_is_no_graph(digits: Session) -> None:
    folder = digits.folder.joinpath(*PLACE)
    (folder / "model.onnx").rename(folder / "model.plan")
    manifest = json.loads((folder / "engine.json").read_bytes())
    change(digits, engine="tensorrt", file={**manifest["file"], "name": "model.plan"})
    ended = digits.quietly("inspect", "specs/digits.yaml", "--installed")
    assert (ended.status, ended.out) == (1, "")
    assert "engines/embedded/digits_engine/1/model.plan" in ended.err
    assert "is no ONNX graph" in ended.err
    ended = digits.quietly("profile", "specs/digits.yaml", "--installed")
    assert (ended.status, ended.out) == (1, "")
    assert "TK918" in ended.err or "TK950" in ended.err  # no TensorRT here, or one that this is no plan for
    assert "Traceback" not in ended.err
    ended = digits.quietly("profile", "specs/digits.yaml", "--installed", "--engine", "onnxruntime")
    assert (ended.status, ended.out) == (1, "")
    assert "is no ONNX file, so ONNX Runtime does not run it" in ended.err
    change(digits, engine="inductor")
    ended = digits.quietly("profile", "specs/digits.yaml", "--installed")
    assert "layers of what inductor compiled cannot be timed" in ended.err
