"""Paths that are not there, cannot be read or hold nothing to check: never `nothing found`."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from generator.lint import run
from generator.lint.check import Checked, check
from generator.lint.files import DiskFolder
from generator.lint.paths import Asked, is_repository, sort_out
from generator.lint.run import lint
from generator.lint.server import Server
from generator.problems import UserError
from generator_projects import SHORT, make_project
from users import FOR_EVERYBODY, ordinary_user

GOOD = """\
backend: "python"
max_batch_size: 4
dynamic_batching { }
input [ { name: "x" data_type: TYPE_FP32 dims: [ 4 ] } ]
output [ { name: "y" data_type: TYPE_FP32 dims: [ 4 ] label_filename: "labels.txt" } ]
"""


def a_model(folder: Path) -> Path:
    (folder / "1").mkdir(parents=True)
    (folder / "1" / "model.py").write_text("class TritonPythonModel:\n    def execute(self, requests): ...\n")
    (folder / "config.pbtxt").write_text(GOOD)
    (folder / "labels.txt").write_text("a\nb\nc\nd\n")
    return folder


def told(*paths: str) -> list[tuple[str, str, str]]:
    return [(p.code, p.place.file, p.message) for p in lint([Path(path) for path in paths]).problems]


# What is not there -------------------------------------------------------------------------------------------------


def test_what_is_not_there_needs_no_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    a_model(tmp_path / "r" / "m")
    (tmp_path / "link").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "a.txt").write_text("name: a\n")
    (tmp_path / "b.pbtxt").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe")
    assert told("nosuch", "no.yaml", "r/x/config.pbtxt", "a.txt/x", "link", "b.pbtxt", "x\0y", "r") == [
        ("TK101", "nosuch", "there is no such file or folder"),
        ("TK101", "no.yaml", "there is no such file"),
        ("TK101", "r/x/config.pbtxt", "there is no such file"),
        ("TK101", "a.txt/x", "there is no such file or folder"),
        ("TK101", "link", "the link leads to no file or folder"),
        ("TK101", "b.pbtxt", "the link leads to no file"),
        ("TK101", "x\0y", "there is no such file: embedded null byte"),
    ]
    [(code, file, message)] = told("a.txt")
    assert (code, file) == ("TK102", "a.txt")
    assert message.startswith("this is nothing that can be checked: a spec ends in .yaml")
    assert told("pipe") == [("TK102", "pipe", "this is not a regular file")]
    assert [code for code, _, _ in told("loop")] == ["TK102"]


def test_a_link_to_itself_hides_nothing_beside_it(tmp_path: Path) -> None:
    a_model(tmp_path / "r" / "m")
    (tmp_path / "r" / "m" / "loop").symlink_to("loop")
    assert DiskFolder(tmp_path / "r" / "m").entries == {
        "1": True,
        "config.pbtxt": False,
        "labels.txt": False,
        "loop": False,
    }
    assert [p.code for p in lint([tmp_path / "r"]).problems] == ["TK609"]


# What cannot be read -----------------------------------------------------------------------------------------------


@pytest.fixture
def everybodys(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current directory, which everybody may enter, with a repository `r`; all that linting imports is there."""
    with tempfile.TemporaryDirectory(dir=FOR_EVERYBODY) as folder:
        root = Path(folder)
        root.chmod(0o755)
        monkeypatch.chdir(root)
        a_model(root / "r" / "m")
        assert told("r") == []
        yield root


DENIED = "cannot be read: Permission denied"


@pytest.mark.parametrize(
    ("closed", "mode", "asked", "shown"),
    [
        ("r", 0o311, "r/m", "r"),  # the model can be entered, what stands beside it cannot be seen
        ("r", 0o311, "r/m/config.pbtxt", "r"),
        ("r", 0o311, "r", "r"),
        ("r", 0, "r", "r"),
        ("r", 0, "r/m", "r/m"),
        ("r", 0, "r/m/config.pbtxt", "r/m/config.pbtxt"),
        ("r", 0, "r/a.yaml", "r/a.yaml"),
        ("r", 0, ".", "r"),
        ("r/m", 0, "r/m", "r/m"),
        ("r/m/1", 0, "r", "r/m/1"),
        ("r/m/1", 0, "r/m", "r/m/1"),
        ("r/m/1/model.py", 0, "r", "r/m/1/model.py"),
        ("r/m/labels.txt", 0, "r", "r/m/labels.txt"),
    ],
)
def test_what_cannot_be_read_is_told(everybodys: Path, closed: str, mode: int, asked: str, shown: str) -> None:
    (everybodys / closed).chmod(mode)
    with ordinary_user():
        found = told(asked)
    (everybodys / closed).chmod(0o755)
    assert found == [("TK102", shown, DENIED)]
    assert [code for code, _, _ in told("r")] == []


def test_what_a_project_keeps_to_itself_is_no_problem(everybodys: Path) -> None:
    a_model(everybodys / "model_repository" / "m")
    (everybodys / "volume").mkdir(mode=0)
    (everybodys / "r" / "volume").mkdir(mode=0)
    (everybodys / "r" / "m").rename(everybodys / "model_repository" / "n")
    with ordinary_user():
        assert told(".") == []
        assert told("r") == [("TK102", "r/volume", DENIED)]
    (everybodys / "model_repository").chmod(0)
    with ordinary_user():
        assert ("TK102", "model_repository", DENIED) in told(".")
    (everybodys / "model_repository").chmod(0o755)


def test_a_model_that_cannot_be_read_hides_nothing_of_the_others(everybodys: Path) -> None:
    (everybodys / "r" / "n" / "1").mkdir(parents=True)
    (everybodys / "r" / "n" / "config.pbtxt").write_text("}")
    (everybodys / "r" / "m").chmod(0)
    with ordinary_user():
        found = told("r")
        alone = told("r/n")
    assert [(code, file) for code, file, _ in found] == [("TK102", "r/m"), ("TK510", "r/n/config.pbtxt")]
    assert [(code, file) for code, file, _ in alone] == [("TK510", "r/n/config.pbtxt")]
    with ordinary_user():
        assert check([DiskFolder(everybodys / "r")], Server()).refused == {"m", "n"}


# Folders of something else -----------------------------------------------------------------------------------------


def groups(path: Path) -> list[str]:
    found = sort_out([path], Asked())
    return [group.folders[0].path.removeprefix(f"{path}/") for group in found.groups]


def test_a_foreign_tree_is_nothing_to_check(tmp_path: Path) -> None:
    for file in (
        "bin/ls",
        "data/0/a.png",
        "data/1/b.png",
        "train/data/2/c.png",
        ".git/objects/1a/x",
        "proc/1/fd",
        "cache/7/z",
    ):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    (tmp_path / "runs" / "data" / "0").mkdir(parents=True)
    (tmp_path / ".hidden.yaml").write_text("repos: []\n")
    for folder in (tmp_path, tmp_path / "data", tmp_path / "data" / "0"):
        with pytest.raises(UserError, match="there is nothing to check in "):
            lint([folder])
    a_model(tmp_path / ".cache" / "m")
    with pytest.raises(UserError, match="there is nothing to check in "):
        lint([tmp_path])
    a_model(tmp_path / "home" / "m")
    assert groups(tmp_path) == ["home"]
    (tmp_path / "compose.yaml").write_text("services: {}\n")
    assert lint([tmp_path]).looked_at == 1, "YAML beside repositories is something else"


def test_a_project_is_its_specs_and_repositories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = make_project(tmp_path / "p", {"small": SHORT})
    (project.root / ".pre-commit-hooks.yaml").write_text("- id: x\n")
    (project.root / "mkdocs.yml").write_text("site_name: x\n")
    (project.root / "data" / "7").mkdir(parents=True)
    a_model(project.root / "model_repository" / "embedded" / "m")
    a_model(project.root / "other" / "n")
    for here, given in ((project.root, Path()), (tmp_path, Path("p"))):
        monkeypatch.chdir(here)
        found = sort_out([given], Asked())
        assert found.specs == [given / "specs" / "small.yaml"]
        assert [group.folders[0].name for group in found.groups] == ["other", "embedded"]
        linted = lint([given])
        assert linted.looked_at == 3
        assert {p.code for p in linted.problems} >= {"TK215"}
        assert all((here / p.place.file).exists() for p in linted.problems)


def test_a_spec_belongs_to_the_project_that_it_stands_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = (make_project(tmp_path / name, {"small": SHORT}) for name in ("one", "two"))
    (two.root / "models" / "net.onnx").unlink()
    alone = tmp_path / "alone.yaml"
    alone.write_text(SHORT)
    monkeypatch.chdir(one.root)
    assert "TK201" in {p.code for p in lint([two.specs]).problems}
    assert "TK201" not in {p.code for p in lint([one.specs, alone]).problems}
    monkeypatch.chdir(tmp_path)
    assert "TK201" not in {p.code for p in lint([one.specs]).problems}
    with pytest.raises(UserError, match=r"alone.yaml is a spec, and there is no `specs` folder in "):
        lint([Path("alone.yaml")])


def test_models_without_configurations_are_a_repository_where_one_is_named(tmp_path: Path) -> None:
    """The server makes their configurations; one that it cannot make is told, with what else stands there."""
    (tmp_path / "r" / "a" / "1").mkdir(parents=True)
    (tmp_path / "r" / "b").mkdir()
    (tmp_path / "r" / ".git" / "2").mkdir(parents=True)
    assert {"TK600"} <= {problem.code for problem in lint([tmp_path / "r"]).problems}
    assert {"TK600"} <= {problem.code for problem in lint([tmp_path / "r" / "a"]).problems}
    with pytest.raises(UserError, match="there is nothing to check in "):
        lint([tmp_path])
    (tmp_path / "r" / "c").mkdir()
    with pytest.raises(UserError, match="there is nothing to check in "):
        lint([tmp_path / "r"])
    (tmp_path / "r" / "a" / "1" / "model.plan").touch()
    assert groups(tmp_path) == ["r"], "a model file says enough"
    (tmp_path / "r" / "a" / "1" / "model.plan").rename(tmp_path / "r" / "a" / "1" / "weights.plan")
    (tmp_path / "r" / "c" / "configs").mkdir()
    assert not is_repository(tmp_path / "r")
    (tmp_path / "r" / "c" / "configs" / "small.pbtxt").write_text("")
    assert is_repository(tmp_path / "r")


def test_the_root_is_shown_with_one_slash() -> None:
    assert DiskFolder("/").shown("bin") == "/bin"
    assert DiskFolder("/").folder("bin").shown("ls") == "/bin/ls"


def test_nothing_was_checked_is_not_nothing_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The model goes away after it was found."""
    a_model(tmp_path / "m")

    def late(folders: Sequence[DiskFolder], server: Server, only: set[str] | None) -> Checked:
        shutil.rmtree(tmp_path / "m")
        return check(folders, server, only)

    monkeypatch.setattr(run, "check", late)
    with pytest.raises(UserError, match="there is nothing to check in "):
        lint([tmp_path / "m"])
