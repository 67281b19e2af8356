"""What is refused: all of it told at once, with nothing touched."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from generator.problems import Problem, ProblemsError, Severity
from generator.write import CODES, MANIFEST_FILE, check, journal, write

Snapshot = Callable[..., dict[str, Any]]
AsOrdinaryUser = Callable[[Callable[[], object]], tuple[int, str]]
REFUSED = 3
HASH = "0" * 64


def one(path: str) -> str:
    return "digits"


def by_model(path: str) -> str:
    return f"pipeline-{path[0]}"


def refused(files: dict[str, bytes], root: Path, **options: Any) -> list[Problem]:
    """The problems that writing `files` meets; each has a code of this stage and says how to mend it."""
    with pytest.raises(ProblemsError) as caught:
        write(files, root, **{"owner_of": one, **options})
    for problem in caught.value.problems:
        assert problem.code in CODES
        assert problem.hint
    return list(caught.value.problems)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/etc/x",
        "../x",
        "m/../../x",
        "m/./x",
        "m//x",
        "m/",
        "m\\x",
        "m/x\0",
        "m/x\n",
        "m/x\x1b[31m",
        "-rf",
        "m/-x",
        ".git/config",
        "m/.hidden",
        ".gitkeep",
        ".gitkeep/x",
        MANIFEST_FILE,
        "m/ü",
        "m/a b",
        "m/" + "x" * 256,
    ],
)
def test_a_name_that_is_not_plain(tmp_path: Path, path: str) -> None:
    (problem,) = refused({path: b"", "m/1/good": b""}, tmp_path / "a" / "r")
    assert problem.code == "TK414"
    assert repr(path) in problem.message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", ["m", "m/1/.gitkeep", "_m-1.x/1/model..onnx", "m/1/" + "x" * 255])
def test_a_plain_name(tmp_path: Path, path: str) -> None:
    write({path: b"x"}, tmp_path / "r", owner_of=one)
    assert (tmp_path / "r" / path).read_bytes() == b"x"


def test_a_file_and_a_directory_at_once(tmp_path: Path) -> None:
    (problem,) = refused({"m/1": b"", "m/1/x": b"", "m/1/y": b""}, tmp_path / "r")
    assert (problem.code, problem.place.file) == ("TK414", str(tmp_path / "r/m/1"))


def test_names_that_differ_only_in_case_are_warned_about(tmp_path: Path) -> None:
    report = write({"M/1/x": b"", "m/1/x": b"", "m/1/X": b""}, tmp_path / "r", owner_of=one)
    assert [w.message.partition(" differ")[0] for w in report.warnings] == ["M and m", "m/1/X and m/1/x"]
    assert {(w.code, w.severity) for w in report.warnings} == {("TK413", Severity.WARNING)}


@pytest.mark.usefixtures("way")
def test_nothing_is_written_through_a_link(tmp_path: Path, snapshot: Snapshot) -> None:
    root, outside = tmp_path / "r", tmp_path / "outside"
    outside.mkdir()
    (outside / "x").write_bytes(b"precious")
    (root / "c" / "1").mkdir(parents=True)
    (root / "a").symlink_to(outside)
    (root / "b").symlink_to("c")
    (root / "c" / "1" / "x").symlink_to("../../../outside/x")
    (root / "c" / "1" / "y").symlink_to("nowhere")
    before = snapshot(tmp_path)
    files = dict.fromkeys(["a/x", "b/1/z", "c/1/x", "c/1/y", "d/1/fine"], b"new")
    problems = refused(files, root)
    assert [(p.code, p.place.file) for p in problems] == [
        ("TK401", str(root / "a")),
        ("TK401", str(root / "b")),
        ("TK401", str(root / "c/1/x")),
        ("TK401", str(root / "c/1/y")),
    ]
    assert str(outside) in problems[0].message
    with pytest.raises(ProblemsError):
        check(files, root, owner_of=one)
    assert snapshot(tmp_path) == before


def test_pruning_follows_no_link(tmp_path: Path) -> None:
    root, outside = tmp_path / "r", tmp_path / "outside"
    write({"m/1/x": b"x", "n/1/x": b"n"}, root, owner_of=one)
    (root / "m").rename(outside)
    (root / "m").symlink_to(outside)
    report = write({"n/1/x": b"n"}, root, owner_of=one, prune=True)
    assert (report.pruned, report.stale) == ((), ("m/1/x",))
    assert [w.code for w in report.warnings] == ["TK412"]
    assert (outside / "1" / "x").read_bytes() == b"x"


@pytest.mark.parametrize("path", ["../outside", "/outside", "m/../../outside", ".ssh/id"])
def test_a_manifest_that_names_what_it_must_not_is_not_believed(tmp_path: Path, path: str) -> None:
    root = tmp_path / "r"
    root.mkdir()
    (tmp_path / "outside").write_bytes(b"")
    entry = {"pipeline": "digits", "sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}
    (root / MANIFEST_FILE).write_text(json.dumps({"format": 1, "files": {path: entry}}))
    (problem,) = refused({"m/1/x": b""}, root, prune=True)
    assert problem.code == "TK410"
    assert (tmp_path / "outside").exists()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("<<<<<<< ours", "Expecting value"),
        ("[]", "has format None"),
        ('{"format": 2, "files": {}}', "has format 2, and this version of tritonkit reads format 1"),
        ('{"format": 1}', "'files' is not a mapping"),
        ('{"format": 1, "files": {"m/x": {"pipeline": "p"}}}', "the entry of m/x"),
        ('{"format": 1, "files": {"m/x": {"pipeline": "p", "sha256": "ab"}}}', "the entry of m/x"),
        ("\udcff", "can't decode"),
    ],
)
def test_a_manifest_that_cannot_be_read(tmp_path: Path, text: str, says: str) -> None:
    root = tmp_path / "r"
    root.mkdir()
    (root / MANIFEST_FILE).write_bytes(os.fsencode(text))
    problems = refused({"m/1/x": b"", "-": b""}, root)
    assert [p.code for p in problems] == ["TK414", "TK410"]
    assert says in problems[1].message
    assert list(root.iterdir()) == [root / MANIFEST_FILE]


def test_a_manifest_that_is_a_link(tmp_path: Path) -> None:
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / MANIFEST_FILE).symlink_to("nowhere")
    assert [p.code for p in refused({"m/1/x": b""}, tmp_path / "r")] == ["TK401"]


@pytest.mark.usefixtures("way")
def test_what_was_not_generated_is_not_overwritten(tmp_path: Path, snapshot: Snapshot) -> None:
    root = tmp_path / "r"
    (root / "m" / "1" / "dir").mkdir(parents=True)
    (root / "m" / "config.pbtxt").write_bytes(b"mine")
    (root / "m" / "same").write_bytes(b"new")
    (root / "n").write_bytes(b"a file")
    os.mkfifo(root / "m" / "pipe")
    before = snapshot(root, times=True)
    files = dict.fromkeys(["m/config.pbtxt", "m/1/dir", "m/pipe", "m/same", "n/1/x", "o/1/x"], b"new")
    problems = refused(files, root)
    assert [(p.code, p.place.file) for p in problems] == [
        ("TK402", str(root / "m/1/dir")),
        ("TK402", str(root / "m/config.pbtxt")),
        ("TK402", str(root / "m/pipe")),
        ("TK402", str(root / "n")),
    ]
    assert snapshot(root, times=True) == before
    assert list(tmp_path.iterdir()) == [root]


def test_a_model_has_one_pipeline(tmp_path: Path) -> None:
    root = tmp_path / "r"
    write({"apple/1/x": b"", "bread/1/x": b""}, root, owner_of=by_model)
    problems = refused({"apple/1/y": b"", "bread/1/x": b""}, root, owner_of=lambda path: "new")
    assert [(p.code, p.place.file) for p in problems] == [
        ("TK403", str(root / "apple")),
        ("TK403", str(root / "bread")),
    ]
    assert problems[0].message.endswith("belongs to more than one pipeline: new, pipeline-a")
    # Two pipelines of one run may not share a model either.
    assert [p.code for p in refused({"m/1/x": b"", "m/1/y": b""}, root, owner_of=lambda path: path)] == ["TK403"]


def test_a_model_is_free_once_its_pipeline_is_gone(tmp_path: Path) -> None:
    root = tmp_path / "r"
    write({"apple/1/x": b"old"}, root, owner_of=by_model)
    report = write({"apple/1/x": b"new"}, root, owner_of=lambda path: "new", whole=True, prune=True)
    assert (report.written, report.warnings) == (("apple/1/x",), ())
    write({"pear/1/x": b"old"}, root, owner_of=by_model)
    (root / "pear/1/x").unlink()
    assert write({"pear/1/x": b"new"}, root, owner_of=lambda path: "new").written == ("pear/1/x",)


def test_all_problems_at_once(tmp_path: Path) -> None:
    root = tmp_path / "r"
    write({"apple/1/x": b""}, root, owner_of=by_model)
    (root / "mine").write_bytes(b"mine")
    (root / "link").symlink_to("/")
    files = dict.fromkeys(["../x", "apple/1/x", "mine", "link/x"], b"other")
    codes = [p.code for p in refused(files, root)]
    assert codes == ["TK414", "TK403", "TK401", "TK402"]


@pytest.mark.parametrize("below", ["", "r", "r/s"])
def test_a_repository_that_is_a_file(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").write_bytes(b"")
    (problem,) = refused({"m/1/x": b""}, tmp_path / "file" / below)
    assert (problem.code, problem.place.file) == ("TK407", str(tmp_path / "file"))


def test_a_loop_of_links(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    assert [p.code for p in refused({"m/1/x": b""}, tmp_path / "a")] == ["TK407"]


def test_directories_without_permission(open_dir: Path, as_ordinary_user: AsOrdinaryUser, snapshot: Snapshot) -> None:
    root = open_dir / "r"
    for folder in ("a/1", "b/1", "c/1"):
        (root / folder).mkdir(parents=True)
    for path in (root, *root.rglob("*")):
        path.chmod(0o777)
    (root / "a/1").chmod(0o555)
    (root / "b").chmod(0o555)
    before = snapshot(open_dir)
    code, said = as_ordinary_user(lambda: write(dict.fromkeys(["a/1/x", "b/2/x", "c/1/x"], b""), root, owner_of=one))
    assert code == REFUSED
    for folder in ("a/1", "b"):
        assert f"TK404 {root / folder} : this user has no permission to read and write {root / folder}" in said
    assert str(root / "c") not in said
    assert snapshot(open_dir) == before


def test_a_place_without_permission(open_dir: Path, as_ordinary_user: AsOrdinaryUser) -> None:
    open_dir.chmod(0o555)
    code, said = as_ordinary_user(lambda: write({"m/1/x": b""}, open_dir / "r", owner_of=one))
    assert (code, said.partition(" ")[0]) == (REFUSED, "TK404")
    code, said = as_ordinary_user(lambda: write({"m/1/x": b""}, open_dir / "a" / "r", owner_of=one))
    assert (code, said.partition(" ")[0]) == (REFUSED, "TK404")
    assert list(open_dir.iterdir()) == []


@pytest.mark.parametrize(
    "steps",
    [
        "not json",
        '{"writes": []}',
        '{"writes": ["../outside"], "replaces": [], "removes": [], "empties": [], "folders": []}',
        '{"writes": ["link/x"], "replaces": [], "removes": [], "empties": [], "folders": []}',
        '{"writes": [1], "replaces": [], "removes": [], "empties": [], "folders": []}',
    ],
)
def test_a_journal_that_is_not_ours_moves_nothing(tmp_path: Path, snapshot: Snapshot, steps: str) -> None:
    root = tmp_path / "r"
    (root / journal.JOURNAL / "new").mkdir(parents=True)
    (root / journal.JOURNAL / "old").mkdir()
    (root / journal.JOURNAL / "steps.json").write_text(steps)
    (root / "link").symlink_to(tmp_path)
    (tmp_path / "outside").write_bytes(b"precious")
    (tmp_path / "x").write_bytes(b"precious")
    before = snapshot(tmp_path)
    assert [p.code for p in refused({"m/1/x": b""}, root)] == ["TK410"]
    assert snapshot(tmp_path) == before
