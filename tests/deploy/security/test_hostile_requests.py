"""Requests that no client library sends: the server refuses or drops them, lives, and goes on to serve others."""

from __future__ import annotations

import contextlib
import socket
from typing import Any

import pytest

pytestmark = pytest.mark.server

INFER = b"POST /v2/models/echo/infer HTTP/1.1\r\nHost: x\r\n"
MALFORMED = {
    "a negative length": INFER + b"Content-Length: -1\r\n\r\nx",
    "a length beyond any integer": INFER + b"Content-Length: 99999999999999999999999\r\n\r\nx",
    "a length that is no number": INFER + b"Content-Length: abc\r\n\r\nx",
    "a chunk length that is no number": INFER + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nab\r\n0\r\n\r\n",
    "bytes of no protocol": b"\x00\xff" * 50,
    "a line without an end": b"GET /" + b"a" * 1_000_000,
}
ANSWERED_WITH_AN_ERROR = {
    "two lengths": INFER + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nxy",
    "chunks and a length": INFER + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n1\r\na\r\n0\r\n\r\n",
    "JSON longer than the body": INFER + b"Inference-Header-Content-Length: 99999\r\nContent-Length: 2\r\n\r\n{}",
    "JSON of a negative length": INFER + b"Inference-Header-Content-Length: -5\r\nContent-Length: 2\r\n\r\n{}",
    "a path out of the models": b"GET /v2/models/..%2f..%2fetc%2fpasswd HTTP/1.1\r\nHost: x\r\n\r\n",
}
UNFINISHED = {
    "a length of 10 GB": INFER + b"Content-Length: 10000000000\r\n\r\nx",
    "a chunk of 2^72 bytes": INFER + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\nab\r\n0\r\n\r\n",
}
BODY_BYTES = 80 << 20


def _connect(guarded: Any) -> socket.socket:
    host, _, port = guarded.server.http_address.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=20)


def _said(guarded: Any, request: bytes) -> bytes:
    """What comes back until the server closes or has said something; nothing if it closes at once."""
    with _connect(guarded) as connection:
        with contextlib.suppress(ConnectionError):
            connection.sendall(request)
        try:
            return connection.recv(4096)
        except ConnectionError:
            return b""


@pytest.mark.parametrize("name", MALFORMED)
def test_what_cannot_be_read_is_dropped(guarded: Any, name: str) -> None:
    said = _said(guarded, MALFORMED[name])
    assert not said.startswith(b"HTTP/1.1 2"), said
    assert guarded.serves()


@pytest.mark.parametrize("name", ANSWERED_WITH_AN_ERROR)
def test_what_contradicts_itself_is_refused(guarded: Any, name: str) -> None:
    said = _said(guarded, ANSWERED_WITH_AN_ERROR[name])
    assert said[9:10] in (b"4", b"5"), said
    assert b"root:" not in said
    assert guarded.serves()


@pytest.mark.parametrize("name", UNFINISHED)
def test_a_body_that_is_announced_and_not_sent_takes_no_memory(guarded: Any, name: str) -> None:
    before = _resident_bytes(guarded)
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(_connect(guarded)).sendall(UNFINISHED[name])
        assert guarded.serves()
        assert _resident_bytes(guarded) - before < 50 << 20


def test_this_server_has_no_limit_of_a_bodys_size_of_its_own(guarded: Any) -> None:
    """`--http-max-input-size` came later than 2.51: a proxy before it has to bound bodies, and the chart's flags do."""
    status, body = guarded.ask("POST", "/v2/models/echo/infer", b"x" * BODY_BYTES)
    assert (status, "failed to parse the request JSON" in body) == (500, True)
    assert not any("http-max-input-size" in word for word in _words(guarded))
    assert guarded.serves()


def test_a_thousand_idle_connections_keep_nobody_out(guarded: Any) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(1000):
            stack.enter_context(_connect(guarded))
        assert guarded.serves()


def _words(guarded: Any) -> list[str]:
    import psutil

    words: list[str] = psutil.Process(guarded.server.pid).cmdline()
    return words


def _resident_bytes(guarded: Any) -> int:
    import psutil

    return int(psutil.Process(guarded.server.pid).memory_info().rss)
