"""Writing: what lands on disk, what stays as it was, what is pruned."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from generator.problems import Severity
from generator.write import MANIFEST_FILE, check, target, write

FILES = {"pre/config.pbtxt": b"name: 'pre'\n", "pre/1/model.py": b"x = 1\n", "eng/1/model.onnx": b"\0\1\2" * 1000}
Snapshot = Callable[..., dict[str, Any]]


def one(path: str) -> str:
    return "digits"


def by_model(path: str) -> str:
    return f"pipeline-{path.partition('_')[0]}"


def codes(report_or_problems: Any) -> list[str]:
    return [problem.code for problem in report_or_problems]


@pytest.mark.usefixtures("way")
def test_creates_the_repository_and_the_directories_above(tmp_path: Path) -> None:
    root = tmp_path / "some" / "where" / "repository"
    report = write(FILES, root, owner_of=one)
    assert report.written == tuple(sorted(FILES))
    assert {path: (root / path).read_bytes() for path in FILES} == FILES
    assert list(root.parent.iterdir()) == [root]
    assert check(FILES, root, owner_of=one) == []


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize(("umask", "file_mode", "folder_mode"), [(0o022, 0o644, 0o755), (0o077, 0o600, 0o700)])
def test_modes_are_those_of_the_umask(tmp_path: Path, umask: int, file_mode: int, folder_mode: int) -> None:
    before = os.umask(umask)
    try:
        write(FILES, tmp_path / "r", owner_of=one)
        write({**FILES, "post/1/model.py": b""}, tmp_path / "r", owner_of=one)
    finally:
        os.umask(before)
    for path in [tmp_path / "r", *(tmp_path / "r").rglob("*")]:
        assert path.stat().st_mode & 0o777 == (folder_mode if path.is_dir() else file_mode), path


@pytest.mark.usefixtures("way")
def test_the_same_again_touches_nothing(tmp_path: Path) -> None:
    root = tmp_path / "r"
    write(FILES, root, owner_of=one)

    def everything() -> dict[Path, os.stat_result]:
        return {path: path.stat() for path in [tmp_path, root, *root.rglob("*")]}

    before = everything()
    report = write(FILES, root, owner_of=one, prune=True)
    assert (report.written, report.pruned, report.warnings) == ((), (), ())
    assert report.unchanged == tuple(sorted(FILES))
    assert {p: (s.st_ino, s.st_mtime_ns, s.st_ctime_ns) for p, s in everything().items()} == {
        p: (s.st_ino, s.st_mtime_ns, s.st_ctime_ns) for p, s in before.items()
    }


@pytest.mark.usefixtures("way")
def test_only_what_changed_is_written(tmp_path: Path) -> None:
    root = tmp_path / "r"
    write(FILES, root, owner_of=one)
    os.utime(root / "eng/1", ns=(10**18, 10**18))
    kept = (root / "eng/1/model.onnx").stat()
    report = write({**FILES, "pre/config.pbtxt": b"changed"}, root, owner_of=one)
    assert report.written == ("pre/config.pbtxt",)
    now = (root / "eng/1/model.onnx").stat()
    assert (now.st_ino, now.st_mtime_ns, now.st_nlink) == (kept.st_ino, kept.st_mtime_ns, 1)
    assert (root / "eng/1").stat().st_mtime_ns == 10**18


@pytest.mark.usefixtures("way")
def test_foreign_things_stay_just_as_they_are(tmp_path: Path, snapshot: Snapshot) -> None:
    root = tmp_path / "r"
    (root / "mine" / "deep").mkdir(parents=True)
    (root / "mine" / "script.sh").write_text("#!/bin/sh\n")
    (root / "mine" / "script.sh").chmod(0o750)
    (root / "mine" / "up").symlink_to("../..")
    (root / "mine" / "dangling").symlink_to("nowhere")
    os.mkfifo(root / "mine" / "pipe")
    os.link(root / "mine" / "script.sh", tmp_path / "second-name")
    os.utime(root / "mine" / "script.sh", (1, 1))
    os.utime(root / "mine" / "deep", (2, 2))
    (root / "mine" / "deep").chmod(0o500)
    before = snapshot(root / "mine", times=True)
    write(FILES, root, owner_of=one)
    write({"pre/config.pbtxt": b"other"}, root, owner_of=one, prune=True)
    assert snapshot(root / "mine", times=True) == before
    assert (root / "mine" / "deep").stat().st_mtime == 2
    assert (tmp_path / "second-name").samefile(root / "mine" / "script.sh")


@pytest.mark.usefixtures("way")
def test_prune_removes_what_is_stale_and_the_directories_it_leaves(tmp_path: Path) -> None:
    root = tmp_path / "r"
    write(FILES, root, owner_of=one)
    (root / "eng" / "1" / "notes").touch()
    fewer = {"pre/config.pbtxt": FILES["pre/config.pbtxt"]}
    kept = write(fewer, root, owner_of=one)
    assert kept.stale == ("eng/1/model.onnx", "pre/1/model.py")
    assert (root / "eng/1/model.onnx").exists()
    report = write(fewer, root, owner_of=one, prune=True)
    assert report.pruned == ("eng/1/model.onnx", "pre/1/model.py")
    names = sorted(str(p.relative_to(root)) for p in root.rglob("*"))
    assert names == [MANIFEST_FILE, "eng", "eng/1", "eng/1/notes", "pre", "pre/config.pbtxt"]


@pytest.mark.usefixtures("way")
def test_what_python_compiled_beside_a_pruned_file_goes_with_it(tmp_path: Path) -> None:
    root = tmp_path / "r"
    write(FILES, root, owner_of=one)
    cache = root / "pre" / "1" / "__pycache__"
    cache.mkdir()
    for name in ("model.cpython-311.pyc", "other.cpython-311.pyc"):
        (cache / name).touch()
    write({"eng/1/model.onnx": FILES["eng/1/model.onnx"]}, root, owner_of=one, prune=True)
    assert [p.name for p in cache.iterdir()] == ["other.cpython-311.pyc"]
    (cache / "other.cpython-311.pyc").unlink()
    (cache / "model.cpython-311.pyc").touch()
    write(FILES, root, owner_of=one)
    write({"eng/1/model.onnx": FILES["eng/1/model.onnx"]}, root, owner_of=one, prune=True)
    assert not (root / "pre").exists()


@pytest.mark.usefixtures("way")
def test_a_file_becomes_a_directory_and_back(tmp_path: Path, snapshot: Snapshot) -> None:
    root = tmp_path / "r"
    write({"m/1": b"file", "n/1/x": b"inside"}, root, owner_of=one)
    before = snapshot(root)
    write({"m/1/x": b"inside", "n/1": b"file"}, root, owner_of=one, prune=True)
    assert ((root / "m/1/x").read_bytes(), (root / "n/1").read_bytes()) == (b"inside", b"file")
    write({"m/1": b"file", "n/1/x": b"inside"}, root, owner_of=one, prune=True)
    assert snapshot(root) == before


@pytest.mark.usefixtures("way")
def test_an_edit_by_hand_is_told_when_overwritten_and_kept_when_stale(tmp_path: Path) -> None:
    root = tmp_path / "r"
    write(FILES, root, owner_of=one)
    for path in ("pre/config.pbtxt", "pre/1/model.py"):
        (root / path).write_bytes(b"edited")
    fewer = {path: FILES[path] for path in ("pre/config.pbtxt", "eng/1/model.onnx")}
    report = write(fewer, root, owner_of=one, prune=True)
    assert codes(report.warnings) == ["TK412", "TK411"]
    assert {warning.severity for warning in report.warnings} == {Severity.WARNING}
    assert [w.place.file for w in report.warnings] == [str(root / "pre/1/model.py"), str(root / "pre/config.pbtxt")]
    assert (root / "pre/config.pbtxt").read_bytes() == FILES["pre/config.pbtxt"]
    assert (root / "pre/1/model.py").read_bytes() == b"edited"
    assert (report.pruned, report.stale) == ((), ("pre/1/model.py",))
    # It is the user's to remove: the run after that no longer knows it.
    (root / "pre/1/model.py").unlink()
    assert write(fewer, root, owner_of=one, prune=True).warnings == ()
    assert "pre/1/model.py" not in (root / MANIFEST_FILE).read_text()


def test_an_edit_to_what_is_now_rendered_is_no_news(tmp_path: Path) -> None:
    write(FILES, tmp_path / "r", owner_of=one)
    (tmp_path / "r/pre/config.pbtxt").write_bytes(b"better")
    report = write({**FILES, "pre/config.pbtxt": b"better"}, tmp_path / "r", owner_of=one)
    assert (report.written, report.warnings) == ((), ())
    assert check({**FILES, "pre/config.pbtxt": b"better"}, tmp_path / "r", owner_of=one) == []


def test_a_deleted_file_comes_back(tmp_path: Path) -> None:
    write(FILES, tmp_path / "r", owner_of=one)
    (tmp_path / "r/pre/1/model.py").unlink()
    assert write(FILES, tmp_path / "r", owner_of=one).written == ("pre/1/model.py",)


def test_identical_files_without_a_manifest_are_adopted(tmp_path: Path) -> None:
    write(FILES, tmp_path / "r", owner_of=one)
    (tmp_path / "r" / MANIFEST_FILE).unlink()
    assert write(FILES, tmp_path / "r", owner_of=one).unchanged == tuple(sorted(FILES))
    assert check(FILES, tmp_path / "r", owner_of=one) == []


def test_pipelines_are_kept_apart(tmp_path: Path) -> None:
    root = tmp_path / "r"
    write({"a_pre/1/x": b"a", "b_pre/1/x": b"b"}, root, owner_of=by_model)
    report = write({"a_eng/1/x": b"a"}, root, owner_of=by_model, prune=True)
    assert (report.pruned, report.stale) == (("a_pre/1/x",), ())
    assert (root / "b_pre/1/x").read_bytes() == b"b"
    assert json.loads((root / MANIFEST_FILE).read_text())["files"].keys() == {"a_eng/1/x", "b_pre/1/x"}
    # Only who renders everything can tell that a pipeline is gone.
    assert write({"a_eng/1/x": b"a"}, root, owner_of=by_model, prune=True, whole=True).pruned == ("b_pre/1/x",)


def test_the_manifest_is_the_same_text_in_any_order(tmp_path: Path) -> None:
    write(FILES, tmp_path / "r", owner_of=one)
    write(dict(reversed(FILES.items())), tmp_path / "s", owner_of=one)
    text = (tmp_path / "r" / MANIFEST_FILE).read_text()
    assert text == (tmp_path / "s" / MANIFEST_FILE).read_text()
    document = json.loads(text)
    assert document["format"] == 1
    assert list(document["files"]) == sorted(FILES)
    assert document["files"]["pre/1/model.py"] == {
        "pipeline": "digits",
        "sha256": "9e26bf369911c45c243c684147b23fc9e1dcfcf257d299a1c632016a6fcd33f4",
    }


@pytest.mark.usefixtures("way")
def test_the_repository_itself_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    report = write(FILES, tmp_path / "link", owner_of=one)
    assert report.root == tmp_path / "real"
    assert (tmp_path / "link").is_symlink()
    assert check(FILES, tmp_path / "real", owner_of=one) == []


def test_where_something_is_mounted_inside_the_tree_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "r"
    (root / "data").mkdir(parents=True)
    inode = root.stat().st_ino
    monkeypatch.setattr(target, "mount_points", lambda: [Path("/"), root / "data"])
    write(FILES, root, owner_of=one)
    assert root.stat().st_ino == inode
    assert sorted(path.name for path in root.iterdir()) == [MANIFEST_FILE, "data", "eng", "pre"]
    assert check(FILES, root, owner_of=one) == []
    monkeypatch.setattr(target, "mount_points", lambda: [Path("/"), tmp_path, tmp_path / "r2"])
    write({**FILES, "new/1/x": b""}, root, owner_of=one)
    assert root.stat().st_ino != inode


def test_mount_points_are_read_from_the_kernel(tmp_path: Path) -> None:
    assert {Path("/"), Path("/proc")} <= set(target.mount_points())
    table = tmp_path / "mountinfo"
    table.write_text("36 35 98:0 /mnt1 /mnt/a\\040b\\134c rw,noatime master:1 - ext3 /dev/root rw\n")
    assert target.mount_points(table) == [Path("/mnt/a b\\c")]
    assert target.mount_points(tmp_path / "absent") == []


def test_the_repository_is_written_where_nothing_can_be_put_beside_it(
    open_dir: Path, as_ordinary_user: Callable[[Callable[[], object]], tuple[int, str]]
) -> None:
    root = open_dir / "r"
    root.mkdir()
    root.chmod(0o777)
    open_dir.chmod(0o555)
    assert as_ordinary_user(lambda: write(FILES, root, owner_of=one)) == (0, "")
    assert sorted(path.name for path in root.iterdir()) == [MANIFEST_FILE, "eng", "pre"]
    assert check(FILES, root, owner_of=one) == []
