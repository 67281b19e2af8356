"""Servers that are absent, silent, too slow or of another protocol; no Triton is needed for that."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tritonkit import (
    Answer,
    AsyncPipeline,
    Contract,
    ItemError,
    Pipeline,
    PipelineError,
    ServerUnreachableError,
    TensorContract,
)

ECHO = Contract("echo", (TensorContract("data", "STRING", (1,)),), (TensorContract("text", "STRING", (1,)),), 8)
MARGIN_S = 1.5


@contextlib.contextmanager
def listening(serve: Callable[[socket.socket, threading.Event], None]) -> Iterator[str]:
    """A port where each connection is handed to `serve` in a thread."""
    ended, threads = threading.Event(), []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.05)

        def accept() -> None:
            while not ended.is_set():
                with contextlib.suppress(TimeoutError):
                    connection, _ = listener.accept()
                    threads.append(threading.Thread(target=serve, args=(connection, ended)))
                    threads[-1].start()

        acceptor = threading.Thread(target=accept)
        acceptor.start()
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            ended.set()
            acceptor.join()
            for thread in threads:
                thread.join()


def silent(connection: socket.socket, ended: threading.Event) -> None:
    with connection:
        ended.wait()


def dripping(connection: socket.socket, ended: threading.Event) -> None:
    """Sends a byte of an HTTP answer now and then, so that no single wait is long."""
    with connection, contextlib.suppress(OSError):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while not ended.wait(0.05):
            connection.sendall(b" ")


def closing(connection: socket.socket, ended: threading.Event) -> None:
    connection.close()


def answering(status: bytes, body: bytes) -> Callable[[socket.socket, threading.Event], None]:
    """An HTTP server of another kind."""

    def serve(connection: socket.socket, ended: threading.Event) -> None:
        with connection, contextlib.suppress(OSError):
            connection.settimeout(20)
            connection.recv(65_536)
            connection.sendall(b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body))
            ended.wait()

    return serve


def free_address() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"127.0.0.1:{listener.getsockname()[1]}"


def test_no_server(caller: Any) -> None:
    address = free_address()
    start = time.monotonic()
    with pytest.raises(ServerUnreachableError) as caught:
        caller.infer("echo", address, [b"x"], deadline_s=20.0)
    protocol = {"grpc": "gRPC", "http": "HTTP"}[caller.protocol]
    expected = f"no Triton server answers by {protocol} at {address}: connection refused; start the server, or "
    assert str(caught.value).startswith(expected)
    assert time.monotonic() - start < 10


@pytest.mark.parametrize("serve", [silent, dripping, closing])
def test_what_is_no_triton_server(caller: Any, serve: Any) -> None:
    with listening(serve) as address:
        start = time.monotonic()
        with pytest.raises(
            ServerUnreachableError, match=f"at {address}: (no answer within 0.5 s|the connection was lost)"
        ):
            caller.infer("echo", address, [b"x"], deadline_s=0.5)
        assert time.monotonic() - start < 0.5 + MARGIN_S


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (b"200 OK", b"<html>hello</html>", "the server answers, but not as Triton does"),
        (b"200 OK", b"\xff\xfe", "the server answers, but not as Triton does"),
        (b"200 OK", b"{}", "the server answers, but not as Triton does"),
        (b"200 OK", b"[1]", "the server answers, but not as Triton does"),
        (b"404 Not Found", b"<h1>Nothing here</h1>", "HTTP status 404, not from Triton: Nothing here"),
    ],
)
def test_an_http_server_that_is_no_triton(
    callers: list[Any], asynchronous: bool, status: bytes, body: bytes, reason: str
) -> None:
    (caller,) = [c for c in callers if c.protocol == "http" and c.asynchronous == asynchronous]
    with listening(answering(status, body)) as address, pytest.raises(ServerUnreachableError) as caught:
        caller.infer("echo", address, [b"x"], deadline_s=20)
    assert str(caught.value).startswith(f"no Triton server answers by HTTP at {address}: {reason}; start the server")


@pytest.mark.parametrize("body", [b"<html>hello</html>", b"[1]", b'{"outputs": [{}]}'])
def test_an_answer_that_is_not_tritons_is_one_items_error(body: bytes) -> None:
    with (
        listening(answering(b"200 OK", body)) as address,
        Pipeline("echo", address, protocol="http", deadline_s=20) as pipeline,
    ):
        pipeline._agreed = ECHO  # as if another server had taken the address after the first use
        answer = pipeline.infer_one(b"x")
    assert answer.error == ItemError("bad_answer", "the server answers, but not as Triton does")


def test_no_such_host(caller: Any) -> None:
    with pytest.raises(ServerUnreachableError, match=r"no such host|no answer within 3 s"):
        caller.infer("echo", "nowhere.invalid:8001", [b"x"], deadline_s=3.0)


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_a_request_to_a_hung_server_ends_at_its_deadline(protocol: Any) -> None:
    with listening(silent) as address, Pipeline("echo", address, protocol=protocol, deadline_s=0.5) as pipeline:
        pipeline._agreed = ECHO  # as if the server had hung after the first use
        start = time.monotonic()
        answers = pipeline.infer([b"x", b"y" * 30_000_000, b"z"])  # the second fills the socket's buffers
        assert time.monotonic() - start < 0.5 + MARGIN_S
    assert [(a.error.code, a.error.message) for a in answers if a.error] == [
        ("deadline_exceeded", "no answer within 0.5 s")
    ] * 3


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_the_async_client_holds_its_deadline_too(protocol: Any) -> None:
    async def call(address: str) -> list[Answer]:
        async with AsyncPipeline("echo", address, protocol=protocol, deadline_s=0.5) as pipeline:
            pipeline._agreed = ECHO
            return await pipeline.infer([b"x", b"y" * 30_000_000, b"z"])

    with listening(silent) as address:
        start = time.monotonic()
        answers = asyncio.run(call(address))
        assert time.monotonic() - start < 0.5 + MARGIN_S
    assert [a.error.code for a in answers if a.error] == ["deadline_exceeded"] * 3


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_close_from_another_thread_ends_what_is_under_way(protocol: Any) -> None:
    with listening(silent) as address, Pipeline("echo", address, protocol=protocol, deadline_s=60) as pipeline:
        pipeline._agreed = ECHO
        closer = threading.Thread(target=pipeline.close)

        def items() -> Iterator[bytes]:
            yield from (b"x", b"y")
            closer.start()

        start = time.monotonic()
        answers = pipeline.infer(items())
        assert time.monotonic() - start < 10
        closer.join()
    assert [a.error.code for a in answers if a.error] == ["cancelled"] * 2


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_a_closed_pipeline_says_so(protocol: Any) -> None:
    pipeline = Pipeline("echo", "localhost:1", protocol=protocol)
    pipeline.close()
    pipeline.close()
    with pytest.raises(PipelineError, match="this Pipeline of 'echo' is closed"):
        pipeline.infer([b"x"])


@pytest.mark.parametrize("pipeline", [Pipeline, AsyncPipeline])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"protocol": "htp"}, "protocol is 'htp'; valid: 'grpc', 'http'"),
        ({"address": "http://localhost:8000"}, "address is 'http://localhost:8000'; give host:port"),
        ({"address": "localhost"}, "address is 'localhost'; give host:port"),
        ({"deadline_s": 0}, "deadline_s is 0; give seconds above 0"),
        ({"deadline_s": float("nan")}, "deadline_s is nan; give seconds above 0"),
        ({"in_flight": 0}, "in_flight is 0; give 1 or more"),
    ],
)
def test_options_that_cannot_work(pipeline: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pipeline("echo", **{"address": "localhost:8001", **options})


@pytest.mark.parametrize("items", ["file.png", b"bytes", {"data": b"x"}])
def test_one_item_where_several_are_wanted(caller: Any, items: Any) -> None:
    with pytest.raises(TypeError, match=r"infer\(\) takes a list of items, found one \w+; use infer_one\(\)"):
        caller.infer("echo", "localhost:1", items)
