from __future__ import annotations

import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from deploy.embedded import processes, state
from deploy.embedded.state import ServerRecord


@pytest.fixture
def record() -> ServerRecord:
    ticks = processes.start_ticks(os.getpid()) or 0
    addresses = ("127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3")
    return ServerRecord(os.getpid(), ticks, *addresses, ("/srv/models",), "secret", "embedded", "/srv/log")


def test_a_running_server_is_found_and_forgotten(tmp_path: Path, record: ServerRecord) -> None:
    directory = tmp_path / "build" / "run"
    with state.recorded(directory, record) as path:
        assert path.stat().st_mode & 0o777 == 0o600
        assert state.running(directory) == [record]
    assert state.running(directory) == []
    assert list(directory.iterdir()) == []


def test_records_of_ended_servers_are_dropped(tmp_path: Path, record: ServerRecord) -> None:
    reused_id = replace(record, start_ticks=record.start_ticks + 1)
    path = state.write(tmp_path, reused_id)
    assert not reused_id.running
    assert state.running(tmp_path) == []
    assert not path.exists()


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"format": 99, "pid": 1}', '{"format": 1, "repositories": []}']
)
def test_foreign_files_are_left_alone(tmp_path: Path, text: str) -> None:
    path = tmp_path / "server-1.json"
    path.write_text(text)
    assert state.running(tmp_path) == []
    assert path.read_text() == text


def test_an_old_record_in_a_read_only_place_stops_nothing(
    tmp_path: Path, record: ServerRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    state.write(tmp_path, replace(record, start_ticks=record.start_ticks + 1))

    def refuse(path: Path, **_options: object) -> None:
        raise OSError(30, "read-only file system", str(path))

    monkeypatch.setattr(Path, "unlink", refuse)
    assert state.running(tmp_path) == []


def test_no_directory_means_no_servers(tmp_path: Path) -> None:
    assert state.running(tmp_path / "nowhere") == []


def test_the_record_is_removed_after_an_error(tmp_path: Path, record: ServerRecord) -> None:
    with pytest.raises(KeyboardInterrupt), state.recorded(tmp_path, record):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_the_loaded_files_are_remembered(tmp_path: Path, record: ServerRecord) -> None:
    loaded = replace(record, files={"m/1/model.onnx": "0" * 64})
    state.write(tmp_path, loaded)
    assert state.running(tmp_path) == [loaded]


def test_updates_wait_for_each_other(tmp_path: Path) -> None:
    waits, order = threading.Event(), []

    def second() -> None:
        with state.updating(tmp_path, waits.set):
            order.append("second")

    thread = threading.Thread(target=second)
    with state.updating(tmp_path, lambda: order.append("nobody to wait for")):
        thread.start()
        assert waits.wait(10)
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]
    assert (tmp_path / "update.lock").stat().st_mode & 0o777 == 0o600
    assert state.running(tmp_path) == []
