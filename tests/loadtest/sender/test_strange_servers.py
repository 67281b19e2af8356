"""Servers that speak something else, or leave in an orderly way: clear words, and the sender lives."""

from __future__ import annotations

import itertools
import random
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sender_tools import SmallServer, eventually, orders, payloads, samples_of, schedule, send, small_server

from generator.problems import ProblemsError
from loadtest.samples.record import Outcome
from loadtest.sender.clients.http2 import Kind, frame
from loadtest.sender.clients.raw_stream import fields_of
from loadtest.sender.process import Sending

RAW = (("http-raw", False), ("grpc-raw", False), ("grpc-raw", True))
SETTINGS = frame(Kind.SETTINGS, 0, 0)
WORD = b"a" * 300
A_REQUEST_BYTES = 400
GARBAGE = (
    b"SSH-2.0-OpenSSH_9.2\r\n",
    b"HTTP/1.1 abc\r\nContent-Length: 3\r\n\r\nabc",
    b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc",
    b"\x00\x00\x00\x04\x00\x00\x00\x00\x00" + bytes.fromhex("000005010500000001") + b"\x40\x00\x00\x00\x00",
    b"\x00\x00\x05\x04\x00\x00\x00\x00\x00hello",
    b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\nabc",
    b"\x00" * 1000,
    b"\r\n\r\n" * 1000,
    random.Random(1).randbytes(5000),
    b"",
)


@contextmanager
def saying(data: bytes, first: bytes = b"") -> Iterator[str]:
    """A server that says `first` when it hears something, `data` when it hears more, and then closes."""

    def says(connection: socket.socket, _: int) -> None:
        heard = len(connection.recv(1))
        connection.sendall(first)
        while heard < A_REQUEST_BYTES:
            heard += len(connection.recv(1 << 16)) or A_REQUEST_BYTES
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(1 << 16):
            pass

    with serving(says) as address:
        yield address


@contextmanager
def serving(serve: Callable[[socket.socket, int], None]) -> Iterator[str]:
    """A server that does this with each connection, which are counted from 0, and then closes it."""
    over = threading.Event()

    def one(connection: socket.socket, number: int) -> None:
        with connection, suppress(OSError):  # the sender has closed it
            connection.settimeout(10)
            serve(connection, number)

    def accept(listener: socket.socket) -> None:
        for number in itertools.count():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            if over.is_set():
                return
            threading.Thread(target=one, args=(connection, number), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        thread = threading.Thread(target=accept, args=(listener,), daemon=True)
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        over.set()
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(10)


@pytest.mark.parametrize(("client", "streaming"), RAW)
@pytest.mark.parametrize("data", GARBAGE, ids=range(len(GARBAGE)))
def test_a_server_that_speaks_something_else(tmp_path: Path, client: str, data: bytes, *, streaming: bool) -> None:
    with saying(data, SETTINGS if client == "grpc-raw" else b"") as address:
        told = orders(address, client, streaming=streaming, deadline_us=2_000_000)
        samples, report = send(told, schedule([0] * 20, 100), payloads(WORD), tmp_path)
    good = client == "http-raw" and data.endswith(b"close\r\n\r\nabc")
    expected = {Outcome.OK} if good else {Outcome.BROKEN}
    assert set(samples["outcome"]) <= expected | {Outcome.BROKEN}
    assert len(samples) == 20
    assert sum(report.errors.values()) == (samples["outcome"] != Outcome.OK).sum()
    assert report.stopped is None


TLS = bytes.fromhex("15030300020250")  # what an HTTPS server says to what is no TLS


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (TLS, "TLS"), (b"SSH-2.0-OpenSSH_9.2\r\n", "no HTTP"), (GARBAGE[1], "no HTTP"),
        (b"HTTP/1.1 100 Continue\r\n\r\n", "an answer before the answer (status 100)"),
        (b"HTTP/1.1 200 OK\r\n\r\nabc", "an answer without Content-Length"),
    ],
)  # fmt: skip
def test_what_is_no_answer_is_told_alike(tmp_path: Path, data: bytes, what: str) -> None:
    with saying(data) as address:
        samples, report = send(orders(address), schedule([0] * 10, 100), payloads(WORD), tmp_path)
    assert set(samples["outcome"]) == {Outcome.BROKEN}
    assert report.errors == {f"{what}, which cannot be read": 10}


def test_a_grpc_server_that_wants_tls(tmp_path: Path) -> None:
    with saying(b"", TLS) as address, pytest.raises(ProblemsError, match=r"TK861 .*gRPC, but TLS"):
        send(orders(address, "grpc-raw"), schedule([0], 1), payloads(b"a"), tmp_path)


@pytest.mark.parametrize("data", [*GARBAGE, b"HTTP/1.1 400 Bad Request\r\n\r\n"], ids=range(len(GARBAGE) + 1))
def test_no_grpc_server(tmp_path: Path, data: bytes) -> None:
    with (
        saying(b"", data) as address,
        pytest.raises(ProblemsError, match=r"TK861 .*no server answers at .* \(grpc\): (it does|the server closed)"),
    ):
        send(orders(address, "grpc-raw"), schedule([0], 1), payloads(b"a"), tmp_path)


def test_http_to_the_grpc_port_and_the_other_way_round(tmp_path: Path) -> None:
    with small_server("grpc") as server:
        samples, _ = send(orders(server.address), schedule([0] * 10, 100), payloads(b"a"), tmp_path)
        assert set(samples["outcome"]) == {Outcome.BROKEN}
    with (
        small_server("http") as server,
        pytest.raises(ProblemsError, match=r"TK861 .*it does not speak gRPC, but HTTP/1"),
    ):
        send(orders(server.address, "grpc-raw"), schedule([0], 1), payloads(b"a"), tmp_path)


ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize("more", [b"", ANSWER], ids=["closes", "says more"])
def test_what_a_connection_does_while_others_are_asked_whether_the_server_lives(tmp_path: Path, more: bytes) -> None:
    """The first ones have their answers, and the others wait for theirs."""

    def serve(connection: socket.socket, number: int) -> None:
        connection.recv(1 << 16)
        time.sleep(number % 2 * 0.3)
        connection.sendall(ANSWER)
        if not number % 2:
            time.sleep(0.1)
            connection.sendall(more)
            return
        while connection.recv(1 << 16):
            connection.sendall(ANSWER)

    with serving(serve) as address:
        samples, report = send(orders(address), schedule([0] * 5, 100), payloads(b"a"), tmp_path)
    assert set(samples["outcome"]) == {Outcome.OK}, report.errors
    assert report.stopped is None


@pytest.mark.parametrize("goes_on", [frame(Kind.PING, 0, 0, b"12345678"), b""], ids=["asks", "closes"])
def test_a_grpc_server_for_one_connection(tmp_path: Path, goes_on: bytes) -> None:
    """The second one hears nothing, however much the first one does."""

    def serve(connection: socket.socket, number: int) -> None:
        if number == 0:
            connection.sendall(SETTINGS)
            time.sleep(0.1)
            connection.sendall(goes_on)
        while (number or goes_on) and connection.recv(1 << 16):
            pass

    with (
        serving(serve) as address,
        pytest.raises(ProblemsError, match=r"TK861 .*\(grpc\): it does not say anything"),
    ):
        send(orders(address, "grpc-raw", deadline_us=1_000_000), schedule([0], 1), payloads(b"a"), tmp_path)


@settings(max_examples=200)
@given(st.binary(max_size=100))
def test_any_message_is_read_or_refused(message: bytes) -> None:
    with suppress(IndexError):  # then the link is given up
        assert all(number >= 0 for number, _ in fields_of(message))


def test_a_server_that_shuts_down_in_order(tmp_path: Path) -> None:
    with (
        small_server("grpc") as server,
        Sending(
            orders(server.address, "grpc-raw"), schedule([0] * 1500, 500), {"words": payloads(b"a")}, tmp_path
        ) as sending,
    ):
        sending.start()
        assert eventually(lambda: sending.progress()[1] >= 300)
        server.signal(signal.SIGTERM)
        report = sending.wait(60)
    outcomes = samples_of(sending)["outcome"]
    assert len(outcomes) == 1500
    assert outcomes[0] == Outcome.OK
    assert outcomes[-1] == Outcome.BROKEN
    # What is under way then is answered, or the server says that it will not be.
    assert set(outcomes) <= {Outcome.OK, Outcome.REFUSED, Outcome.BROKEN}, report.errors
    # A connection that comes while the port is being closed may be taken by the kernel, and reset: one request each.
    assert report.errors.keys() - {"CANCELLED"} <= {"Connection refused", "Connection reset by peer"}
    assert report.errors["Connection refused"] > 500
    assert report.errors.get("Connection reset by peer", 0) <= 10


def test_a_server_that_limits_streams(tmp_path: Path) -> None:
    server = SmallServer("grpc", "2")
    try:
        told = orders(server.address, "grpc-raw", connections=6)
        samples, report = send(told, schedule([0] * 30, 2000), payloads(b"slow"), tmp_path)
    finally:
        server.kill()
    assert report.connections_opened == 6
    assert report.waited_for_connection >= 30 - 12
    assert set(samples["outcome"]) == {Outcome.OK}, report.errors
