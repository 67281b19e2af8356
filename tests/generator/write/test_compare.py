"""check and diff: what write would change, and nothing touched."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from generator.write import MANIFEST_FILE, Difference, DifferenceKind, check, diff, write

Snapshot = Callable[..., dict[str, Any]]


def one(path: str) -> str:
    return "digits"


def by_model(path: str) -> str:
    return path[0]


def without_manifest(differences: list[Difference]) -> list[str]:
    assert MANIFEST_FILE in {item.path for item in differences}
    return [str(item) for item in differences if item.path != MANIFEST_FILE]


def test_every_kind_of_difference_in_order_and_nothing_touched(tmp_path: Path, snapshot: Snapshot) -> None:
    root = tmp_path / "r"
    write({"b/x": b"1", "c/x": b"1", "a/x": b"1", "d/x": b"1"}, root, owner_of=one)
    (root / "d/x").write_bytes(b"edited")
    (root / "foreign").write_bytes(b"")
    before = snapshot(tmp_path, times=True)
    files = {"z/x": b"1", "b/x": b"2", "a/x": b"1"}
    assert without_manifest(check(files, root, owner_of=one)) == [
        "changed b/x",
        "stale c/x",
        "stale d/x",
        "missing z/x",
    ]
    assert diff(files, root, owner_of=one)
    assert snapshot(tmp_path, times=True) == before


def test_a_repository_that_is_not_there(tmp_path: Path) -> None:
    assert check({"m/x": b"x"}, tmp_path / "r", owner_of=one) == [
        Difference(MANIFEST_FILE, DifferenceKind.MISSING),
        Difference("m/x", DifferenceKind.MISSING),
    ]
    assert list(tmp_path.iterdir()) == []


def test_a_lost_or_outdated_manifest_is_a_difference(tmp_path: Path) -> None:
    write({"m/x": b"x"}, tmp_path / "r", owner_of=one)
    changed = [Difference(MANIFEST_FILE, DifferenceKind.CHANGED)]
    assert check({"m/x": b"x"}, tmp_path / "r", owner_of=lambda path: "renamed", whole=True) == changed
    (tmp_path / "r" / MANIFEST_FILE).unlink()
    missing = [Difference(MANIFEST_FILE, DifferenceKind.MISSING)]
    assert check({"m/x": b"x"}, tmp_path / "r", owner_of=one) == missing


def test_what_write_would_refuse_to_overwrite_is_a_difference(tmp_path: Path) -> None:
    (tmp_path / "m" / "dir").mkdir(parents=True)
    (tmp_path / "m" / "x").write_bytes(b"mine")
    (tmp_path / "n").write_bytes(b"mine")
    files = {"m/x": b"x", "m/dir": b"x", "n/x": b"x"}
    assert without_manifest(check(files, tmp_path, owner_of=one)) == ["changed m/dir", "changed m/x", "changed n/x"]
    text = diff(files, tmp_path, owner_of=one)
    assert "m/dir is a directory, and m/dir should be a file\n" in text
    assert "n is a file, and n/x should be a file\n" in text
    assert "-mine\n\\ No newline at end of file\n+x\n\\ No newline at end of file\n" in text


def test_the_pipelines_that_were_not_rendered_are_stale_only_if_all_were(tmp_path: Path) -> None:
    write({"a/x": b"", "b/x": b""}, tmp_path / "r", owner_of=by_model)
    assert check({"a/x": b""}, tmp_path / "r", owner_of=by_model) == []
    assert without_manifest(check({"a/x": b""}, tmp_path / "r", owner_of=by_model, whole=True)) == ["stale b/x"]


def test_the_diff_is_a_unified_diff(tmp_path: Path) -> None:
    root = tmp_path / "r"
    model = b"\0" * 10
    old = {"a/gone": b"one\n", "b/text": b"1\n2\n3\n", "c/model": model, "d/ends": b"x", "e/feed": b"a\x0cb\nc\n"}
    new = {
        "b/text": b"1\ntwo\n3\n",
        "c/model": b"\xff" * 3,
        "d/ends": b"x\n",
        "e/feed": b"a\x0cb\nd\n",
        "f/new": b"n\n",
    }
    write(old, root, owner_of=one)
    text = diff({**new, "g/.gitkeep": b""}, root, owner_of=one)
    hashes = [hashlib.sha256(content).hexdigest()[:16] for content in (model, b"\xff" * 3)]
    manifest, rest = text.split("--- a/a/gone\n")
    assert manifest.startswith(f"--- a/{MANIFEST_FILE}\n+++ b/{MANIFEST_FILE}\n@@ ")
    assert "--- a/a/gone\n" + rest == (
        "--- a/a/gone\n+++ /dev/null\n@@ -1 +0,0 @@\n-one\n"
        "--- a/b/text\n+++ b/b/text\n@@ -1,3 +1,3 @@\n 1\n-2\n+two\n 3\n"
        f"Binary files a/c/model (10 bytes, sha256 {hashes[0]}) and b/c/model (3 bytes, sha256 {hashes[1]}) differ\n"
        "--- a/d/ends\n+++ b/d/ends\n@@ -1 +1 @@\n-x\n\\ No newline at end of file\n+x\n"
        "--- a/e/feed\n+++ b/e/feed\n@@ -1,2 +1,2 @@\n a\x0cb\n-c\n+d\n"
        "--- /dev/null\n+++ b/f/new\n@@ -0,0 +1 @@\n+n\n"
        "--- /dev/null\n+++ b/g/.gitkeep\n"
    )


def test_no_difference_is_no_text(tmp_path: Path) -> None:
    write({"m/x": b"x"}, tmp_path / "r", owner_of=one)
    assert diff({"m/x": b"x"}, tmp_path / "r", owner_of=one) == ""


def test_a_binary_file_that_comes_or_goes(tmp_path: Path) -> None:
    write({"a/x": b"\0", "b/x": b""}, tmp_path / "r", owner_of=one)
    text = diff({"b/x": b"", "c/x": b"\0\0"}, tmp_path / "r", owner_of=one)
    binary = [line for line in text.splitlines() if line.startswith("Binary")]
    assert [line.partition(" (")[0] for line in binary] == ["Binary files a/a/x", "Binary files /dev/null and b/c/x"]
    assert binary[0].endswith(" and /dev/null differ")
