"""Raw HTTP keep-alive connections and requests made before: some 40 µs of CPU a request."""

from __future__ import annotations

import json
import re
import socket
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress

from loadtest.http_answers import LONGEST_HEAD_BYTES, NoAnswerError, ends_of
from loadtest.samples.record import Outcome
from loadtest.sender.clients.base import GIVEN_UP, OPENED_BEFORE, Work
from loadtest.sender.clients.sockets import READ, READ_WRITE, RECEIVE_BYTES, Poll, Target, words_of
from loadtest.sender.clients.timers import NO_REQUEST, Timers

_CLOSES = re.compile(rb"\r\nconnection:[ \t]*close", re.IGNORECASE)
_NOTHING = memoryview(b"")
LATE = "no answer within the deadline"
_GREETING_S = 1.0  # for all answers to the first question


class _Connection:
    """One socket with at most one request in flight. `whole` is the answer's length, once known.

    `taken_ns`: when the sender came to the request, whether or not a connection was free then.
    """

    __slots__ = (
        "descriptor", "head", "index", "received", "socket", "standing", "taken_ns", "unsent", "whole", "writing",
    )  # fmt: skip

    def __init__(self, made: socket.socket, *, connected: bool) -> None:
        self.socket = made
        self.descriptor = made.fileno()
        self.index = NO_REQUEST
        self.taken_ns = 0
        self.standing = connected
        self.unsent = _NOTHING
        self.writing = not connected  # until it can be written to
        self.received = bytearray()
        self.head = self.whole = 0


class RawHttp:
    """A `Client`. `requests`: pipeline → the bytes of each of its payloads as a whole HTTP request."""

    def __init__(self, work: Work, requests: Sequence[Sequence[bytes]]) -> None:
        self._work, self._requests, self._ledger = work, requests, work.ledger
        self._deadline_ns = work.orders.deadline_us * 1000
        self._poll = Poll()
        self._connections: dict[int, _Connection] = {}
        self._idle: list[_Connection] = []
        self._waiting: deque[tuple[int, int]] = deque()  # and when the sender came to it
        self._timers: Timers[_Connection] = Timers(work)
        self.in_flight = self.connections_opened = self.waited_for_connection = 0

    @property
    def most_in_flight(self) -> int:
        """One on each connection."""
        return self._work.orders.connections

    def open(self) -> None:
        """Connects OPENED_BEFORE times, or as often as is allowed. Raises OSError when it cannot.

        Each connection asks at once whether the server lives, and the next does not wait for the answer. Triton gives
        a new connection to the first of its HTTP threads that is idle: those of a server with nothing to do would be
        one thread's, and its limit the server's (benchmarks/http_threads.md).
        """
        self._target = Target(self._work.orders.address)
        greeting = f"GET /v2/health/live HTTP/1.1\r\nHost: {self._work.orders.address}\r\n\r\n".encode()
        for _ in range(min(OPENED_BEFORE, self._work.orders.connections)):
            timeout_s = max(self._deadline_ns / 1e9, 1.0)
            connection = self._added(_Connection(self._target.connected(timeout_s), connected=True))
            with suppress(OSError):
                connection.socket.send(greeting)
        self._take_greetings(time.monotonic() + _GREETING_S)

    def _take_greetings(self, end_s: float) -> None:
        """A connection is idle when it has been answered in full; one that has not been in time is closed."""
        asked = dict(self._connections)
        while asked and (left_s := end_s - time.monotonic()) > 0:
            for descriptor, _ in self._poll.events(left_s):
                connection = self._connections[descriptor]
                if descriptor not in asked:  # it was answered, and closes or says more than it was asked
                    self._drop(connection)
                    continue
                try:
                    data = connection.socket.recv(RECEIVE_BYTES)
                except OSError:
                    data = b""
                connection.received += data
                stays = _stays_after(connection.received)
                if data and stays is None:
                    continue  # there is more to come
                del asked[descriptor]
                if not stays:
                    self._drop(connection)
                    continue
                connection.received.clear()
                self._idle.append(connection)
        for connection in asked.values():
            self._drop(connection)

    def close(self) -> None:
        """Closes every connection."""
        for connection in self._connections.values():
            connection.socket.close()
        self._connections.clear()
        self._poll.close()

    def send(self, index: int) -> None:
        """Sends it over an idle connection, over a new one, or when the first becomes free."""
        self.in_flight += 1
        now_ns = time.monotonic_ns() - self._work.start_ns
        if self._idle:
            self._start(self._idle.pop(), index, now_ns)
        elif len(self._connections) < self._work.orders.connections:
            self._start_on_new(index, now_ns)
        else:
            self.waited_for_connection += 1
            self._waiting.append((index, now_ns))

    def wait(self, timeout_s: float) -> None:
        """Takes answers; returns after the first ones, or after the time."""
        for descriptor, event in self._poll.events(timeout_s):
            connection = self._connections.get(descriptor)
            if connection is None:  # closed by what came before in this list
                continue
            if connection.writing and event & ~READ and not self._continue(connection):
                continue
            if event & ~READ_WRITE or event & READ:
                self._read(connection)
        if self._waiting:
            self._serve_waiting()

    def expire(self, now_ns: int) -> None:
        """Closes the connections of what is cancelled or past its deadline."""
        for connection, outcome in self._timers.over(now_ns):
            if connection.index != NO_REQUEST:  # it may have been both
                self._give_up(connection, outcome)
        while self._waiting and self._work.due_ns[self._waiting[0][0]] <= now_ns - self._deadline_ns:
            self._never_sent(now_ns, "no connection was free within the deadline")
        if self._waiting:
            self._serve_waiting()

    def give_up(self) -> None:
        """Ends whatever is under way as a timeout."""
        now_ns = time.monotonic_ns() - self._work.start_ns
        while self._waiting:
            self._never_sent(now_ns, GIVEN_UP)
        for connection in list(self._connections.values()):
            if connection.index != NO_REQUEST:
                self._give_up(connection, Outcome.TIMEOUT, GIVEN_UP)

    def _never_sent(self, now_ns: int, words: str) -> None:
        index, taken_ns = self._waiting.popleft()
        self.in_flight -= 1
        self._ledger.failed(index, taken_ns, now_ns, Outcome.TIMEOUT, words)

    # One request ----------------------------------------------------------------------------------------------

    def _start(self, connection: _Connection, index: int, taken_ns: int) -> None:
        connection.index, connection.taken_ns = index, taken_ns
        self._timers.begun(index, connection)
        request = self._requests[self._work.pipeline[index]][self._work.payload[index]]
        try:
            count = connection.socket.send(request)
        except BlockingIOError:
            count = 0
        except OSError as error:
            self._broke(connection, words_of(error))
            return
        if count == len(request):
            self._timers.sent(index, connection)
        else:
            connection.unsent, connection.writing = memoryview(request)[count:], True
            self._poll.modify(connection.descriptor, READ_WRITE)

    def _start_on_new(self, index: int, taken_ns: int) -> None:
        try:
            connection = self._added(_Connection(self._target.connecting(), connected=False))
        except OSError as error:
            now_ns = time.monotonic_ns() - self._work.start_ns
            self.in_flight -= 1
            self._ledger.failed(index, taken_ns, now_ns, Outcome.BROKEN, words_of(error))
            return
        connection.index, connection.taken_ns = index, taken_ns
        connection.unsent = memoryview(self._requests[self._work.pipeline[index]][self._work.payload[index]])
        self._timers.begun(index, connection)
        self._continue(connection)

    def _continue(self, connection: _Connection) -> bool:
        """Sends more of the request, the first of it when the connection stands. False when it has broken."""
        try:
            if not connection.standing:
                error = connection.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if error:
                    raise OSError(error, "")
            while connection.unsent:
                connection.unsent = connection.unsent[connection.socket.send(connection.unsent) :]
                connection.standing = True
        except BlockingIOError:
            return True
        except OSError as error:
            self._broke(connection, words_of(error))
            return False
        connection.writing, connection.unsent = False, _NOTHING
        self._poll.modify(connection.descriptor, READ)
        self._timers.sent(connection.index, connection)
        return True

    def _read(self, connection: _Connection) -> None:
        try:
            data: bytes | bytearray = connection.socket.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            self._broke(connection, words_of(error))
            return
        now_ns = time.monotonic_ns() - self._work.start_ns
        if not data:
            self._broke(connection, "the server closed the connection before its answer")
            return
        if connection.received or connection.index == NO_REQUEST or connection.unsent:
            if connection.index == NO_REQUEST or connection.unsent:
                self._broke(connection, "the server answered before it had the whole request")
                return
            connection.received += data
            data = connection.received
        if not connection.whole:
            try:
                ends = ends_of(data)
            except NoAnswerError as error:
                self._broke(connection, str(error))
                return
            if ends is not None:
                connection.head, connection.whole = ends
        if connection.whole and len(data) >= connection.whole:
            self._answered(connection, data, now_ns)
        elif not connection.received:
            connection.received += data

    def _answered(self, connection: _Connection, data: bytes | bytearray, now_ns: int) -> None:
        index, status = connection.index, int(data[9:12])
        if status == 200:
            self._ledger.record(index, connection.taken_ns, now_ns, Outcome.OK, status)
            if self._work.kept is not None:
                self._work.kept[index] = bytes(data)
        else:
            words = _error_words(bytes(data[connection.head :]))
            self._ledger.failed(index, connection.taken_ns, now_ns, Outcome.REFUSED, words, status=status)
        closes = _CLOSES.search(data, 0, connection.head)
        connection.index, connection.whole = NO_REQUEST, 0
        self.in_flight -= 1
        if connection.received:
            connection.received.clear()
        if closes:
            self._drop(connection)
        elif self._waiting:
            self._start(connection, *self._waiting.popleft())
        else:
            self._idle.append(connection)

    def _give_up(self, connection: _Connection, outcome: Outcome, words: str = LATE) -> None:
        """Ends a request by closing its connection: HTTP/1.1 has no other way."""
        now_ns = time.monotonic_ns() - self._work.start_ns
        index, connection.index = connection.index, NO_REQUEST
        self.in_flight -= 1
        if outcome is Outcome.CANCELLED:
            self._ledger.record(index, connection.taken_ns, now_ns, outcome, 0)
        else:
            self._ledger.failed(index, connection.taken_ns, now_ns, outcome, words)
        self._drop(connection)

    # Connections ----------------------------------------------------------------------------------------------

    def _added(self, connection: _Connection) -> _Connection:
        self._connections[connection.descriptor] = connection
        self._poll.add(connection.descriptor, READ_WRITE if connection.writing else READ)
        self.connections_opened += 1
        return connection

    def _broke(self, connection: _Connection, words: str) -> None:
        """A connection without a request may go: servers close what is idle for long."""
        if connection.index != NO_REQUEST:
            now_ns = time.monotonic_ns() - self._work.start_ns
            index, connection.index = connection.index, NO_REQUEST
            self.in_flight -= 1
            self._ledger.failed(index, connection.taken_ns, now_ns, Outcome.BROKEN, words)
        self._drop(connection)

    def _drop(self, connection: _Connection) -> None:
        del self._connections[connection.descriptor]
        self._poll.remove(connection.descriptor)
        connection.socket.close()
        if connection in self._idle:
            self._idle.remove(connection)

    def _serve_waiting(self) -> None:
        """What waits for a connection gets a new one instead of one that was closed."""
        while self._waiting and len(self._connections) < self._work.orders.connections:
            self._start_on_new(*self._waiting.popleft())


def _stays_after(received: bytearray) -> bool | None:
    """Whether a connection is open after this answer, and it is one; None while there may be more of it to come."""
    try:
        ends = ends_of(received)
    except NoAnswerError:
        return False
    if ends is None or len(received) < ends[1]:
        return None if len(received) <= LONGEST_HEAD_BYTES else False
    return _CLOSES.search(received, 0, ends[0]) is None


def _error_words(body: bytes) -> str:
    """What the server says in `{"error": "..."}`, or the beginning of what it says otherwise."""
    try:
        return str(json.loads(body)["error"])
    except (ValueError, KeyError, TypeError):
        return body[:200].decode(errors="replace")
