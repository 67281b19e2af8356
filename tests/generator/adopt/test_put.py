"""An import is written as a whole or not at all, over nothing unless told, and never over what it is made of."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from repositories import Files
from repositories import put as put_files
from round_trips import configs, imported, on_disk, rendered
from wild import ONE_FLOW, SHARED, WILD, model

from generator.adopt import together
from generator.adopt.adopt import Adopted, Where, adopt
from generator.adopt.put import put
from generator.problems import ProblemsError, UserError
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


@pytest.fixture
def before(adopted: Adopted, project: Project) -> dict[str, bytes | None]:
    """A project in which some of what is imported is there already, but another."""
    put(adopted, project, project.specs)
    (project.specs / "chain.yaml").write_text("mine")
    (project.root / "models" / "second" / "mine.txt").write_text("mine")
    shutil.rmtree(project.root / "models" / "resnet50")
    return everything(project.root)


class Renames:
    """Path.rename, of which some raise: before they have done anything, or after."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, fails: dict[int, BaseException], *, after: bool) -> None:
        self.count, self._rename = 0, Path.rename

        def rename(path: Path, target: Path) -> Path:
            self.count += 1
            error = fails.get(self.count)
            if error is not None and not after:
                raise error
            done = self._rename(path, target)
            if error is not None:
                raise error
            return done

        monkeypatch.setattr(Path, "rename", rename)


RENAMES = 9  # two specs and three folders, of which four replace something


def test_the_number_of_renames(
    adopted: Adopted, project: Project, before: dict[str, bytes | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    renames = Renames(monkeypatch, {}, after=False)
    put(adopted, project, project.specs, force=True)
    assert renames.count == RENAMES
    assert everything(project.root) != before


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("fails_at", range(1, RENAMES + 1))
@pytest.mark.parametrize("kind", [OSError, KeyboardInterrupt])
def test_an_error_on_the_way_leaves_all_as_it_was(
    kind: type[BaseException], fails_at: int, after: bool, adopted: Adopted, project: Project,
    before: dict[str, bytes | None], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    renames = Renames(monkeypatch, {fails_at: kind(28, "No space left on device")}, after=after)
    with pytest.raises(kind):
        put(adopted, project, project.specs, force=True)
    assert renames.count > fails_at or (fails_at == 1 and not after)
    assert everything(project.root) == before


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("again_at", range(1, RENAMES))
def test_a_second_interrupt_while_it_is_put_back(
    again_at: int, after: bool, adopted: Adopted, project: Project,
    before: dict[str, bytes | None], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    interrupts: dict[int, BaseException] = {
        RENAMES: KeyboardInterrupt("first"),
        RENAMES + again_at: KeyboardInterrupt("second"),
    }
    Renames(monkeypatch, interrupts, after=after)
    with pytest.raises(KeyboardInterrupt):
        put(adopted, project, project.specs, force=True)
    assert everything(project.root) == before


def test_an_interrupt_at_any_line_loses_nothing(
    adopted: Adopted, project: Project, before: dict[str, bytes | None], tmp_path: Path
) -> None:
    """Ctrl-C is raised between any two of Python's own steps: here at each line of the exchange once."""
    line, wanted = 0, 0

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal line
        if frame.f_code.co_filename != together.__file__:
            return None
        line += event == "line"
        if event == "line" and line == wanted:
            raise KeyboardInterrupt
        return trace

    def interrupted(copy: Project) -> bool:
        old = sys.gettrace()
        sys.settrace(trace)
        try:
            put(adopted, copy, copy.specs, force=True)
        except KeyboardInterrupt:
            return True
        finally:
            sys.settrace(old)
        return False

    found: list[tuple[bool, dict[str, bytes | None]]] = []
    while not found or found[-1][0]:
        line, wanted = 0, wanted + 1
        copy = Project(tmp_path / f"copy{wanted}")
        shutil.copytree(project.root, copy.root)
        told = interrupted(copy)
        found.append((told, {p: data for p, data in everything(copy.root).items() if "/.import-" not in p}))
    whole = found[-1][1]
    assert [state for _, state in found if state not in (before, whole)] == []
    assert min(sum(told and state == one for told, state in found) for one in (before, whole)) >= 5


def test_what_cannot_be_put_back_is_kept_and_named(
    adopted: Adopted, project: Project, before: dict[str, bytes | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    fails: dict[int, BaseException] = {n: OSError(28, "No space left on device") for n in range(RENAMES, 99)}
    Renames(monkeypatch, fails, after=False)
    with pytest.raises(UserError, match=r"could not be put back: .*second \(No space left on device\)") as caught:
        put(adopted, project, project.specs, force=True)
    [kept] = (project.root / "models").glob(".import-*/old/second")
    assert (kept / "mine.txt").read_text() == "mine"
    assert f"move {kept} to {project.root / 'models' / 'second'}" in caught.value.hint


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


def test_an_error_in_a_new_project_leaves_nothing_and_hides_nothing(
    adopted: Adopted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = Project(tmp_path / "not" / "yet")
    Renames(monkeypatch, {3: OSError(28, "No space left on device")}, after=False)
    with pytest.raises(OSError, match="No space left"):
        put(adopted, new, new.specs)
    assert not (tmp_path / "not").exists()


# What is never written over --------------------------------------------------------------------------------


@pytest.mark.parametrize("link", ["models", "models/second", "models/chain"])
def test_the_repository_itself_is_never_replaced(link: str, project: Project, tmp_path: Path) -> None:
    theirs = put_files({**ONE_FLOW, "chain/names.txt": b"a"}, tmp_path / "theirs")
    config = theirs / "chain" / "config.pbtxt"
    config.write_text(config.read_text().replace("output { ", 'output { label_filename: "names.txt" ', 1))
    adopted = adopt(theirs, project, Where("theirs"))
    (project.root / link).parent.mkdir(exist_ok=True)
    (project.root / link).symlink_to(theirs / link.removeprefix("models").removeprefix("/"))
    old = everything(theirs), everything(project.root)
    for force in (False, True):
        with pytest.raises(ProblemsError, match=r"TK806 .* leads to .*, which is of the repository that is imported"):
            put(adopted, project, project.specs, force=force)
    assert (everything(theirs), everything(project.root)) == old


def test_folders_that_hold_what_the_repository_links_to(project: Project, tmp_path: Path) -> None:
    theirs = put_files(model("a"), tmp_path / "theirs")
    (project.root / "models" / "a").mkdir(parents=True)
    weights = project.root / "models" / "a" / "weights.bin"
    weights.write_bytes(b"1")
    (theirs / "a" / "1" / "weights.bin").symlink_to(weights)
    with pytest.raises(ProblemsError, match="which is of the repository that is imported"):
        put(adopt(theirs, project, Where("theirs")), project, project.specs, force=True)
    assert weights.read_bytes() == b"1"


def test_folders_around_the_repository(project: Project, tmp_path: Path) -> None:
    theirs = put_files(model("a"), tmp_path / "data" / "a" / "theirs")
    (project.root / "models").symlink_to(tmp_path / "data")
    with pytest.raises(ProblemsError, match="which is of the repository that is imported"):
        put(adopt(theirs, project, Where("theirs")), project, project.specs, force=True)
    assert (theirs / "a" / "config.pbtxt").is_file()


def test_specs_do_not_go_into_the_repository(adopted: Adopted, project: Project) -> None:
    with pytest.raises(ProblemsError, match=r"TK806 .*: .*theirs/specs lies in the repository that is imported"):
        put(adopted, project, adopted.repository / "specs", force=True)


# Names that are taken --------------------------------------------------------------------------------------


def test_specs_elsewhere_do_not_clash_with_those_of_the_project(adopted: Adopted, project: Project) -> None:
    (project.specs / "other.yaml").write_text(adopted.texts["chain"])
    with pytest.raises(ProblemsError, match=r"TK806 .*other.yaml is a spec of a pipeline `chain` already"):
        put(adopted, project, project.root / "imported", force=True)


def test_a_model_that_another_spec_renders_for_the_target(adopted: Adopted, project: Project, tmp_path: Path) -> None:
    imported(put_files(_named_part("second"), tmp_path / "first"), project, Where("theirs"))
    (project.root / "models" / "second").rename(project.root / "models" / "theirs")
    spec = project.specs / "one.yaml"
    spec.write_text(spec.read_text().replace("models/second", "models/theirs"))
    before = everything(project.root)
    with pytest.raises(ProblemsError) as caught:
        put(adopted, project, project.specs)
    assert [(p.code, Path(p.place.file).name, p.place.line, p.message) for p in caught.value.problems] == [
        ("TK806", "one.yaml", 2, "target `embedded` has a model `second` already"),
        ("TK806", "one.yaml", 2, "target `theirs` has a model `second` already"),
    ]
    assert everything(project.root) == before


def test_a_model_of_another_target_is_no_matter(project: Project, tmp_path: Path) -> None:
    gpu = "instance_group { kind: KIND_GPU }"
    imported(put_files(model("a", rest=gpu), tmp_path / "first"), project, Where("first"))
    (project.root / "models" / "a").rename(project.root / "models" / "b")
    spec = project.specs / "a.yaml"
    spec.write_text(spec.read_text().replace("models/a", "models/b").replace("name: a", "name: b", 1))
    spec.write_text(spec.read_text().replace("model:", "model:\n    name: a"))
    spec.rename(project.specs / "b.yaml")
    imported(put_files(model("a", rest=gpu), tmp_path / "second"), project, Where("second"))
    assert list(configs(rendered(project, "second"))) == ["a"]


def _named_part(name: str) -> Files:
    """SHARED's ensembles and their model under another name."""
    files = {path: data.replace(b'"part"', f'"{name}"'.encode()) for path, data in SHARED.items()}
    return {path.replace("part/", f"{name}/"): data for path, data in files.items()}


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
