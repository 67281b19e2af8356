"""A file is replaced whole, or left as it was."""

from __future__ import annotations

import os
import socket
import stat
import threading
from pathlib import Path

import pytest

from generator.whole_file import passing_folder, write_whole


def test_written_with_the_usual_mode(tmp_path: Path) -> None:
    file = tmp_path / "new"
    write_whole(file, "text é\n")
    (tmp_path / "beside").touch()
    assert file.read_text(encoding="utf-8") == "text é\n"
    assert file.stat().st_mode == (tmp_path / "beside").stat().st_mode


def test_the_mode_stays(tmp_path: Path) -> None:
    file = tmp_path / "mine"
    file.write_text("before")
    file.chmod(0o640)
    write_whole(file, "after")
    assert (file.read_text(), file.stat().st_mode & 0o777) == ("after", 0o640)


def test_a_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "link").symlink_to(Path("far") / "file")
    for text in ("new", "replaced"):
        write_whole(tmp_path / "link", text)
        assert (tmp_path / "link").readlink() == Path("far") / "file"
        assert [(p.name, p.read_text()) for p in (tmp_path / "far").iterdir()] == [("file", text)]


def test_a_failure_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "old"
    file.write_text("before")

    def full(*_: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space"):
        write_whole(file, "after")
    assert [p.name for p in tmp_path.iterdir()] == ["old"]
    assert file.read_text() == "before"


def test_the_owner_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever may not give files away replaces it all the same."""
    file = tmp_path / "theirs"
    file.write_text("before")
    if os.geteuid() == 0:
        os.chown(file, 65534, 65534)
    before = file.stat()
    write_whole(file, "after")
    assert (file.read_text(), file.stat().st_uid, file.stat().st_gid) == ("after", before.st_uid, before.st_gid)

    def refused(*_: object) -> None:
        raise PermissionError(1, os.strerror(1))

    monkeypatch.setattr(os, "chown", refused)
    write_whole(file, "mine")
    assert file.read_text() == "mine"


@pytest.mark.parametrize("through", ["itself", "a link"])
def test_a_pipe_is_written_into_and_stays_one(tmp_path: Path, through: str) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    (tmp_path / "link").symlink_to("pipe")
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()), daemon=True)
    reader.start()
    write_whole(pipe if through == "itself" else tmp_path / "link", "text é\n")
    reader.join(timeout=60)
    assert read == ["text é\n".encode()]
    assert stat.S_ISFIFO(pipe.lstat().st_mode)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["link", "pipe"]


def test_what_cannot_be_written_into_is_not_replaced(tmp_path: Path) -> None:
    place = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(place))
        with pytest.raises(OSError, match="No such device") as caught:
            write_whole(place, "text")
        assert caught.value.filename == str(place)
        assert stat.S_ISSOCK(place.lstat().st_mode)


def test_a_passing_folder_is_gone_in_the_end(tmp_path: Path) -> None:
    with passing_folder(tmp_path, ".stage-") as folder:
        (folder / "deep").mkdir()
    with passing_folder(tmp_path, ".stage-") as folder:
        folder.rename(tmp_path / "kept")
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_an_interrupt_while_a_passing_folder_is_made_leaves_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = Path.mkdir

    def interrupted(path: Path, mode: int = 0o777) -> None:
        make(path, mode)
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "mkdir", interrupted)
    with pytest.raises(KeyboardInterrupt), passing_folder(tmp_path, ".stage-"):
        pass
    assert list(tmp_path.iterdir()) == []
