"""The context of a build: what is in it, that it is the same every time, and that none of it is left behind."""

from __future__ import annotations

import os
import tarfile
import tempfile
from pathlib import Path

import pytest

from deploy.docker import base, context, packages
from deploy.docker.request import Request, prepare
from deploy.tools.process import Completed
from generator.problems import ProblemsError
from generator.project import Project

DEBIAN = base.parse(f"debian:12@sha256:{'0' * 64}")


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    folder = tmp_path / "wheels"
    folder.mkdir()
    (folder / "numpy-1.whl").write_bytes(b"numpy")
    (folder / "notes.txt").write_bytes(b"not a wheel")
    return folder


def test_it_holds_what_the_dockerfile_copies_and_nothing_else(embedded: Request, wheels: Path) -> None:
    found = context.entries(embedded, DEBIAN, wheels)
    outside = [name for name in found if not name.startswith("repository/")]
    assert outside == [
        ".dockerignore", "Dockerfile", "requirements.txt", "tools/healthy.py", "tools/inventory.py", "tools/start",
        "wheels/numpy-1.whl",
    ]  # fmt: skip
    assert {name.removeprefix("repository/") for name in found if name.startswith("repository/")} == set(
        embedded.files
    )


def test_it_is_the_same_every_time(embedded: Request, wheels: Path) -> None:
    texts = []
    for second in (1_000_000_000, 1_700_000_000):
        os.utime(wheels / "numpy-1.whl", (second, second))
        with context.packed(context.entries(embedded, DEBIAN, wheels)) as file:
            texts.append(file.read())
    assert texts[0] == texts[1]


def test_only_the_start_may_be_executed_and_root_owns_all(embedded: Request, wheels: Path) -> None:
    with (
        context.packed(context.entries(embedded, DEBIAN, wheels)) as file,
        tarfile.open(fileobj=file) as tar,
    ):
        members = tar.getmembers()
    assert [member.name for member in members if member.mode & 0o111] == ["tools/start"]
    assert {(member.uid, member.gid, member.mtime) for member in members} == {(0, 0, 0)}
    assert not any(member.mode & 0o022 for member in members)


def test_nothing_is_left_when_it_is_interrupted(
    embedded: Request, wheels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = tmp_path / "tmp"
    there.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(there))
    with pytest.raises(KeyboardInterrupt), context.packed(context.entries(embedded, DEBIAN, wheels)):
        raise KeyboardInterrupt
    assert list(there.iterdir()) == []


def test_a_folder_is_written_whole_or_not(embedded: Request, wheels: Path, tmp_path: Path) -> None:
    files = context.entries(embedded, DEBIAN, wheels)
    context.write_folder(files, tmp_path / "out")
    written = {
        path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*") if path.is_file()
    }
    assert written == set(files)
    assert os.access(tmp_path / "out" / "tools" / "start", os.X_OK)
    with pytest.raises(ProblemsError) as error:
        context.write_folder(files, tmp_path / "out")
    assert error.value.problems[0].code == "TK473"
    with pytest.raises(FileNotFoundError):
        context.write_folder({**files, "wheels/gone.whl": wheels / "gone.whl"}, tmp_path / "other")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "project", "wheels"]


def test_a_full_disk_is_told_before_anything_is_written(
    embedded: Request, wheels: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type("Usage", (), {"free": 1 << 20})
    monkeypatch.setattr(context.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(ProblemsError) as error, context.packed(context.entries(embedded, DEBIAN, wheels)):
        pass
    assert error.value.problems[0].code == "TK464"
    assert "1 MiB free" in error.value.problems[0].message
    assert "TMPDIR=" in error.value.problems[0].hint


def test_a_disk_that_pip_fills_is_told_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    said = "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device\n"
    monkeypatch.setattr(packages, "run", lambda *_, **__: Completed((), 1, "", said))
    with pytest.raises(ProblemsError) as error, packages.wheels("embedded", "numpy==1\n", lambda _line: None):
        pass
    [problem] = error.value.problems
    assert problem.code == "TK464"
    assert "TMPDIR=" in problem.hint


def test_a_load_generator_has_tritonkit_and_the_specs_that_are_named(project: Project, wheels: Path) -> None:
    made = prepare(project, [project.root / "specs" / "digits.yaml"], target=None, embedded=True, load=True)
    found = context.entries(made, DEBIAN, wheels)
    assert {"source/tritonkit/cli/__init__.py", "source/tritonkit_runtime/__init__.py", "project/specs/digits.yaml",
            "project/models/digits.onnx", "source/loadtest/report/charts/__init__.py"} <= found.keys()  # fmt: skip
    assert "project/specs/canvas.yaml" not in found
    assert "project/models/photos.onnx" not in found
    assert not any("__pycache__" in name for name in found)
    assert made.arguments()[:3] == ["load", "run", "specs/digits.yaml"]
    assert made.name == "tritonkit/digits-load:embedded"
