"""One HTTP/2 connection: streams, windows, and what the server wants of its client."""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from loadtest.http_answers import speaks_tls
from loadtest.sender.clients import http2
from loadtest.sender.clients.http2 import ACK, END_HEADERS, END_STREAM, FRAME_BYTES, Kind, frame
from loadtest.sender.clients.sockets import READ, READ_WRITE, RECEIVE_BYTES, Poll

_TOP_UP_BYTES = 1 << 28
_NO_LIMIT = 1 << 31


class Stream:
    """One request of the schedule. `number` is the HTTP/2 stream's, or its id where all share one.

    `taken_ns`: when the sender came to the request, whether or not a connection took it then.
    """

    __slots__ = ("answer", "index", "link", "number", "size", "taken_ns")

    def __init__(self, index: int, link: Link, number: int, taken_ns: int) -> None:
        self.index, self.link, self.number, self.taken_ns = index, link, number, taken_ns
        self.size = 0
        self.answer = b""


@dataclass
class _Part:
    """What is still to be sent on a stream."""

    number: int
    rest: memoryview
    ends: bool


class Link:
    """A connection that registers itself with `poll`. What goes wrong is an OSError.

    `streams` are the requests in flight. `leaving`: the server takes no new ones; `most_streams`: nor more at once,
    which is known when it is `settled`.
    """

    def __init__(self, made: socket.socket, poll: Poll, *, connected: bool) -> None:
        self.socket, self.descriptor, self._poll = made, made.fileno(), poll
        self.streams: dict[int, Stream] = {}
        self.inbox = bytearray()  # of a stream that all requests share
        self.leaving = False
        self.most_streams = 1
        self.settled = False
        self._standing = connected
        self._out = bytearray()
        self._writing = not connected
        self._next = 1
        self._window, self._first_window = http2.FIRST_WINDOW, http2.FIRST_WINDOW
        self._windows: dict[int, int] = {}
        self._parts: deque[_Part] = deque()
        self._frames = http2.Frames()
        self._unacknowledged = 0
        self._heard = False
        self._headers: tuple[int, int, bytes] | None = None
        poll.add(self.descriptor, READ_WRITE if self._writing else READ)
        self.write(http2.opening())

    def close(self) -> None:
        """Closes it."""
        self._poll.remove(self.descriptor)
        self.socket.close()

    @property
    def takes_more(self) -> bool:
        """Whether another request may begin here."""
        return not self.leaving and len(self.streams) < self.most_streams

    # Sending --------------------------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Sends it, now or when the socket takes it."""
        if self._writing:
            self._out += data
            return
        try:
            count = self.socket.send(data)
        except BlockingIOError:
            count = 0
        if count < len(data):
            self._out += memoryview(data)[count:]
            self._writing = True
            self._poll.modify(self.descriptor, READ_WRITE)

    def writable(self) -> None:
        """Sends what has had to wait."""
        if not self._standing:
            error = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if error:
                raise OSError(error, "")
            self._standing = True
        try:
            while self._out:
                del self._out[: self.socket.send(self._out)]
        except BlockingIOError:
            return
        if self._writing:
            self._writing = False
            self._poll.modify(self.descriptor, READ)

    def begin(self, headers: bytes) -> int:
        """Opens a stream on which more will follow. Its number."""
        number, self._next = self._next, self._next + 2
        self._windows[number] = self._first_window
        self.write(frame(Kind.HEADERS, END_HEADERS, number, headers))
        return number

    def request(self, headers: bytes, message: bytes) -> int:
        """Opens a stream for one message. Its number."""
        size = len(message)
        if self._parts or size > min(FRAME_BYTES, self._window, self._first_window):
            number = self.begin(headers)
            self.message(number, message, ends=True)
            return number
        number, self._next = self._next, self._next + 2
        self._window -= size
        self.write(frame(Kind.HEADERS, END_HEADERS, number, headers) + frame(Kind.DATA, END_STREAM, number, message))
        return number

    def message(self, number: int, message: bytes, *, ends: bool = False) -> None:
        """Sends a message on an open stream, as far as the server's windows let it; the rest follows."""
        self._parts.append(_Part(number, memoryview(message), ends))
        self._send_parts()

    def _send_parts(self) -> None:
        stuck: set[int] = set()
        for part in tuple(self._parts):
            while part.rest and part.number not in stuck and self._window > 0:
                count = min(FRAME_BYTES, len(part.rest), self._window, self._windows[part.number])
                if count <= 0:
                    break
                last = part.ends and count == len(part.rest)
                self.write(frame(Kind.DATA, END_STREAM if last else 0, part.number, bytes(part.rest[:count])))
                part.rest = part.rest[count:]
                self._window -= count
                self._windows[part.number] -= count
            if part.rest:
                stuck.add(part.number)
            else:
                self._parts.remove(part)

    def forget(self, number: int) -> None:
        """The stream is over."""
        if self._windows.pop(number, None) is not None and self._parts:
            self._parts = deque(part for part in self._parts if part.number != number)

    def cancel(self, number: int) -> None:
        """Ends a stream before its answer."""
        self.forget(number)
        self.write(frame(Kind.RST_STREAM, 0, number, http2.CANCEL.to_bytes(4, "big")))

    # Receiving ------------------------------------------------------------------------------------------------

    def receive(self) -> Iterator[tuple[Kind, int, int, bytes]]:
        """DATA, whole HEADERS, RST_STREAM and GOAWAY as they come; all other frames are dealt with here."""
        try:
            data = self.socket.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return
        if not data:
            raise ConnectionError("the server closed the connection")
        if not self._heard:
            self._heard = True
            if data.startswith(b"HTTP/"):
                raise ConnectionError("it does not speak gRPC, but HTTP/1")
            if speaks_tls(data):
                raise ConnectionError("it does not speak gRPC, but TLS")
        for kind, flags, number, payload in self._frames.take(data):
            if kind == Kind.DATA:
                self._unacknowledged += len(payload)
                yield Kind.DATA, flags, number, http2.unpadded(flags, payload)
            elif kind in {Kind.HEADERS, Kind.CONTINUATION}:
                whole = self._whole_headers(kind, flags, number, payload)
                if whole:
                    yield whole
            elif kind in {Kind.RST_STREAM, Kind.GOAWAY}:
                yield Kind(kind), flags, number, payload
            else:
                self._control(kind, flags, number, payload)
        if self._unacknowledged > _TOP_UP_BYTES:
            self.write(http2.window_update(0, self._unacknowledged))
            self._unacknowledged = 0

    def _whole_headers(
        self, kind: int, flags: int, number: int, payload: bytes
    ) -> tuple[Kind, int, int, bytes] | None:
        if kind == Kind.HEADERS:
            begun, payload = flags, http2.unpadded(flags, payload)
        elif self._headers:
            begun, number, payload = self._headers[0], self._headers[1], self._headers[2] + payload
        else:
            raise ConnectionError("the server continues headers that it has not begun")
        self._headers = None if flags & END_HEADERS else (begun, number, payload)
        return (Kind.HEADERS, begun, number, payload) if flags & END_HEADERS else None

    def _control(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        if kind == Kind.WINDOW_UPDATE:
            count = int.from_bytes(payload, "big") & http2.LARGEST_WINDOW
            if not number:
                self._window += count
            elif number in self._windows:
                self._windows[number] += count
            self._send_parts()
        elif kind == Kind.PING and not flags & ACK:
            self.write(frame(Kind.PING, ACK, 0, payload))
        elif kind == Kind.SETTINGS and not flags & ACK:
            told = http2.settings_of(payload)
            self.most_streams = told.get(http2.MOST_STREAMS, self.most_streams if self.settled else _NO_LIMIT)
            self.settled = True
            more = told.get(http2.STREAM_WINDOW, self._first_window) - self._first_window
            self._first_window += more
            for each in self._windows:
                self._windows[each] += more
            self.write(frame(Kind.SETTINGS, ACK, 0))
            self._send_parts()
