from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from cli_session import At, refused

from generator.project import Project
from generator_projects import Shape, make_project, write_onnx


@pytest.fixture
def empty(tmp_path: Path) -> Project:
    """A project without specs."""
    return make_project(tmp_path / "project")


def test_a_model_that_is_there(empty: Project, at: At) -> None:
    session = at(empty.root)
    session.run("init", "net")
    session.note("specs/net.yaml:\n" + empty.specs.joinpath("net.yaml").read_text())
    session.run("lint", "specs/net.yaml")
    session.run("render", "--check")
    session.matches("init")


def test_a_model_that_is_not_there_yet(empty: Project, at: At) -> None:
    session = at(empty.root)
    session.run("init", "later")
    session.run("lint", "specs/later.yaml")
    session.note("the model is put there, and the starter written again")
    write_onnx(empty.path("models/later.onnx"), {"a": [None, 3], "b": [None, 4]}, {"y": [None, "n"]})
    session.run("init", "later", "--force")
    session.run("lint", "specs/later.yaml")
    session.matches("init_without_model")


def test_a_spec_that_is_there(empty: Project, at: At) -> None:
    session = at(empty.root)
    file = empty.specs / "net.yaml"
    file.write_text("mine")
    session.run("init", "net")
    assert file.read_text() == "mine"
    session.run("init", "net", "--force")
    assert file.read_text() != "mine"
    session.matches("init_existing")


def test_models_that_cannot_be_used(empty: Project, at: At) -> None:
    session = at(empty.root)
    (empty.root / "models" / "broken.onnx").write_bytes(b"\x08\x07not a model")
    (empty.root / "models" / "empty.onnx").write_bytes(b"")
    (empty.root / "models" / "folder.onnx").mkdir()
    for name in ("broken", "empty", "folder"):
        session.run("init", name)
    session.run("init", "far", "--onnx", "/models/far.onnx")
    session.run("init", "odd", "--onnx", "")
    assert sorted(file.name for file in empty.specs.iterdir()) == ["folder.yaml"]
    session.matches("init_bad_models")


def test_names_that_cannot_be(empty: Project, at: At) -> None:
    session = at(empty.root)
    for name in ("a b", "", "../up", "a..b", "-x", "_x", "é", "a/b", "x" * 129, ".", "\x1b[31m", "a\nb"):
        ended = session.run("init", "--", name)
        assert (ended.status, ended.out) == (1, "")
    assert list(empty.specs.iterdir()) == []
    session.matches("init_bad_names")


@pytest.mark.parametrize(
    "name", ["1", "1.5", "1e3", "0x1f", "017", "null", "true", "No", "y", "2024-01-31", "a.b", "7-up"]
)
def test_a_name_that_yaml_would_read_as_something_else(empty: Project, at: At, name: str) -> None:
    session = at(empty.root)
    assert session.quietly("init", name, "--onnx", "models/net.onnx").status == 0
    ended = session.quietly("lint", f"specs/{name}.yaml")
    assert (ended.status, ended.err) == (0, "checked 1 file: nothing found\n")


@pytest.mark.parametrize(
    "path", ["models/a b.onnx", "models/a: b.onnx", "models/é#.onnx", "models/{x}.onnx", "1", 'a"b']
)
def test_a_path_that_yaml_would_read_as_something_else(empty: Project, at: At, path: str) -> None:
    session = at(empty.root)
    write_onnx(empty.path(path), {"x:0": ["n", 3]}, {"y/z": ["n", 3]})
    assert session.quietly("init", "net", "--onnx", path).status == 0
    assert session.quietly("lint", "specs/net.yaml").err == "checked 1 file: nothing found\n"


@pytest.mark.parametrize(
    ("inputs", "outputs", "dtype"),
    [
        ({"x": ["n", 3]}, {"y": ["n", 3]}, onnx.TensorProto.FLOAT),
        ({"x": ["n", None, 3]}, {"y": ["n", "m"]}, onnx.TensorProto.FLOAT16),
        ({"x": [1, 3, 8, 8]}, {"y": [1, 10]}, onnx.TensorProto.FLOAT),
        ({"x": ["n", 3], "z": ["n", 1]}, {"y": [1, 3]}, onnx.TensorProto.INT64),
        ({"x": ["n", 1]}, {"y": ["n", 1], "w": ["n", 2, 2]}, onnx.TensorProto.STRING),
        ({"x": ["n", 2]}, {"x2": ["n", 2]}, onnx.TensorProto.BOOL),
        ({"X": [None, 4]}, {"label": [None], "probabilities": [None, 3]}, onnx.TensorProto.FLOAT),  # skl2onnx's own
        ({"x": ["n"]}, {"y": ["n"]}, onnx.TensorProto.INT64),
    ],
)
def test_every_starter_lints_clean(
    empty: Project, at: At, inputs: dict[str, Shape], outputs: dict[str, Shape], dtype: int
) -> None:
    session = at(empty.root)
    write_onnx(empty.path("models/m.onnx"), inputs, outputs, dtype=dtype)
    assert session.quietly("init", "m").status == 0
    assert session.quietly("lint", "specs/m.yaml").err == "checked 1 file: nothing found\n"
    assert session.quietly("render").status == 0


def test_a_classifier_whose_label_has_the_batch_alone(empty: Project, at: At) -> None:
    session = at(empty.root)
    write_onnx(empty.path("models/iris.onnx"), {"X": [None, 4]}, {"label": [None], "probabilities": [None, 3]})
    session.quietly("init", "iris")
    file = empty.specs / "iris.yaml"
    text = file.read_text()
    for line in (
        "  X: {type: fp32, dims: [-1, 4]}",
        "  label: {type: fp32, dims: [-1]}",
        "  probabilities: {type: fp32, dims: [-1, 3]}",
        "# `label` has no axis beside the batch's",
        "batching: {max_batch_size: 0}",
    ):
        assert line in text
    file.write_text(text.replace("max_batch_size: 0", "max_batch_size: 8"))
    ended = session.quietly("lint", "specs/iris.yaml")
    refused(ended, "TK205", "no axis beside that of the batch in `label`; Triton wants one")
    assert "or set `batching: {max_batch_size: 0}` and write `dims` with the first axis, -1" in " ".join(
        ended.err.split()
    )


def test_a_name_with_a_blank_is_refused_with_what_to_do(empty: Project, at: At) -> None:
    session = at(empty.root)
    write_onnx(empty.path("models/blank.onnx"), {"the input": ["n", 4]}, {"y": ["n", 3]})
    session.quietly("init", "blank")
    ended = session.quietly("lint", "specs/blank.yaml")
    refused(ended, "TK128", "a tensor's name has no blanks")
    assert "rename it; in an ONNX file too (exporters take names" in " ".join(ended.err.split())


def test_the_lines_that_are_commented_out_lint_clean(empty: Project, at: At) -> None:
    session = at(empty.root)
    write_onnx(empty.path("models/m.onnx"), {"x": ["n", 3, 224, 224]}, {"y": ["n", 10]})
    assert session.quietly("init", "m").status == 0
    empty.path("data/m.labels").write_text("".join(f"{n}\n" for n in range(10)))
    file = empty.specs / "m.yaml"
    text = file.read_text()
    for commented in ("# preprocess", "#   - ", "# postprocess", "  # production"):
        assert commented in text
        text = text.replace(commented, commented.replace("# ", "", 1).replace("#   - ", "  - ", 1))
    text = text.replace("x: {type: fp32, dims: [3, 224, 224]}", "image: {type: bytes}").replace(
        "y: {type: fp32, dims: [10]}", "label: {type: string, dims: [5]}\n  score: {type: fp32, dims: [5]}"
    )
    file.write_text(text)
    assert session.quietly("lint", "specs/m.yaml").err == "checked 1 file: nothing found\n"
    assert session.quietly("render").err == (
        "embedded: model_repository/embedded: 12 written, 0 unchanged\n"
        "production: model_repository/production: 10 written, 0 unchanged\n"
    )


def test_a_starter_of_a_type_that_the_embedded_server_cannot_carry_says_so(empty: Project, at: At) -> None:
    session = at(empty.root)
    write_onnx(empty.path("models/m.onnx"), {"x": ["n", 2]}, {"y": ["n", 2]}, dtype=onnx.TensorProto.BFLOAT16)
    assert session.quietly("init", "m").status == 0
    ended = session.quietly("lint", "specs/m.yaml")
    assert ended.status == 1
    assert ended.err.count("error[TK226]") == 2
