"""Paths from a model's directory to files beside it, as they are on disk."""

from __future__ import annotations

from pathlib import Path

from generator.lint.check import Checked, check
from generator.lint.files import DiskFolder, MemoryFolder
from generator.lint.server import Server
from generator.problems import Severity

INPUT = 'backend: "python"\ninput [ { name: "x" data_type: TYPE_FP32 dims: [ 1 ] } ]\n'
OUTPUT = 'output [ { name: "y" data_type: TYPE_FP32 dims: [ 1 ] label_filename: "../labels.txt" } ]\n'
SERVER = Server(release="24.10", backends=frozenset({"python"}), gpus=0, auto_complete=False)


def a_model(folder: Path) -> None:
    (folder / "1").mkdir(parents=True)
    (folder / "1" / "model.py").write_text("class TritonPythonModel:\n    def execute(self, r): ...\n")
    (folder / "config.pbtxt").write_text(INPUT + OUTPUT)


def told(checked: Checked) -> list[tuple[str, Severity]]:
    return [(problem.code, problem.severity) for problem in checked.problems]


def test_a_file_of_the_repository_is_seen_from_a_model(tmp_path: Path) -> None:
    a_model(tmp_path / "m")
    assert told(check([DiskFolder(tmp_path)], SERVER)) == [("TK670", Severity.ERROR)]
    (tmp_path / "labels.txt").write_text("one\n")
    assert told(check([DiskFolder(tmp_path)], SERVER)) == [("TK670", Severity.WARNING)]


def test_what_is_above_a_link_is_not_seen(tmp_path: Path) -> None:
    a_model(tmp_path / "models" / "m")
    (tmp_path / "models" / "labels.txt").write_text("one\n")
    repository = tmp_path / "repository"
    repository.mkdir()
    (repository / "m").symlink_to(tmp_path / "models" / "m")
    assert told(check([DiskFolder(repository)], SERVER)) == [("TK670", Severity.WARNING)]


def test_the_file_of_another_repository_is_not_beside_a_model() -> None:
    own = {"m/config.pbtxt": (INPUT + OUTPUT.replace("../", "../other/")).encode(), "m/1/model.py": b""}
    other = {"other/labels.txt": b"one\n", "other/config.pbtxt": INPUT.encode(), "other/1/model.py": b""}
    apart = check([MemoryFolder(own, "A"), MemoryFolder(other, "B")], SERVER)
    assert ("TK670", Severity.ERROR) in told(apart)
    assert ("TK670", Severity.WARNING) in told(check([MemoryFolder({**own, **other}, "A")], SERVER))
