from __future__ import annotations

import re
import tempfile
from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict

from generator.load import CODES, MAX_PROBLEMS, load
from generator.problems import Severity
from users import FOR_EVERYBODY, ordinary_user


class Small(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    name: str
    sizes: list[int] = []


def write(folder: Path, **texts: str) -> Path:
    for name, text in texts.items():
        (folder / f"{name}.yaml").write_text(text)
    return folder


def test_documents_know_their_places(tmp_path: Path) -> None:
    write(tmp_path, a="name: a\nsizes: [1,\n  20]\n")
    result = load([tmp_path / "a.yaml"], Small, base=tmp_path)
    assert result.problems == []
    [document] = result.documents
    assert document.value == Small(name="a", sizes=[1, 20])
    assert document.path == tmp_path / "a.yaml"
    assert str(document.tree.place("sizes", 1)) == "a.yaml:3:3"
    assert str(document.tree.place("sizes", 9)) == "a.yaml:2:8"
    assert result.sources == {"a.yaml": "name: a\nsizes: [1,\n  20]\n"}


def test_all_problems_of_all_files(tmp_path: Path) -> None:
    write(tmp_path, good="name: x", bad="sizes: [a, 1, b]\nnam: 3", worse="a: [", dup="name: x\nsizes: 3\nname: y")
    (tmp_path / "other.yml").write_text("[]")
    (tmp_path / "ignored.txt").write_text("[]")
    (tmp_path / ".hidden.yaml").write_text("[]")
    (tmp_path / "folder.yaml").mkdir()
    result = load([tmp_path, tmp_path / "gone.yaml"], Small, base=tmp_path)
    assert [d.path.name for d in result.documents] == ["good.yaml"]
    assert [(str(p.place), p.code) for p in result.problems] == [
        ("bad.yaml:1:1", "TK122"),
        ("bad.yaml:1:9", "TK123"),
        ("bad.yaml:1:15", "TK123"),
        ("bad.yaml:2:1", "TK121"),
        ("dup.yaml:2:8", "TK123"),
        ("dup.yaml:3:1", "TK111"),
        ("other.yml:1:1", "TK110"),
        ("worse.yaml:1:5", "TK108"),
        ("gone.yaml", "TK101"),
    ]


def test_a_file_with_problems_of_yaml_alone_is_no_document(tmp_path: Path) -> None:
    write(tmp_path, a="name: &x a")
    result = load([tmp_path / "a.yaml"], Small, base=tmp_path)
    assert result.documents == []
    assert [p.code for p in result.problems] == ["TK113"]


def test_an_empty_directory(tmp_path: Path) -> None:
    (tmp_path / "specs").mkdir()
    result = load([tmp_path / "specs"], Small, base=tmp_path)
    assert [(str(p.place), p.code) for p in result.problems] == [("specs", "TK103")]


def test_paths_that_are_no_paths(tmp_path: Path) -> None:
    result = load([tmp_path / "nul\0.yaml", tmp_path / ("x" * 300)], Small, base=tmp_path)
    assert [p.code for p in result.problems] == ["TK102", "TK102"]


def test_what_may_not_be_read() -> None:
    with tempfile.TemporaryDirectory(dir=FOR_EVERYBODY) as name:
        outer = Path(name)
        outer.chmod(0o755)
        write(outer, secret="name: a")
        (outer / "secret.yaml").chmod(0)
        (outer / "locked").mkdir(mode=0)
        with ordinary_user():
            result = load([outer / "secret.yaml", outer / "locked", outer / "locked" / "a.yaml"], Small)
        assert [p.code for p in result.problems] == ["TK102", "TK102", "TK102"]
        assert all("Permission denied" in p.message for p in result.problems)


def test_a_file_named_twice_is_loaded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, a="name: a")
    monkeypatch.chdir(tmp_path)
    result = load([Path("a.yaml"), tmp_path, tmp_path / "x" / ".." / "a.yaml"], Small)
    assert len(result.documents) == 1


def test_names_are_relative_to_the_base_where_inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "in").mkdir()
    write(tmp_path, out="a: 1")
    write(tmp_path / "in", a="a: 1")
    monkeypatch.chdir(tmp_path / "in")
    names = [p.place.file for p in load([tmp_path / "in" / "a.yaml", Path("../out.yaml")], Small).problems]
    assert sorted(set(names)) == ["../out.yaml", "a.yaml"]
    names = [p.place.file for p in load([Path("a.yaml")], Small, base=tmp_path).problems]
    assert set(names) == {"in/a.yaml"}


def test_only_the_first_problems_of_a_file_are_listed(tmp_path: Path) -> None:
    write(tmp_path, a="name: a\nsizes: [" + "x," * 600 + "]", b="name: " + "[" * 3)
    result = load([tmp_path], Small, base=tmp_path)
    of_a = [p for p in result.problems if p.place.file == "a.yaml"]
    assert len(of_a) == MAX_PROBLEMS + 1
    assert [p.field for p in of_a[:2]] == ["sizes[0]", "sizes[1]"]
    assert (of_a[-1].code, of_a[-1].severity) == ("TK118", Severity.NOTE)
    assert [p.code for p in result.problems if p.place.file == "b.yaml"] == ["TK108"]


def test_codes_are_stable_and_titled() -> None:
    assert list(CODES) == [f"TK{n}" for n in (*range(101, 119), *range(121, 130))]
    assert all(re.fullmatch(r"[a-z].*[a-z0-9]|the YAML .*", title) for title in CODES.values())
    assert len(set(CODES.values())) == len(CODES)
