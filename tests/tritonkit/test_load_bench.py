"""The folder of a sweep's server is gone in the end, whatever ends it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest

from tritonkit.load_bench import ServedBench


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ServedBench:
    """One that has served nothing yet, with its folder under `tmp_path`."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    nothing: Any = None
    return ServedBench(nothing, nothing, [], 1)


def test_its_folder_is_gone(bench: ServedBench, tmp_path: Path) -> None:
    with bench:
        [folder] = tmp_path.iterdir()
        (folder / "repository").mkdir()
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_while_the_folder_is_made_leaves_none(
    bench: ServedBench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = Path.mkdir

    def interrupted(path: Path, mode: int = 0o777) -> None:
        make(path, mode)
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "mkdir", interrupted)
    with pytest.raises(KeyboardInterrupt), bench:
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_cannot_be_ended_keeps_no_folder(
    bench: ServedBench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_: ServedBench) -> None:
        raise OSError("it does not end")

    monkeypatch.setattr(ServedBench, "_stop", fails)
    with pytest.raises(OSError, match="does not end"), bench:
        pass
    assert list(tmp_path.iterdir()) == []
