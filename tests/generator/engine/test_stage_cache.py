from __future__ import annotations

from pathlib import Path

import pytest

from generator.engine.cache import Cache


def test_what_was_made_for_the_same_facts_is_not_made_again(tmp_path: Path) -> None:
    made: list[int] = []

    def make() -> dict[str, int]:
        made.append(1)
        return {"number": len(made)}

    assert Cache(tmp_path).json("stage", {"a": 1, "b": 2}, make) == {"number": 1}
    assert Cache(tmp_path).json("stage", {"b": 2, "a": 1}, make) == {"number": 1}
    assert Cache(tmp_path).json("stage", {"a": 2, "b": 2}, make) == {"number": 2}
    assert Cache(tmp_path, fresh=True).json("stage", {"a": 1, "b": 2}, make) == {"number": 3}
    assert Cache(tmp_path).json("stage", {"a": 1, "b": 2}, make) == {"number": 3}


@pytest.mark.parametrize("damage", [b"", b"{", b"\xff\xfe"])
def test_a_damaged_file_is_made_anew(tmp_path: Path, damage: bytes) -> None:
    assert Cache(tmp_path).json("stage", {}, lambda: [1]) == [1]
    [file] = [path for path in tmp_path.rglob("*") if path.is_file()]
    file.write_bytes(damage)
    assert Cache(tmp_path).json("stage", {}, lambda: [2]) == [2]
    assert Cache(tmp_path).json("stage", {}, lambda: [3]) == [2]


def test_what_cannot_be_made_is_not_tried_twice(tmp_path: Path) -> None:
    tried: list[int] = []

    def make() -> None:
        tried.append(1)
        raise ValueError("no data")

    with pytest.raises(ValueError, match="no data"):
        Cache(tmp_path).json("stage", {}, make)
    assert tried == [1]


def test_a_folder_that_cannot_be_written_is_no_failure(tmp_path: Path) -> None:
    (tmp_path / "stage").write_text("a file in the way")
    assert Cache(tmp_path).json("stage", {}, lambda: "x") == "x"
