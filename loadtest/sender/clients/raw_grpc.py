"""Raw gRPC: messages made before, over HTTP/2 connections of our own: some 40 µs of CPU a request.

The `grpc` package takes 300 µs or more for the same, and threads of its own delay what is due.
"""

from __future__ import annotations

import struct
import time
from collections import deque
from collections.abc import Sequence
from urllib.parse import unquote

from loadtest.samples.record import Outcome
from loadtest.sender.clients.base import GIVEN_UP, Work
from loadtest.sender.clients.http2 import END_STREAM, Kind, UnreadableError, headers_block, read_block
from loadtest.sender.clients.links import Link, Stream
from loadtest.sender.clients.sockets import READ, Poll, Target, words_of
from loadtest.sender.clients.timers import NO_REQUEST, Timers

LINKS = (
    4  # connections that requests take turns on (fewer if fewer are allowed); more where the server limits streams
)
SERVICE = "/inference.GRPCInferenceService"
DEADLINE_EXCEEDED = 4
REFUSED_STREAM = 7
_MOST_KNOWN = 256
NO_GRPC = (ValueError, IndexError, struct.error)
UNREADABLE = "it does not speak gRPC: what it sends cannot be read"


class RawGrpc:
    """A `Client`. `requests`: pipeline → each of its payloads as a serialized ModelInferRequest without id."""

    method = "ModelInfer"

    def __init__(self, work: Work, requests: Sequence[Sequence[bytes]]) -> None:
        self._work, self._ledger = work, work.ledger
        self._requests = [[_message(body) for body in each] for each in requests]
        self._deadline_ns = work.orders.deadline_us * 1000
        self._headers = headers_block(f"{SERVICE}/{self.method}", work.orders.address, self._metadata())
        self._poll = Poll()
        self._links: list[Link] = []
        self._by_descriptor: dict[int, Link] = {}
        self._turn = 0
        self._waiting: deque[tuple[int, int]] = deque()  # and when the sender came to it
        self._timers: Timers[Stream] = Timers(work)
        self._known: dict[bytes, dict[bytes, bytes]] = {}
        self.in_flight = self.connections_opened = self.waited_for_connection = 0

    @property
    def most_in_flight(self) -> int:
        """As many streams as the server allows, on each connection that may be opened."""
        return self._work.orders.connections * min((link.most_streams for link in self._links), default=1)

    def open(self) -> None:
        """Connects LINKS times, or as often as is allowed. Raises OSError when it cannot."""
        self._target = Target(self._work.orders.address)
        timeout_s = max(self._deadline_ns / 1e9, 1.0)
        for _ in range(min(LINKS, self._work.orders.connections)):
            link = self._add(Link(self._target.connected(timeout_s), self._poll, connected=True))
            try:
                self._settle(link, time.monotonic() + timeout_s)
            except NO_GRPC as error:
                raise ConnectionError(UNREADABLE) from error

    def _settle(self, link: Link, until_s: float) -> None:
        """Until the server has said how many streams it takes; that is what it says first."""
        while not link.settled:
            left_s = until_s - time.monotonic()
            events = self._poll.events(left_s) if left_s > 0 else []
            if not events:
                raise TimeoutError("it does not say anything")
            for descriptor, event in events:
                if descriptor == link.descriptor:
                    self._read(link)
                else:  # one that stands already
                    self._hear(descriptor, event)

    def close(self) -> None:
        """Closes every connection."""
        for link in self._by_descriptor.values():
            link.close()
        self._by_descriptor.clear()
        self._links.clear()
        self._poll.close()

    def send(self, index: int) -> None:
        """Sends it over the next connection, over a new one, or when one takes more."""
        self.in_flight += 1
        now_ns = self._now_ns()
        try:
            link = self._next_link()
        except OSError as error:
            self.in_flight -= 1
            self._ledger.failed(index, now_ns, now_ns, Outcome.BROKEN, words_of(error))
            return
        if link:
            self._start(link, index, now_ns)
        else:
            self.waited_for_connection += 1
            self._waiting.append((index, now_ns))

    def wait(self, timeout_s: float) -> None:
        """Takes answers; returns after the first ones, or after the time."""
        for descriptor, event in self._poll.events(timeout_s):
            self._hear(descriptor, event)
        self._serve_waiting()

    def expire(self, now_ns: int) -> None:
        """Resets the streams of what is cancelled or past its deadline."""
        for stream, outcome in self._timers.over(now_ns):
            if stream.index != NO_REQUEST:
                words = "" if outcome is Outcome.CANCELLED else "no answer within the deadline"
                link = stream.link
                self._end(stream, self._now_ns(), outcome, words)
                try:
                    self._reset(link, stream)
                except OSError as error:
                    self._drop(link, words_of(error))
        while self._waiting and self._work.due_ns[self._waiting[0][0]] <= now_ns - self._deadline_ns:
            self._never_sent(now_ns, "no connection was free within the deadline")

    def give_up(self) -> None:
        """Ends whatever is under way as a timeout."""
        now_ns = self._now_ns()
        while self._waiting:
            self._never_sent(now_ns, GIVEN_UP)
        for link in self._by_descriptor.values():
            for stream in list(link.streams.values()):
                self._end(stream, now_ns, Outcome.TIMEOUT, GIVEN_UP)

    def _never_sent(self, now_ns: int, words: str) -> None:
        index, taken_ns = self._waiting.popleft()
        self.in_flight -= 1
        self._ledger.failed(index, taken_ns, now_ns, Outcome.TIMEOUT, words)

    # What differs where all requests share a stream --------------------------------------------------------------

    def _metadata(self) -> dict[str, str]:
        us = self._work.orders.deadline_us
        return {**self._work.orders.headers, "grpc-timeout": f"{us}u" if us < 10**8 else f"{us // 1000}m"}

    def _opened(self, link: Link) -> None:
        """A new connection, before the first request."""

    def _put(self, link: Link, index: int) -> int:
        """Sends the request; the number by which its answer will be known."""
        message = self._requests[self._work.pipeline[index]][self._work.payload[index]]
        return link.request(self._headers, message)

    def _reset(self, link: Link, stream: Stream) -> None:
        link.cancel(stream.number)

    def _data(self, link: Link, number: int, payload: bytes, now_ns: int) -> None:  # noqa: ARG002
        stream = link.streams.get(number)
        if stream:
            stream.size += len(payload)
            if self._work.kept is not None:
                stream.answer += payload

    def _ended(self, link: Link, number: int, said: dict[bytes, bytes], now_ns: int) -> None:
        """The server has ended a stream."""
        stream = link.streams.get(number)
        if stream is None:
            return
        link.forget(number)
        status = int(said.get(b"grpc-status", b"2"))
        if status == 0 and stream.size:
            if self._work.kept is not None:
                self._work.kept[stream.index] = stream.answer[5:]
            self._end(stream, now_ns, Outcome.OK)
        else:
            outcome = Outcome.TIMEOUT if status == DEADLINE_EXCEEDED else Outcome.REFUSED
            self._end(stream, now_ns, outcome, words_of_status(status, said), status)

    def _put_back(self, link: Link, number: int) -> bool:
        """What the server has not begun, because of others in flight there, waits for one of them to end."""
        stream = link.streams.get(number)
        if stream is None or len(link.streams) == 1:
            return False
        del link.streams[number]
        link.forget(number)
        link.most_streams = len(link.streams)
        index, stream.index = stream.index, NO_REQUEST
        self.waited_for_connection += 1
        self._waiting.appendleft((index, stream.taken_ns))
        return True

    def _cut(self, link: Link, number: int, words: str, now_ns: int) -> None:
        """The server has ended a stream without saying how it went."""
        stream = link.streams.get(number)
        if stream:
            link.forget(number)
            self._end(stream, now_ns, Outcome.BROKEN, words)

    # Common to both ---------------------------------------------------------------------------------------------

    def _start(self, link: Link, index: int, taken_ns: int) -> None:
        stream = Stream(index, link, 0, taken_ns)
        self._timers.begun(index, stream)
        try:
            stream.number = self._put(link, index)
        except OSError as error:
            self._finish(stream, self._now_ns(), Outcome.BROKEN, words_of(error))
            self._drop(link, words_of(error))
            return
        link.streams[stream.number] = stream
        self._timers.sent(index, stream)

    def _end(self, stream: Stream, now_ns: int, outcome: Outcome, words: str = "", status: int = 0) -> None:
        del stream.link.streams[stream.number]
        self._finish(stream, now_ns, outcome, words, status)

    def _finish(self, stream: Stream, now_ns: int, outcome: Outcome, words: str = "", status: int = 0) -> None:
        index, stream.index = stream.index, NO_REQUEST
        self.in_flight -= 1
        if words:
            self._ledger.failed(index, stream.taken_ns, now_ns, outcome, words, status=status)
        else:
            self._ledger.record(index, stream.taken_ns, now_ns, outcome, status)

    def _hear(self, descriptor: int, event: int) -> None:
        """Sends what had to wait, and reads; a connection that breaks is given up."""
        link = self._by_descriptor.get(descriptor)
        if link is None:  # closed by what came before in this list
            return
        try:
            if event & ~READ:
                link.writable()
            self._read(link)
        except OSError as error:
            self._drop(link, words_of(error))
        except NO_GRPC:
            self._drop(link, UNREADABLE)

    def _read(self, link: Link) -> None:
        first_ns = 0
        for kind, flags, number, payload in link.receive():
            now_ns = first_ns = first_ns or self._now_ns()
            if kind == Kind.DATA:
                self._data(link, number, payload, now_ns)
            elif kind == Kind.HEADERS:
                said = self._known.get(payload) or self._learnt(payload)
                if flags & END_STREAM:
                    self._ended(link, number, said, now_ns)
                elif said.get(b":status", b"200") != b"200":
                    raise ConnectionError(f"it does not speak gRPC: HTTP status {said[b':status'].decode()}")
                continue
            elif kind == Kind.RST_STREAM:
                if int.from_bytes(payload, "big") != REFUSED_STREAM or not self._put_back(link, number):
                    self._cut(link, number, "the server reset the stream", now_ns)
            else:
                self._leave(link, int.from_bytes(payload[:4], "big"))
                continue
            if kind == Kind.DATA and flags & END_STREAM:
                self._cut(link, number, "the server ended its answer without a status", now_ns)
        if link.leaving and not link.streams:
            self._drop(link, "the server is shutting down")

    def _learnt(self, block: bytes) -> dict[bytes, bytes]:
        try:
            said = read_block(block)
        except UnreadableError as error:
            raise ConnectionError(f"{error}: use the client `tritonclient`") from error
        if len(self._known) < _MOST_KNOWN:
            self._known[block] = said
        return said

    def _serve_waiting(self) -> None:
        while self._waiting:
            try:
                link = self._next_link()
            except OSError as error:
                index, taken_ns = self._waiting.popleft()
                self.in_flight -= 1
                self._ledger.failed(index, taken_ns, self._now_ns(), Outcome.BROKEN, words_of(error))
                continue
            if not link:
                break
            self._start(link, *self._waiting.popleft())

    def _leave(self, link: Link, last: int) -> None:
        """GOAWAY: what came after `last` will not be answered."""
        link.leaving = True
        if link in self._links:
            self._links.remove(link)
        for stream in [stream for number, stream in link.streams.items() if number > last]:
            self._end(stream, self._now_ns(), Outcome.BROKEN, "the server is shutting down")

    def _next_link(self) -> Link | None:
        """The connection whose turn it is; a new one where one is missing. Raises OSError when that is refused."""
        most = self._work.orders.connections
        if len(self._links) < min(LINKS, most):
            return self._grown()
        for _ in range(len(self._links)):
            self._turn = (self._turn + 1) % len(self._links)
            if self._links[self._turn].takes_more:
                return self._links[self._turn]
        # One that is not settled yet will take more than it does now.
        return self._grown() if len(self._links) < most and all(link.settled for link in self._links) else None

    def _grown(self) -> Link:
        return self._add(Link(self._target.connecting(), self._poll, connected=False))

    def _add(self, link: Link) -> Link:
        self._links.append(link)
        self._by_descriptor[link.descriptor] = link
        self.connections_opened += 1
        self._opened(link)
        return link

    def _drop(self, link: Link, words: str) -> None:
        now_ns = self._now_ns()
        for stream in list(link.streams.values()):
            self._end(stream, now_ns, Outcome.BROKEN, words)
        if self._by_descriptor.pop(link.descriptor, None):
            link.close()
        if link in self._links:
            self._links.remove(link)

    def _now_ns(self) -> int:
        return time.monotonic_ns() - self._work.start_ns


def words_of_status(status: int, said: dict[bytes, bytes]) -> str:
    """What the server says."""
    text = unquote(said.get(b"grpc-message", b"").decode("latin-1"))
    return text or f"gRPC status {status}"


def _message(body: bytes) -> bytes:
    """A message as gRPC sends it: not compressed, and its length."""
    return b"\0" + len(body).to_bytes(4, "big") + body
