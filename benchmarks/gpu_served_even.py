"""Connections to a Triton server, as many on each of its HTTP threads, which the server by itself never gives.

A new connection goes to the first HTTP thread that is idle, for good (http_threads.md). So here threads that have as
many as they should are kept busy, with a question whose JSON takes long to read, while connections are made that the
others get; which thread one belongs to is seen by whose time grows when it asks something. Clients elsewhere cannot
do this: it is there to measure what the server does without that unevenness.
"""

from __future__ import annotations

import os
import socket
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from loadtest.http_answers import ends_of
from loadtest.raw_http import connected, post

_PROBE_BYTES = 500_000
_PROBES = 8  # at most, until one thread's time has grown far more than any other's, twice
_CLEARLY = 3.0
_LEAST_NS = 50_000  # that reading a probe takes
_MOST = 0.8  # of the threads
_LONG_NUMBERS = 2_000_000  # of a question that keeps its thread busy for about a twentieth of a second
# Until a thread has read all but the end of it and is idle again: with the end it reads the JSON without a pause.
_READ_S = 0.004


@dataclass(frozen=True)
class Asked:
    """A server on this machine: its HTTP address, any `model` of it, which is asked nonsense, its process's number,
    and how many HTTP threads it has.
    """

    address: str
    model: str
    process: int
    threads: int

    def post(self, body: bytes) -> bytes:
        """The bytes of a question."""
        return post(self.address, f"/v2/models/{self.model}/infer", body)


def even(asked: Asked, count: int, limit_s: float = 40.0) -> list[socket.socket]:
    """`count` connections, so ordered that as many as one likes from the first on are even over the threads.

    Fewer, of fewer threads, where some have none left to give within `limit_s`; TimeoutError for less than most.
    """
    threads, end = asked.threads, time.monotonic() + limit_s
    each = -(-count // threads)
    found: dict[str, list[socket.socket]] = defaultdict(list)
    spare: list[socket.socket] = []
    long = asked.post(b'{"x":[' + b"1," * _LONG_NUMBERS + b"1]}")
    try:
        while len([some for some in found.values() if len(some) == each]) < threads:
            if time.monotonic() > end:
                break
            full = [some[0] for some in found.values() if len(some) == each]
            made = _while_busy(asked.address, long, full, each)
            spare.extend(made)  # closed at the end, unless one is of use
            for one in made:
                thread = thread_of(asked, one, found)
                if thread is not None and len(found[thread]) < each:
                    found[thread].append(one)
                    spare.remove(one)
    except BaseException:
        spare.extend(one for some in found.values() for one in some)
        raise
    finally:
        for one in spare:
            one.close()
    whole = [some for some in found.values() if len(some) == each]
    if len(whole) < _MOST * threads:
        told = sorted((len(some) for some in found.values()), reverse=True)
        for one in (one for some in found.values() for one in some):
            one.close()
        raise TimeoutError(f"after {limit_s:g} s the server's threads have {told} of {each} connections each")
    for one in (one for some in found.values() if len(some) < each for one in some):
        one.close()
    return [some[place] for place in range(each) for some in whole][:count]


def _while_busy(address: str, long: bytes, busy: Sequence[socket.socket], count: int) -> list[socket.socket]:
    """So many connections, made while the threads of others are kept busy."""
    for one in busy:
        one.sendall(long[:-1])
    if busy:
        time.sleep(_READ_S * (1 + len(busy) / len(os.sched_getaffinity(0))))
    for one in busy:
        one.sendall(long[-1:])
    if busy:
        time.sleep(_READ_S / 4)
    made = [connected(address) for _ in range(count)]
    for one in made:
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for one in busy:
        _answered(one)
    return made


def _answered(one: socket.socket) -> None:
    """Reads an answer to its end; ConnectionError where the server closes instead."""
    received = b""
    while True:
        data = one.recv(1 << 16)
        if not data:
            raise ConnectionError("the server closed a connection")
        received += data
        ends = ends_of(received)
        if ends is not None and len(received) >= ends[1]:
            return


def thread_of(asked: Asked, one: socket.socket, known: Iterable[str] = ()) -> str | None:
    """Which of the server's threads answers this connection: the same one twice; None where that is not clear.

    The `known` are looked at first: a server with many models has hundreds of threads, and to read all takes long.
    """
    probe = asked.post(b" " * _PROBE_BYTES)
    seen: list[str] = []
    for number in range(_PROBES):
        few = list(known) if number < _PROBES // 2 else None
        before = _times_ns(asked.process, few)
        one.sendall(probe)
        _answered(one)
        now = _times_ns(asked.process, few)
        grown = sorted(((now[thread] - before.get(thread, 0), thread) for thread in now), reverse=True)
        least_ns = _CLEARLY * grown[1][0] if len(grown) > 1 else 0
        if grown and grown[0][0] > max(least_ns, _LEAST_NS):
            if grown[0][1] in seen:
                return grown[0][1]
            seen.append(grown[0][1])
    return None


def _times_ns(process: int, threads: Sequence[str] | None) -> dict[str, int]:
    """Thread → nanoseconds that it has run; None: of all."""
    tasks, found = Path(f"/proc/{process}/task"), {}
    for thread in [task.name for task in tasks.iterdir()] if threads is None else threads:
        with suppress(OSError):  # it has ended
            found[thread] = int((tasks / thread / "schedstat").read_text().split()[0])
    return found
