"""The closed loop against a small HTTP server of the standard library, and against servers that misbehave."""

from __future__ import annotations

import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from loadtest.raw_http import ClosedLoop, Reply, post, triton_answer

LARGE = bytes(range(256)) * 40_000  # 10 MB: no socket takes it at once


class Echo(BaseHTTPRequestHandler):
    """Answers with the body's length and its last bytes; `/slow` after a while, `/refused` with 400."""

    protocol_version = "HTTP/1.1"
    connections: set[object]

    def do_POST(self) -> None:
        type(self).connections.add(self.client_address)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/slow":
            time.sleep(0.05)
        answer = f"{self.path} {len(body)} ".encode() + body[-8:]
        self.send_response(400 if self.path == "/refused" else 200)
        self.send_header("content-LENGTH", str(len(answer)))
        self.end_headers()
        # In two parts, so that an answer comes in pieces.
        self.wfile.write(answer[:3])
        self.wfile.flush()
        self.wfile.write(answer[3:])

    def log_message(self, *args: object) -> None:
        """Nothing."""


@pytest.fixture
def echo() -> Iterator[str]:
    Echo.connections = set()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


@contextmanager
def answering(reply: Callable[[socket.socket], object]) -> Iterator[str]:
    """A server that does `reply` with its one connection, and then closes it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                reply(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        thread.join()


def test_connections_that_are_made_one_after_the_other(echo: str) -> None:
    """Each sends at once, and all of them are there in time; another run goes on with them."""
    with ClosedLoop(echo, 8, over_s=0.4) as loop:
        assert not Echo.connections
        replies = loop.run([post(echo, "/slow", b"%08d" % 1)], itertools.repeat(0), 0.6)
        assert {reply.status for reply in replies} == {200}
        assert len(Echo.connections) == 8
        early = [reply for reply in replies if reply.done_us < 100_000]
        assert len(early) < len([reply for reply in replies if 450_000 <= reply.sent_us < 550_000])
        assert len(loop.run([post(echo, "/a", b"%08d" % 2)], [0] * 20, 60)) == 20
        assert len(Echo.connections) == 8


def test_an_order_that_ends_while_connections_are_made(echo: str) -> None:
    with ClosedLoop(echo, 50, over_s=30) as loop:
        assert len(loop.run([post(echo, "/a", b"%08d" % 1)], [0], 60)) == 1


def test_every_request_is_answered_by_its_own_answer(echo: str) -> None:
    payloads = [post(echo, f"/{number}", b"x" * number + b"%08d" % number) for number in range(5)]
    order = [number % 5 for number in range(60)]
    with ClosedLoop(echo, 4) as loop:
        replies = loop.run(payloads, order, 60)
    assert sorted(reply.payload for reply in replies) == sorted(order)
    for reply in replies:
        assert reply.status == 200
        assert reply.body == b"/%d %d %08d" % (reply.payload, reply.payload + 8, reply.payload)
        assert 0 <= reply.sent_us <= reply.done_us
        assert reply.latency_us == reply.done_us - reply.sent_us
    assert [reply.done_us for reply in replies] == sorted(reply.done_us for reply in replies)


def test_connections_stay_open_from_run_to_run(echo: str) -> None:
    with ClosedLoop(echo, 3) as loop:
        for _ in range(3):
            assert len(loop.run([post(echo, "/", b"a")], [0] * 9, 60)) == 9
    assert len(Echo.connections) == 3


def test_a_request_larger_than_a_sockets_buffer_is_sent_whole(echo: str) -> None:
    with ClosedLoop(echo, 2) as loop:
        replies = loop.run([post(echo, "/large", LARGE), post(echo, "/small", b"12345678")], [0, 1, 0, 1, 0], 60)
    assert sorted(reply.body for reply in replies) == sorted(
        [b"/large %d " % len(LARGE) + LARGE[-8:]] * 3 + [b"/small 8 12345678"] * 2
    )


def test_time_ends_a_run_and_what_is_in_flight_is_waited_for(echo: str) -> None:
    with ClosedLoop(echo, 2) as loop:
        replies = loop.run([post(echo, "/slow", b"")], itertools.repeat(0), 0.12)
    # Two connections, 50 ms an answer: those sent before the end are there, and nothing was sent after it.
    assert 2 <= len(replies) <= 6
    assert all(reply.sent_us <= 120_000 for reply in replies)
    assert max(reply.done_us for reply in replies) >= 120_000


def test_an_order_that_ends_leaves_connections_idle(echo: str) -> None:
    with ClosedLoop(echo, 8) as loop:
        assert loop.run([post(echo, "/", b"")], [], 60) == []
        assert len(loop.run([post(echo, "/", b"")], [0, 0], 60)) == 2


def test_an_error_status_is_an_answer(echo: str) -> None:
    with ClosedLoop(echo, 1) as loop:
        [reply] = loop.run([post(echo, "/refused", b"why")], [0], 60)
    assert (reply.status, reply.body) == (400, b"/refused 3 why")
    with pytest.raises(ValueError, match="status 400: /refused 3 why"):
        triton_answer(reply)


def test_headers_are_sent() -> None:
    assert (
        post("h:1", "/p", b"body", {"A": "b"})
        == b"POST /p HTTP/1.1\r\nHost: h:1\r\nContent-Length: 4\r\nA: b\r\n\r\nbody"
    )


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"", "closed a connection after 0 bytes of an answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345", "closed a connection after 44 bytes of an answer"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "an answer without Content-Length, which cannot be read",
        ),
        (b"HTTP/1.1 100 Continue\r\n\r\n", r"an answer before the answer \(status 100\), which cannot be read"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "no HTTP, which cannot be read"),
    ],
)
def test_an_answer_that_cannot_be_read_is_told(answer: bytes, words: str) -> None:
    def reply(connection: socket.socket) -> None:
        connection.recv(1 << 16)
        connection.sendall(answer)

    with answering(reply) as address, ClosedLoop(address, 1) as loop, pytest.raises(ConnectionError, match=words):
        loop.run([post(address, "/", b"")], [0], 60)


def test_an_answer_before_the_request_is_whole_is_told() -> None:
    ended = threading.Event()

    def reply(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
        ended.wait(30)

    with answering(reply) as address, ClosedLoop(address, 1) as loop:
        try:
            with pytest.raises(ConnectionError, match=r"before it had the whole request.*413 Too Large"):
                loop.run([post(address, "/", LARGE)], [0], 60)
        finally:
            ended.set()


def test_a_server_that_says_nothing_is_told_after_the_timeout() -> None:
    ended = threading.Event()
    with answering(lambda _: ended.wait(30)) as address, ClosedLoop(address, 1) as loop:
        try:
            with pytest.raises(TimeoutError, match=r"no answer for 0.1 s with 1 requests in flight"):
                loop.run([post(address, "/", b"")], [0], 60, timeout_s=0.1)
        finally:
            ended.set()


def test_nobody_listening_is_told_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(ConnectionRefusedError):
        ClosedLoop(f"127.0.0.1:{port}", 2)


def test_latency_counts_from_the_first_byte_sent() -> None:
    assert Reply(0, 100, 350, 200, b"", b"").latency_us == 250
