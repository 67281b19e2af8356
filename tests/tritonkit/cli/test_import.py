"""`tritonkit import` at the command line."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
from cli_session import At, Session

from generator.project import Project

ADDER = """\
# Written by hand.
name: "adder"
backend: "python"
max_batch_size: 8
input { name: "x" data_type: TYPE_FP32 dims: [ 4 ] }
output { name: "y" data_type: TYPE_FP32 dims: [ 4 ] label_filename: "names.txt" }
dynamic_batching { max_queue_delay_microseconds: 100 }
instance_group { kind: KIND_GPU }
"""
PIPE = """\
name: "pipe"
platform: "ensemble"
max_batch_size: 4
input { name: "x" data_type: TYPE_FP32 dims: [ 4 ] }
output { name: "y" data_type: TYPE_FP32 dims: [ 4 ] }
ensemble_scheduling { step { model_name: "adder" model_version: -1 input_map { key: "x" value: "x" } output_map { key: "y" value: "y" } } }
"""


IDENTITY = """\
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        found = [pb_utils.get_input_tensor_by_name(request, "x").as_numpy() for request in requests]
        return [pb_utils.InferenceResponse([pb_utils.Tensor("y", x)]) for x in found]
"""


def put(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    return root


@pytest.fixture
def legacy(tmp_path: Path) -> Path:
    """A repository written by hand, outside of the project: a model, and an ensemble that no flow says."""
    files = {
        "echo/config.pbtxt": 'backend: "python"\n',
        "echo/1/model.py": IDENTITY,
        "adder/config.pbtxt": ADDER,
        "adder/1/model.py": IDENTITY,
        "adder/names.txt": "a\nb\nc\nd\n",
        "pipe/2/.gitkeep": "",
    }
    return put(tmp_path / "legacy", {**files, "pipe/config.pbtxt": PIPE, "notes/1/readme": "?"})


def test_a_repository_becomes_specs(session: Session, legacy: Path) -> None:
    session.hide(str(legacy), "LEGACY")
    session.run("import", str(legacy))
    for name in ("echo", "pipe"):
        session.note(f"specs/{name}.yaml:\n" + (session.folder / "specs" / f"{name}.yaml").read_text())
    session.run("import", str(legacy))
    session.run("import", str(legacy), "--force", "--server", "25.03", "--gpu", "h200", "--target", "old")
    assert session.quietly("render", "--target", "old").status == 0
    assert session.quietly("render", "--check", "--target", "old").status == 0
    session.run("render", "specs/pipe.yaml", "--target", "embedded")
    session.matches("import")


def test_what_is_wrong(session: Session, legacy: Path, tmp_path: Path) -> None:
    session.hide(str(legacy), "LEGACY")
    session.hide(str(tmp_path), "HERE")
    session.run("import")
    session.run("import", str(tmp_path / "gone"))
    session.run("import", str(legacy / "adder"))
    session.run("import", str(legacy), "--server", "99.01")
    session.run("import", str(legacy), "--server", "embedded")
    session.run("import", str(legacy), "--target", "two words")
    session.run("import", str(legacy), "--target", "embedded", "--gpu", "h200")
    session.note("a file that no server reads, and one whose model cannot be named")
    put(legacy, {"broken/config.pbtxt": "max_batch_sizes: 4\nname: broken\n", "a b/config.pbtxt": ""})
    session.run("import", str(legacy))
    session.note("the first is mended")
    put(legacy, {"broken/config.pbtxt": "max_batch_size: 4\n"})
    session.run("import", str(legacy))
    assert sorted(path.name for path in (session.folder / "specs").iterdir()) == ["small.yaml"]
    session.matches("import_wrong")


def test_json(session: Session, legacy: Path) -> None:
    ended = session.quietly("import", str(legacy), "--json")
    assert ended.status == 0
    found = json.loads(ended.out)
    assert found["target"] == "legacy"
    assert found["specs"] == [
        {"file": "specs/echo.yaml", "pipeline": "echo", "form": "config", "models": ["echo"]},
        {"file": "specs/pipe.yaml", "pipeline": "pipe", "form": "models", "models": ["pipe", "adder"]},
    ]
    assert found["copied"] == [
        "models/echo/1/model.py", "models/pipe/2/.gitkeep", "models/adder/1/model.py", "models/adder/names.txt",
    ]  # fmt: skip
    assert [entry["code"] for entry in found["left"]] == ["TK801", "TK805", "TK807"]


def test_an_empty_folder_becomes_a_project(at: At, legacy: Path, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    session = at(tmp_path / "new")
    assert session.quietly("import", str(legacy)).status == 0
    assert (tmp_path / "new" / "specs" / "pipe.yaml").is_file()
    assert session.quietly("render", "--target", "legacy").status == 0
    assert session.quietly("import", str(legacy), "--out", str(tmp_path / "newer" / "specs")).status == 0
    assert (tmp_path / "newer" / "models" / "adder" / "1" / "model.py").is_file()


def test_a_plain_repository_is_no_project(at: At, legacy: Path) -> None:
    before = sorted(legacy.rglob("*"))
    for folder, repository in ((legacy, "."), (legacy / "adder", "..")):
        ended = at(folder).quietly("import", repository)
        assert ended.status == 1
        assert f"into the repository itself, since the project is {folder}" in ended.err
        assert "import there, or name it: `--out FOLDER/specs`" in ended.err
    assert sorted(legacy.rglob("*")) == before


@pytest.mark.parametrize("out", ["imported", "imported here", "../newer/specs", "specs"])
def test_what_it_says_to_do_next_can_be_done(out: str, session: Session, at: At, legacy: Path) -> None:
    last = session.quietly("import", str(legacy), "--out", out).err.splitlines()[-1]
    command = last.removeprefix("next: ")
    if out.startswith(".."):
        where, command = command.split(" && ")
        session = at(session.folder / where.removeprefix("cd "))
    tritonkit, *arguments = shlex.split(command)
    assert tritonkit == "tritonkit"
    assert session.quietly(*arguments).status == 0
    assert sorted(path.name for path in (session.folder / "model_repository" / "legacy").glob("[a-z]*")) == [
        "adder", "echo", "pipe",
    ]  # fmt: skip


def test_specs_elsewhere_in_the_project(project: Project, session: Session, legacy: Path) -> None:
    assert session.quietly("import", str(legacy), "--out", "imported").status == 0
    assert sorted(path.name for path in (project.root / "imported").iterdir()) == ["echo.yaml", "pipe.yaml"]
    assert session.quietly("render", "imported/pipe.yaml", "--target", "legacy").status == 0
    assert (project.root / "model_repository" / "legacy" / "pipe" / "2" / ".gitkeep").is_file()
