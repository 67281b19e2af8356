from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from generator.load.read import MAX_FILE_BYTES, decode, read_bytes, split_lines


def test_content_is_read(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_bytes(b"a: 1\r\n")
    assert read_bytes(file, "a.yaml") == (b"a: 1\r\n", [])


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a: 1")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    os.mkfifo(tmp_path / "pipe")
    table = {
        tmp_path / "none.yaml": "TK101",
        tmp_path / "file" / "below": "TK101",
        tmp_path: "TK102",
        tmp_path / "loop": "TK102",
        tmp_path / "pipe": "TK102",
        tmp_path / ("x" * 300): "TK102",
        tmp_path / "nul\0": "TK102",
        Path("/proc/self/mem"): "TK102",  # a regular file whose reading fails
    }
    for path, code in table.items():
        data, problems = read_bytes(path, "shown")
        assert data == b""
        assert [(p.code, str(p.place)) for p in problems] == [(code, "shown")], path


def test_a_large_file_is_refused_fast(tmp_path: Path) -> None:
    file = tmp_path / "large.yaml"
    file.write_bytes(b"a: 1\n" * 2_000_000)
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        data, problems = read_bytes(file, "large.yaml")
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.1
    assert data == b""
    assert [p.code for p in problems] == ["TK104"]
    assert "10,000,000 bytes; valid: at most 1,000,000" in problems[0].message


def test_the_largest_file(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_bytes(b"#" * MAX_FILE_BYTES)
    assert read_bytes(file, "a.yaml")[1] == []
    file.write_bytes(b"#" * (MAX_FILE_BYTES + 1))
    assert [p.code for p in read_bytes(file, "a.yaml")[1]] == ["TK104"]


@pytest.mark.parametrize(
    ("data", "code", "line", "column"),
    [
        (b"\xff\xfea\x00", "TK105", 0, 0),
        (b"\xfe\xff\x00a", "TK105", 0, 0),
        (b"\xff\xfe\x00\x00a\x00\x00\x00", "TK105", 0, 0),
        (b"\x00\x00\xfe\xff\x00\x00\x00a", "TK105", 0, 0),
        (b"a: 1\nb: \xff", "TK105", 2, 4),
        ("é: ".encode() + b"\xe9", "TK105", 1, 4),
        (b"a: \xed\xa0\x80", "TK105", 1, 4),
        (b"\xef\xbb\xbfa: \xff", "TK105", 1, 4),
        (b"a\x00: 1", "TK106", 1, 2),
        (b"a: 1\r\nb: \x1b[31m", "TK106", 2, 4),
        (b"a: \x7f", "TK106", 1, 4),
        ("日: \x85".encode(), "TK106", 1, 4),
        ("a: 1\rb: \u2028".encode(), "TK106", 2, 4),
        ("a: 1\n\ufeffb: 2".encode(), "TK106", 2, 1),
        ("a: \uffff".encode(), "TK106", 1, 4),
    ],
)
def test_text_that_is_refused(data: bytes, code: str, line: int, column: int) -> None:
    _, problems = decode(data, "f")
    assert [(p.code, p.place.line, p.place.column) for p in problems] == [(code, line, column)]


def test_all_forbidden_characters_are_one_problem() -> None:
    _, problems = decode(b"\x00" * 900_000, "f")
    assert [p.message for p in problems] == ["the character U+0000 is not allowed in YAML (and 899999 more)"]


def test_a_byte_order_mark_is_no_character() -> None:
    assert decode(b"\xef\xbb\xbfa: 1", "f") == ("a: 1", [])


def test_lines_end_as_in_yaml() -> None:
    assert split_lines("a\r\nb\rc\nd\x0be\u2028f") == ["a", "b", "c", "d\x0be\u2028f"]
