"""Version directories and links: what a case of the corpus cannot hold, such as names with spaces."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from generator.lint.check import Checked, check
from generator.lint.files import DiskFolder, MemoryFolder
from generator.lint.server import EMBEDDED
from generator.lint.versions import is_too_large, number_of, version_numbers
from generator.problems import Severity

PYTHON = b"""backend: "python"
input [ { name: "x" data_type: TYPE_FP32 dims: [ 4 ] } ]
output [ { name: "y" data_type: TYPE_FP32 dims: [ 4 ] } ]
"""
MODEL = b"""class TritonPythonModel:
    def execute(self, requests):
        return []
"""


def linted(files: dict[str, bytes | None]) -> Checked:
    return check([MemoryFolder(files, "")], EMBEDDED)


# What the live server made of each: the version it loaded, or none.
@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("1", 1),
        ("0", 0),
        ("12", 12),
        ("1_bak", 1),
        ("1 ", 1),
        (" 1", 1),
        ("\t1", 1),
        ("+1", 1),
        ("-1", -1),
        ("1.5", 1),
        ("1e3", 1),
        ("9223372036854775807", 2**63 - 1),
        ("01", None),
        ("00", None),
        ("0x1", None),
        ("_1", None),
        ("v1", None),
        ("", None),
        ("\u0661", None),
        ("\u00a01", None),
        ("warmup", None),
        ("initial_state", None),
        ("configs", None),
    ],
)
def test_a_directory_is_read_as_the_number_that_it_begins_with(name: str, number: int | None) -> None:
    assert number_of(name) == number


def test_numbers_beyond_64_bits_are_no_versions() -> None:
    assert not is_too_large(2**63 - 1)
    assert not is_too_large(-(2**63))
    assert is_too_large(2**63)
    assert is_too_large(-(2**63) - 1)
    assert version_numbers(MemoryFolder({f"{2**63}/": b"", "7/": b""}, "adder")) == [7]


def test_versions_are_the_newest_first_and_each_is_there_once() -> None:
    folder = MemoryFolder({"2/": b"", "10/": b"", "10_old/": b"", "9": b"a file", "warmup/": b""}, "adder")
    assert version_numbers(folder) == [10, 2]


def test_a_policy_chooses_among_the_versions() -> None:
    versions: dict[str, bytes | None] = {f"adder/{number}/model.py": MODEL for number in (1, 2, 10)}
    for policy, served in (
        (b"", [10]),
        (b"version_policy { }", [10, 2, 1]),
        (b"version_policy { all { } }", [10, 2, 1]),
        (b"version_policy { latest { num_versions: 2 } }", [10, 2]),
        (b"version_policy { specific { versions: [ 1, 2, 3 ] } }", [2, 1]),
    ):
        model = linted({"adder/config.pbtxt": PYTHON + policy, **versions}).models["adder"]
        assert [version.number for version in model.served] == served
        assert [version.folder.name for version in model.served] == [str(number) for number in served]


def test_a_name_with_a_space_is_told_of_python_models_alone() -> None:
    named: dict[str, bytes | None] = {"my adder/config.pbtxt": PYTHON, "my adder/1/model.py": MODEL}
    (problem,) = linted(named).problems
    assert (problem.code, problem.severity) == ("TK606", Severity.ERROR)
    named["my adder/config.pbtxt"] = PYTHON.replace(b"python", b"mine")
    assert "TK606" not in {problem.code for problem in linted(named).problems}


def test_a_version_with_a_space_is_told_with_its_place() -> None:
    problems = linted(
        {"adder/config.pbtxt": PYTHON, "adder/1/model.py": MODEL, "adder/1 copy/model.py": MODEL}
    ).problems
    assert [(p.code, str(p.place), p.severity) for p in problems] == [("TK604", "adder/1 copy", Severity.WARNING)]


def test_a_link_to_a_version_counts_and_one_to_nothing_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "adder"
    (folder / "model-of-may").mkdir(parents=True)
    (folder / "config.pbtxt").write_bytes(PYTHON)
    (folder / "model-of-may/model.py").write_bytes(MODEL)
    (folder / "1").symlink_to("model-of-may")
    assert not check([DiskFolder(tmp_path)], EMBEDDED).problems
    (folder / "2").symlink_to("model-of-june")
    checked = check([DiskFolder(tmp_path)], EMBEDDED)
    assert [(p.code, p.place.file) for p in checked.problems] == [("TK609", str(folder / "2"))]
    assert checked.refused == {"adder"}


def test_a_file_that_cannot_be_read_is_a_problem_of_the_model_and_no_traceback() -> None:
    value = b'{ data_type: TYPE_STRING dims: [ 1 ] input_data_file: "x" }'
    warmup = b'model_warmup [ { name: "w" batch_size: 1 inputs { key: "x" value %s } } ]' % value
    config = PYTHON.replace(b"TYPE_FP32 dims: [ 4 ] } ]\noutput", b"TYPE_STRING dims: [ 1 ] } ]\noutput") + warmup
    checked = linted({"adder/config.pbtxt": config, "adder/1/model.py": MODEL, "adder/warmup/x": None})
    assert {problem.code for problem in checked.problems} == {"TK678"}


def on_disk(root: Path, model: bytes, version: bytes = b"1") -> Checked:
    folder = root / os.fsdecode(model)
    (folder / os.fsdecode(version)).mkdir(parents=True)
    for name, data in ((b"config.pbtxt", PYTHON), (version + b"/model.py", MODEL), (b"\xe9", b"")):
        (folder / os.fsdecode(name)).write_bytes(data)
    return check([DiskFolder(root)], EMBEDDED)


def test_a_model_of_a_name_that_is_no_text_is_one_problem(tmp_path: Path) -> None:
    (problem,) = on_disk(tmp_path, b"m\xe9").problems
    assert problem.code == "TK617"
    assert problem.severity is Severity.ERROR
    assert problem.place.file.endswith("/m\udce9")


def test_other_names_that_are_no_text_do_no_harm(tmp_path: Path) -> None:
    assert on_disk(tmp_path, b"m").problems == []
    codes = [problem.code for problem in on_disk(tmp_path, b"n", b"2\xe9").problems]
    assert codes == ["TK604", "TK605"]  # the server takes it for version 2, and looks into `2`
