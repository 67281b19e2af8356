"""A closed loop over raw keep-alive sockets: one process, request bytes made before, 20 to 40 µs of CPU a request.

A client that shares its cores with the server takes away from what it measures, so it has to be cheap. A closed loop
slows down with the server and hides how long requests would have waited had they come when they were due: it compares
systems under the same pressure; it says nothing about a promised latency.
"""

from __future__ import annotations

import re
import selectors
import socket
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any

from loadtest.http_answers import HEAD_END, ends_of

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

JSON_BYTES = "Inference-Header-Content-Length"  # Triton's binary extension: so many bytes of JSON, then the tensors
_RECEIVE_BYTES = 1 << 16
_JSON_LENGTH = re.compile(rb"\r\ninference-header-content-length:[ \t]*(\d+)", re.IGNORECASE)


@dataclass(frozen=True)
class Reply:
    """An answer in full. `payload` is the index of what was sent; times count from the start of the run."""

    payload: int
    sent_us: int
    done_us: int
    status: int
    head: bytes
    body: bytes

    @property
    def latency_us(self) -> int:
        """From the first byte sent to the last byte received."""
        return self.done_us - self.sent_us


def post(address: str, path: str, body: bytes, headers: Mapping[str, str] | None = None) -> bytes:
    """The bytes of one keep-alive POST request to `address` (`host:port`)."""
    lines = [f"POST {path} HTTP/1.1", f"Host: {address}", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join(lines).encode("ascii") + HEAD_END + body


def triton_request(address: str, model: str, tensors: Mapping[str, tuple[str, Array]]) -> bytes:
    """The bytes of one inference request in Triton's binary extension; the answer's tensors come back binary too.

    `tensors`: input → Triton's data type (`BYTES` for strings) and array with the batch axis.
    """
    import tritonclient.http as triton

    inputs = [
        triton.InferInput(name, list(array.shape), dtype).set_data_from_numpy(array)
        for name, (dtype, array) in tensors.items()
    ]
    body, json_bytes = triton.InferenceServerClient.generate_request_body(inputs)
    headers = {"Content-Type": "application/octet-stream", JSON_BYTES: str(json_bytes)} if json_bytes else None
    return post(address, f"/v2/models/{model}/infer", bytes(body), headers)


def triton_answer(reply: Reply) -> dict[str, Array]:
    """The tensors of an answer to a `triton_request`. Raises ValueError with the server's words if it is an error."""
    import tritonclient.http as triton

    if reply.status != 200:
        raise ValueError(f"status {reply.status}: {reply.body.decode(errors='replace')}")
    found = _JSON_LENGTH.search(reply.head)
    length = int(found[1]) if found else None
    result = triton.InferenceServerClient.parse_response_body(reply.body, header_length=length)
    return {output["name"]: result.as_numpy(output["name"]) for output in result.get_response()["outputs"]}


def connected(address: str) -> socket.socket:
    """A socket connected to `address` (`host:port`). Raises OSError."""
    host, _, port = address.rpartition(":")
    return socket.create_connection((host.strip("[]"), int(port)))


class Connection:
    """One connected socket with at most one request in flight."""

    def __init__(self, made: socket.socket) -> None:
        self.socket = made
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.received = bytearray()
        self.unsent = memoryview(b"")
        self.payload = -1
        self.sent_us = 0

    def write(self) -> bool:
        """Sends what the socket takes; whether all is sent. Raises OSError."""
        try:
            while self.unsent:
                self.unsent = self.unsent[self.socket.send(self.unsent) :]
        except BlockingIOError:
            return False
        return True

    def read(self) -> tuple[int, bytes, bytes] | None:
        """Status, head and body once the answer is complete.

        Raises ConnectionError when the server has closed, NoAnswerError for what is no answer.
        """
        try:
            data = self.socket.recv(_RECEIVE_BYTES)
        except BlockingIOError:
            return None
        if not data:
            raise ConnectionError(f"the server closed a connection after {len(self.received)} bytes of an answer")
        self.received += data
        ends = ends_of(self.received)
        if ends is None or len(self.received) < ends[1]:
            return None
        head = bytes(self.received[: ends[0] - 2])
        if self.unsent:
            raise ConnectionError(f"the server answered before it had the whole request: {head.decode('latin-1')!r}")
        body = bytes(self.received[ends[0] : ends[1]])
        self.received.clear()
        return int(head.split(b" ", 2)[1]), head, body


class ClosedLoop:
    """`in_flight` connections to `address` (`host:port`), each sending its next request when one is answered.

    A context manager; runs may follow each other over the same connections. With `over_s` they are made one after the
    other within so many seconds of the first run, each sending at once: Triton hands a new connection to the first of
    its HTTP threads that is idle, so those of a server with nothing to do would all be one thread's
    (benchmarks/gpu.md). `made`: connections that stand already, which come first. Raises OSError when it cannot
    connect.
    """

    def __init__(
        self, address: str, in_flight: int, *, over_s: float = 0.0, made: Iterable[socket.socket] = ()
    ) -> None:  # fmt: skip
        self._address, self._in_flight = address, in_flight
        self._gap_us = over_s * 1e6 / in_flight if in_flight else 0.0
        self._selector = selectors.DefaultSelector()
        self._connections: list[Connection] = []
        try:
            for one in made:
                self._added(one)
            while not self._gap_us and len(self._connections) < in_flight:
                self._connect()
        except BaseException:
            self.close()
            raise

    def _connect(self) -> Connection:
        return self._added(connected(self._address))

    def _added(self, made: socket.socket) -> Connection:
        connection = Connection(made)
        self._connections.append(connection)
        self._selector.register(connection.socket, selectors.EVENT_READ, connection)
        return connection

    def __enter__(self) -> ClosedLoop:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes every connection."""
        for connection in self._connections:
            connection.socket.close()
        self._connections.clear()
        self._selector.close()

    def run(
        self, payloads: Sequence[bytes], order: Iterable[int], seconds: float, *, timeout_s: float = 30.0
    ) -> list[Reply]:
        """Sends payloads in `order` for `seconds`, or until it ends; then waits for what is in flight.

        Every answer, in the order of their arrival. Raises ConnectionError, or TimeoutError when no answer comes for
        `timeout_s`; the connections are of no more use then.
        """
        waiting = iter(order)
        replies: list[Reply] = []
        start_ns = time.perf_counter_ns()
        end_us = round(seconds * 1e6)
        in_flight = sum(self._send(connection, payloads, waiting, start_ns) for connection in self._connections)
        missing, due_us = self._in_flight - len(self._connections), 0.0
        while in_flight or missing:
            now_us = _since_us(start_ns)
            if missing and now_us >= due_us:
                sent = now_us < end_us and self._send(self._connect(), payloads, waiting, start_ns)
                in_flight, due_us, missing = in_flight + sent, due_us + self._gap_us, missing - 1 if sent else 0
                continue
            events = self._selector.select((due_us - now_us) / 1e6 if missing else timeout_s)
            if not (events or missing):
                raise TimeoutError(f"no answer for {timeout_s:g} s with {in_flight} requests in flight")
            for key, _ in events:
                connection: Connection = key.data
                if connection.unsent:
                    self._continue(connection)
                answer = connection.read()
                if answer is None:
                    continue
                now_us = _since_us(start_ns)
                replies.append(Reply(connection.payload, connection.sent_us, now_us, *answer))
                if now_us >= end_us or not self._send(connection, payloads, waiting, start_ns):
                    in_flight -= 1
        return replies

    def _send(self, connection: Connection, payloads: Sequence[bytes], waiting: Iterator[int], start_ns: int) -> bool:
        """Starts the connection's next request; whether there was one."""
        payload = next(waiting, None)
        if payload is None:
            return False
        connection.payload, connection.sent_us = payload, _since_us(start_ns)
        connection.unsent = memoryview(payloads[payload])
        if not connection.write():
            both = selectors.EVENT_READ | selectors.EVENT_WRITE
            self._selector.modify(connection.socket, both, connection)
        return True

    def _continue(self, connection: Connection) -> None:
        if connection.write():
            self._selector.modify(connection.socket, selectors.EVENT_READ, connection)


def _since_us(start_ns: int) -> int:
    return (time.perf_counter_ns() - start_ns) // 1000
