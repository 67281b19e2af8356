"""Engines are installed whole or not at all, and what is found is what was installed."""

from __future__ import annotations

import json
import resource
from pathlib import Path
from typing import Any

import pytest

from generator.engine.errors import StageError
from generator.engine.install.store import all_installed, folder_of, installed
from generator.engine.install.write import install, manifest_of
from generator.project import Project

PLACE = ("embedded", "digits_engine", 1)
DATA = b"engine" * 2000


@pytest.fixture
def project(tmp_path: Path) -> Project:
    (tmp_path / "specs").mkdir()
    return Project(tmp_path)


def manifest(data: bytes | None = DATA, key: str = "k", **measured: Any) -> dict[str, Any]:
    file = None if data is None else ("model.onnx", data)
    return manifest_of(
        PLACE, key, {"onnx": "models/digits.onnx"}, engine="onnxruntime", precision="fp16", file=file,
        facts={"accuracy": {"passed": True}}, measured=measured,
    )  # fmt: skip


def tree(project: Project) -> dict[str, bytes]:
    root = project.root / "engines"
    return {str(p.relative_to(root)): p.read_bytes() if p.is_file() else b"" for p in root.rglob("*")}


def test_what_was_installed_is_found(project: Project) -> None:
    assert installed(project, *PLACE) is None
    written = install(project, PLACE, manifest(), DATA)
    found = installed(project, *PLACE)
    assert found == written
    assert (found.engine, found.precision, found.key, found.file) == ("onnxruntime", "fp16", "k", "model.onnx")
    assert found.damage() == ""
    assert set(tree(project)) == {
        "embedded", "embedded/digits_engine", "embedded/digits_engine/1",
        "embedded/digits_engine/1/engine.json", "embedded/digits_engine/1/model.onnx",
    }  # fmt: skip


def test_the_hash_is_of_all_but_what_is_measured() -> None:
    first = manifest(latency_us={"1": 5})
    assert first["sha256"] == manifest(latency_us={"1": 7})["sha256"]
    assert first["sha256"] != manifest(key="other")["sha256"]
    assert first["sha256"] != manifest(DATA + b"!")["sha256"]


def test_an_engine_that_is_the_onnx_file_has_no_file_of_its_own(project: Project) -> None:
    found = install(project, PLACE, manifest(None), None)
    assert (found.file, found.damage()) == (None, "")
    assert [path.name for path in found.folder.iterdir()] == ["engine.json"]


def test_the_one_before_is_replaced_with_all_its_files(project: Project) -> None:
    install(project, PLACE, manifest(), DATA)
    install(project, PLACE, manifest(None, key="new"), None)
    assert [path.name for path in folder_of(project, *PLACE).iterdir()] == ["engine.json"]
    assert {Path(name).name for name in tree(project)} == {"embedded", "digits_engine", "1", "engine.json"}


@pytest.mark.parametrize("room", [0, 5000, len(DATA)])
def test_without_room_the_one_before_stays(project: Project, room: int) -> None:
    install(project, PLACE, manifest(), DATA)
    before = tree(project)
    new = {**manifest(DATA * 2, key="new"), "long": "x" * 2 * len(DATA)}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))
    try:
        with pytest.raises(StageError) as caught:
            install(project, PLACE, new, DATA * 2)
        with pytest.raises(StageError):
            install(project, ("embedded", "other", 1), new, None)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    [finding] = caught.value.findings
    assert (finding.code, finding.about) == ("TK983", "engine")
    assert "File too large" in finding.message
    assert {name: data for name, data in tree(project).items() if "other" not in name} == before
    assert not any(data for name, data in tree(project).items() if "other" in name)


def test_an_interrupt_leaves_the_one_before(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    install(project, PLACE, manifest(), DATA)
    before = tree(project)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("generator.engine.install.write.exchange", interrupted)
    with pytest.raises(KeyboardInterrupt):
        install(project, PLACE, manifest(DATA * 2, key="new"), DATA * 2)
    assert tree(project) == before


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", "{}", '{"format": 2}', "[" * 100_000,
     json.dumps({**manifest(), "key": 7}), json.dumps({**manifest(), "file": "model.onnx"}),
     json.dumps({**manifest(), "file": {"name": "model.onnx"}})],
)  # fmt: skip
def test_what_is_no_manifest_is_no_engine(project: Project, text: str) -> None:
    folder = folder_of(project, *PLACE)
    folder.mkdir(parents=True)
    (folder / "engine.json").write_text(text)
    assert installed(project, *PLACE) is None
    assert list(all_installed(project)) == []


def test_damage_is_said(project: Project) -> None:
    found = install(project, PLACE, manifest(), DATA)
    (found.folder / "model.onnx").write_bytes(DATA[:-1])
    assert "is not the file that was built" in found.damage()
    (found.folder / "model.onnx").unlink()
    assert "cannot be read" in found.damage()


def test_all_are_listed_in_order_and_nothing_else(project: Project) -> None:
    for place in (("production", "a", 1), ("embedded", "b", 10), ("embedded", "b", 2)):
        install(project, place, manifest(), DATA)
    (project.root / "engines" / "embedded" / "b" / "notes").mkdir()
    (project.root / "engines" / "embedded" / "b" / "notes" / "engine.json").write_text(json.dumps(manifest()))
    found = [(one.target, one.model, one.version) for one in all_installed(project)]
    assert found == [("embedded", "b", 2), ("embedded", "b", 10), ("production", "a", 1)]


def test_an_edited_manifest_is_damaged(project: Project) -> None:
    folder = install(project, PLACE, manifest(), DATA).folder
    file = folder / "engine.json"
    whole = file.read_text()
    for old, new in (('"passed": true', '"passed": false'), ('"precision": "fp16"', '"precision": "fp32"')):
        file.write_text(whole.replace(old, new))
        found = installed(project, *PLACE)
        assert found is not None
        assert "changed by hand" in found.damage()
    file.write_text(
        whole.replace('"measured": {', '"measured": {"note": "a quiet machine"').replace('machine"}', 'machine"}')
    )
    assert "changed by hand" not in (installed(project, *PLACE) or found).damage()
