"""An import is written as a whole or not at all, and over nothing unless told."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from repositories import put as put_files
from round_trips import configs, imported, on_disk, rendered
from wild import ONE_FLOW, WILD, model

from generator.adopt.adopt import Adopted, Where, adopt
from generator.adopt.put import put
from generator.problems import ProblemsError
from generator.project import Project


def everything(root: Path) -> dict[str, bytes | None]:
    """Files and folders below `root`."""
    return {p.relative_to(root).as_posix(): p.read_bytes() if p.is_file() else None for p in sorted(root.rglob("*"))}


@pytest.fixture
def adopted(project: Project, tmp_path: Path) -> Adopted:
    """A repository of several models, ready to be written."""
    return adopt(put_files({**ONE_FLOW, **WILD["resnet50"][0]}, tmp_path / "theirs"), project, Where("theirs"))


def test_nothing_is_written_over(adopted: Adopted, project: Project) -> None:
    (project.root / "models" / "second").mkdir(parents=True)
    (project.specs / "chain.yaml").write_text("mine")
    before = everything(project.root)
    with pytest.raises(ProblemsError) as caught:
        put(adopted, project, project.specs)
    assert [(p.code, p.message) for p in caught.value.problems] == [
        ("TK806", "chain.yaml is there already"), ("TK806", "second is there already"),
    ]  # fmt: skip
    assert everything(project.root) == before


def test_told_to_it_replaces(adopted: Adopted, project: Project) -> None:
    put(adopted, project, project.specs)
    whole = everything(project.root)
    (project.root / "models" / "second" / "old.txt").write_text("stale")
    (project.root / "models" / "mine.onnx").write_text("mine")
    (project.specs / "chain.yaml").write_text("mine")
    put(adopted, project, project.specs, force=True)
    assert everything(project.root) == whole | {"models/mine.onnx": b"mine"}


def test_a_pipeline_of_another_file_is_in_the_way_even_then(adopted: Adopted, project: Project) -> None:
    (project.specs / "other.yaml").write_text(adopted.texts["chain"])
    with pytest.raises(ProblemsError, match=r"TK806 .*other.yaml is a spec of a pipeline `chain` already"):
        put(adopted, project, project.specs, force=True)


@pytest.mark.parametrize("fails_at", range(1, 8))
@pytest.mark.parametrize("kind", [OSError, KeyboardInterrupt])
def test_an_error_on_the_way_leaves_all_as_it_was(
    kind: type[BaseException], fails_at: int, adopted: Adopted, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(adopted, project, project.specs)
    (project.specs / "chain.yaml").write_text("mine")
    shutil.rmtree(project.root / "models" / "resnet50")
    before = everything(project.root)
    rename, renamed = Path.rename, 0

    def failing(self: Path, target: Path) -> Path:
        nonlocal renamed
        renamed += 1
        if renamed == fails_at:
            raise kind(28, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(kind):
        put(adopted, project, project.specs, force=True)
    assert renamed > fails_at or fails_at == 1
    assert everything(project.root) == before


def test_a_copy_that_fails_leaves_not_even_a_folder(
    adopted: Adopted, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = everything(project.root)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(OSError, match="No space left"):
        put(adopted, project, project.root / "deep" / "specs")
    assert everything(project.root) == before


def test_specs_may_go_elsewhere(adopted: Adopted, project: Project) -> None:
    files = put(adopted, project, project.root / "imported")
    assert sorted(file.relative_to(project.root).as_posix() for file in files) == [
        "imported/chain.yaml",
        "imported/resnet50.yaml",
    ]


def test_a_second_import_adds_to_the_first(project: Project, tmp_path: Path) -> None:
    first = put_files(ONE_FLOW, tmp_path / "theirs")
    second = put_files(model("more"), tmp_path / "others")
    imported(first, project, Where("theirs"))
    imported(second, project, Where("theirs"))
    assert configs(rendered(project, "theirs")) == configs(on_disk(first)) | configs(on_disk(second))
