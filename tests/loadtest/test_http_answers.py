"""Where an answer ends, whatever pieces it comes in; and what is none, in words."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.http_answers import LONGEST_HEAD_BYTES, NoAnswerError, ends_of

HEAD = b"HTTP/1.1 200 OK\r\nServer: a\r\nContent-LENGTH: \t 5\r\nConnection: close\r\n\r\n"
ALERT = bytes.fromhex("15030300020250")  # what an HTTPS server says to HTTP: a fatal `unexpected message`
BEFORE = "an answer before the answer (status {})"


@given(st.integers(0, len(HEAD) + 20), st.booleans())
def test_a_head_is_read_once_it_is_whole_and_no_sooner(cut: int, mutable: bool) -> None:
    data = (HEAD + b"abcde" + b"HTTP/1.1 400 next\r\n\r\n")[:cut]
    expected = (len(HEAD), len(HEAD) + 5) if cut >= len(HEAD) else None
    assert ends_of(bytearray(data) if mutable else data) == expected


@pytest.mark.parametrize("line", [b"HTTP/1.0 404 Not Found", b"HTTP/1.1 503 ", b"HTTP/1.1 204"])
def test_any_status_of_an_answer_is_one(line: bytes) -> None:
    head = line + b"\r\ncontent-length:0\r\n\r\n"
    assert ends_of(head) == (len(head), len(head))


def test_a_length_in_a_body_is_not_the_answers() -> None:
    with pytest.raises(NoAnswerError, match=r"^an answer without Content-Length, which cannot be read$"):
        ends_of(b"HTTP/1.1 200 OK\r\n\r\nsome\r\nContent-Length: 3\r\n\r\n")


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (ALERT, "TLS"), (ALERT[:3], "TLS"), (bytes.fromhex("160301007a0200"), "TLS"), (ALERT + b"\r\n\r\n", "TLS"),
        (b"HTTP/1.1 100 Continue\r\n\r\n", BEFORE.format(100)), (b"HTTP/1.1 103 \r\nLink: a\r\n\r\n", BEFORE.format(103)),
        (b"HTTP/1.1 100 Continue\r\nContent-Length: 0\r\n\r\n" + HEAD, BEFORE.format(100)),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "no HTTP"), (b"H2", "no HTTP"), (b"\0", "no HTTP"), (b"\r\n\r\n" * 9, "no HTTP"),
        (b"HTTP/2 200\r\nContent-Length: 3\r\n\r\n", "no HTTP"), (b"HTTP/1.1 abc\r\nContent-Length: 3\r\n\r\n", "no HTTP"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "an answer without Content-Length"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n", None),
        (b"HTTP/1.1 200 OK\r\n" + b"a" * LONGEST_HEAD_BYTES, "an answer whose head does not end"),
        (b"a" * LONGEST_HEAD_BYTES * 2, "no HTTP"),
    ],
)  # fmt: skip
def test_what_is_no_answer_is_told_alike(data: bytes, what: str | None) -> None:
    for came in (data, bytearray(data)):
        if what is None:  # more than any memory holds: it is taken for an answer that does not end
            assert ends_of(came) is not None
            continue
        with pytest.raises(NoAnswerError) as raised:
            ends_of(came)
        assert str(raised.value) == f"{what}, which cannot be read"


@given(st.binary(max_size=60))
def test_anything_is_an_answer_or_refused_or_waited_for(data: bytes) -> None:
    with suppress(NoAnswerError):
        ends = ends_of(data)
        assert ends is None or 0 < ends[0] <= ends[1]
