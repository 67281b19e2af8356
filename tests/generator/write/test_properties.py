"""For any trees: what is written is what was rendered, twice is once, and nothing else is touched."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from generator.problems import ProblemsError
from generator.write import MANIFEST_FILE, WriteReport, check, diff, exchange, write

Snapshot = Callable[..., dict[str, Any]]
Files = dict[str, bytes]

# Few names, so that trees meet; models of two pipelines, told apart by their first letter.
_paths = st.lists(st.sampled_from(["a", "b", "1"]), min_size=0, max_size=2).flatmap(
    lambda rest: st.sampled_from(["pa", "pb", "qa"]).map(lambda model: "/".join([model, *rest, "x"]))
) | st.sampled_from(["pa/a", "pa/b", "qa/1", "pc"])
_contents = st.sampled_from([b"", b"1", b"2", b"line\n", b"\0\xff", b"x" * 3000])


def _is_tree(files: Files) -> bool:
    return not any(path.startswith(f"{other}/") for path in files for other in files)


trees = st.dictionaries(_paths, _contents, max_size=6).filter(_is_tree)


def owner_of(path: str) -> str:
    return path[0]


def on_disk(root: Path) -> Files:
    found = {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}
    found.pop(MANIFEST_FILE, None)
    return found


def put(files: Files, root: Path) -> None:
    for path, content in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)


def attempt(files: Files, root: Path, *, prune: bool) -> tuple[WriteReport | None, set[str]]:
    try:
        return write(files, root, owner_of=owner_of, prune=prune), set()
    except ProblemsError as error:
        return None, {problem.code for problem in error.problems}


def _unsupported(first: Path, second: Path) -> None:
    raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), str(second))


@settings(max_examples=120)
@given(foreign=trees, renders=st.lists(trees, min_size=1, max_size=4), prune=st.booleans(), journal=st.booleans())
def test_any_sequence_of_renders(
    snapshot: Snapshot, foreign: Files, renders: list[Files], prune: bool, journal: bool
) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        if journal:
            patch.setattr(exchange, "exchange", _unsupported)
        root = Path(folder) / "r"
        put(foreign, root)
        generated: Files = {}
        for files in renders:
            before = snapshot(root, times=True)
            report, codes = attempt(files, root, prune=prune)
            if report is None:
                assert codes == {"TK402"}
                assert snapshot(root, times=True) == before
                continue
            rendered = {owner_of(path) for path in files}
            stale = {path for path in generated if path not in files and owner_of(path) in rendered}
            assert (set(report.pruned), set(report.stale)) == ((stale, set()) if prune else (set(), stale))
            generated = {path: c for path, c in generated.items() if path not in stale or not prune} | files
            untouched = {path: content for path, content in foreign.items() if path not in generated}
            assert on_disk(root) == generated | untouched
            for path in report.unchanged:
                assert snapshot(root, times=True)[path] == before[path]
            assert list(root.parent.iterdir()) == [root]

            after = snapshot(root, times=True)
            again = write(files, root, owner_of=owner_of, prune=prune)
            assert (again.written, again.pruned, snapshot(root, times=True)) == ((), (), after)
            differences = check(files, root, owner_of=owner_of)
            assert {item.path for item in differences} - {MANIFEST_FILE} == (set() if prune else stale)
            assert bool(differences) == bool(diff(files, root, owner_of=owner_of))
            # Foreign files that were rendered identically are generated from now on.
            foreign = untouched


@settings(max_examples=60)
@given(before=trees, after=trees)
def test_check_tells_just_what_write_would_change(snapshot: Snapshot, before: Files, after: Files) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "r"
        write(before, root, owner_of=owner_of)
        told = {item.path for item in check(after, root, owner_of=owner_of, whole=True)} - {MANIFEST_FILE}
        report = write(after, root, owner_of=owner_of, whole=True, prune=True)
        assert told == {*report.written, *report.pruned}
        assert on_disk(root) == after
