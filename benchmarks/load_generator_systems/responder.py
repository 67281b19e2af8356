"""`python responder.py http|grpc`: answers every inference at once with next to nothing. Prints its port.

It stands where the server would, and takes less of a core than what sends. It is told by its standard input to end.
"""

from __future__ import annotations

import re
import select
import socket
import sys
from typing import Protocol

from loadtest.sender.clients.http2 import (
    ACK,
    END_HEADERS,
    END_STREAM,
    LARGEST_WINDOW,
    Frames,
    Kind,
    frame,
    window_update,
)

BODY = b'{"model_name":"model","outputs":[]}'
HTTP = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
_LENGTH = re.compile(rb"\r\ncontent-length:\s*(\d+)", re.IGNORECASE)
_FIRST_WINDOW = 65_535
_HEADERS = b"\x88\x0f\x10\x10application/grpc"  # status 200
_TRAILERS = b"\x00\x0bgrpc-status\x010"
_EMPTY_MESSAGE = bytes(5)


class Talk(Protocol):
    """One connection's side of the protocol."""

    def hear(self, data: bytes) -> bytes:
        """What is answered to this."""


class Http:
    """HTTP/1.1, every request answered alike."""

    def __init__(self) -> None:
        self._received = b""
        self._size = 0  # of the last request: the next one is as large, as a rule

    def hear(self, data: bytes) -> bytes:
        """As many answers as requests are whole."""
        if not self._received and len(data) == self._size:
            return HTTP
        self._received += data
        count = 0
        while True:
            end = self._received.find(b"\r\n\r\n")
            if end < 0:
                break
            found = _LENGTH.search(self._received, 0, end + 2)
            size = end + 4 + (int(found[1]) if found else 0)
            if len(self._received) < size:
                break
            self._received, self._size, count = self._received[size:], size, count + 1
        return HTTP * count


class Grpc:
    """HTTP/2 with gRPC's answers: an empty message, and that all is well."""

    def __init__(self) -> None:
        self._frames = Frames()
        self._preface = 24
        self._unacknowledged = 0

    def hear(self, data: bytes) -> bytes:
        """Answers of whole requests, and what HTTP/2 wants of a server."""
        said = b""
        if self._preface:
            skipped = min(self._preface, len(data))
            self._preface, data = self._preface - skipped, data[skipped:]
            if not self._preface:
                setting = b"\x00\x04" + LARGEST_WINDOW.to_bytes(4, "big")
                said = frame(Kind.SETTINGS, 0, 0, setting) + window_update(0, LARGEST_WINDOW - _FIRST_WINDOW)
        for kind, flags, number, payload in self._frames.take(data):
            if kind == Kind.DATA:
                self._unacknowledged += len(payload)
                if flags & END_STREAM:
                    said += frame(Kind.HEADERS, END_HEADERS, number, _HEADERS)
                    said += frame(Kind.DATA, 0, number, _EMPTY_MESSAGE)
                    said += frame(Kind.HEADERS, END_HEADERS | END_STREAM, number, _TRAILERS)
            elif kind in {Kind.SETTINGS, Kind.PING} and not flags & ACK:
                said += frame(Kind(kind), ACK, 0, payload if kind == Kind.PING else b"")
        if self._unacknowledged > 1 << 28:
            said += window_update(0, self._unacknowledged)
            self._unacknowledged = 0
        return said


def main(protocol: str) -> None:
    """Until standard input ends."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    print(listener.getsockname()[1], flush=True)
    poll = select.epoll()
    poll.register(listener, select.EPOLLIN)
    poll.register(0, select.EPOLLIN | select.EPOLLHUP)
    connections: dict[int, tuple[socket.socket, Talk]] = {}
    while True:
        for descriptor, _ in poll.poll():
            if descriptor == 0:
                return
            if descriptor == listener.fileno():
                made, _ = listener.accept()
                made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connections[made.fileno()] = (made, Http() if protocol == "http" else Grpc())
                poll.register(made, select.EPOLLIN)
                continue
            connection, talk = connections[descriptor]
            try:
                data = connection.recv(1 << 17)
                if data:
                    connection.sendall(talk.hear(data))
                    continue
            except OSError:
                pass  # it has gone
            poll.unregister(descriptor)
            connections.pop(descriptor)[0].close()


if __name__ == "__main__":
    main(sys.argv[1])
