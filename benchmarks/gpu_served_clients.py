"""The clients of gpu_served.py: processes that send over raw sockets and give back what they saw."""

from __future__ import annotations

import gc
import math
import multiprocessing
import os
import pickle
import select
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import reduction
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from loadtest.raw_http import ClosedLoop, Connection, Reply, connected
from loadtest.turns import endless_order

Array = np.ndarray[Any, Any]
LEAD_S = 0.05  # from the order to the start that all clients have in common
HANDING_S = 0.0001  # more for each connection that is handed over
RAMP_S = 0.3  # left out: connections are made, and the first answers come together
CONNECTING_S = 0.15  # of the ramp
CONNECTIONS = 1024  # of an open loop at most, all clients together


@dataclass(frozen=True)
class Seen:
    """What one turn gave. Times in microseconds, `answers` are (payload, status, head, body), each once.

    `rate`: answers a second after the ramp. `client_cpu`: the busiest client's share of a core. `late_us`: how long
    after it was due an open loop sent a request at most.
    """

    rate: float
    p50_us: float
    p99_us: float
    requests: int
    answers: frozenset[tuple[int, int, bytes, bytes]]
    client_cpu: float
    clients_cpu_s: float
    late_us: float = 0.0


def open_loop(
    address: str, payloads: Sequence[bytes], due_us: Sequence[int], order: Sequence[int], *,
    connections: int, start_ns: int, made: Sequence[socket.socket] = (),
) -> tuple[list[Reply], int]:  # fmt: skip
    """Sends each payload when it is due, over the connection that was answered last. `sent_us` is when it was due.

    Where none is free one more is made, up to `connections`; those that stand already come first. Gives the replies,
    and how late it sent at most, the ramp left out (where no connection was free, that is waiting and counts).
    """
    by_number: dict[int, Connection] = {}
    watch = select.epoll()

    def added(one: socket.socket) -> Connection:
        connection = by_number[one.fileno()] = Connection(one)
        watch.register(one.fileno(), select.EPOLLIN)
        return connection

    free = [added(one) for one in reversed(made)]
    replies: list[Reply] = []
    late_us = at = 0
    try:
        while len(replies) < len(due_us):
            now_us = (time.perf_counter_ns() - start_ns) // 1000
            if now_us > due_us[-1] + 10_000_000:
                raise TimeoutError(f"{len(due_us) - len(replies)} answers are missing 10 s after the last request")
            while at < len(due_us) and due_us[at] <= now_us and (free or len(by_number) < connections):
                connection = free.pop() if free else added(connected(address))
                connection.payload, connection.sent_us = order[at], due_us[at]
                connection.unsent = memoryview(payloads[order[at]])
                if due_us[at] > RAMP_S * 1e6:
                    late_us = max(late_us, now_us - due_us[at])
                if not connection.write():
                    watch.modify(connection.socket.fileno(), select.EPOLLIN | select.EPOLLOUT)
                at += 1
            # Not epoll's own waiting, which counts in milliseconds.
            left_us = due_us[at] - now_us if at < len(due_us) and (free or len(by_number) < connections) else 1e5
            select.select([watch.fileno()], [], [], max(0.0, left_us / 1e6))
            for number, _ in watch.poll(0):
                connection = by_number[number]
                if connection.unsent and connection.write():
                    watch.modify(number, select.EPOLLIN)
                if (found := connection.read()) is not None:
                    now_us = (time.perf_counter_ns() - start_ns) // 1000
                    replies.append(Reply(connection.payload, connection.sent_us, now_us, *found))
                    free.append(connection)
    finally:
        watch.close()
        for connection in by_number.values():
            connection.socket.close()
    return replies, late_us


def _turn(order: dict[str, Any], made: list[socket.socket], kept: dict[str, list[bytes]]) -> dict[str, Any]:
    """What one client does of a turn, over connections that were `made` for it as far as there are."""
    file = order["file"]
    if file not in kept:
        kept[file] = pickle.loads(Path(file).read_bytes())  # noqa: S301 — the parent process has just written it
    payloads, start_ns, late_us = kept[file], order["start_ns"], 0
    gc.collect()
    gc.freeze()
    if order["rate"]:
        lot = np.random.default_rng(order["seed"])
        count = max(1, math.ceil(order["rate"] * order["seconds"]))
        due = np.cumsum(lot.exponential(1e6 / order["rate"], count)).astype(int).tolist()
        which = lot.integers(0, len(payloads), count).tolist()
        _wait_until(start_ns)
        cpu = time.process_time()
        replies, late_us = open_loop(
            order["address"], payloads, due, which, connections=order["in_flight"], start_ns=start_ns, made=made
        )
    else:
        with ClosedLoop(order["address"], order["in_flight"], over_s=CONNECTING_S, made=made) as loop:
            _wait_until(start_ns)
            cpu = time.process_time()
            replies = loop.run(payloads, endless_order(len(payloads), order["seed"]), order["seconds"])
    cpu = time.process_time() - cpu
    gc.unfreeze()
    times = np.array([(reply.sent_us, reply.done_us) for reply in replies], np.int64).reshape(-1, 2)
    answers = {(reply.payload, reply.status, reply.head, reply.body) for reply in replies}
    return {"times": times, "answers": answers, "cpu_s": cpu, "late_us": late_us, "open": bool(order["rate"])}


def _wait_until(start_ns: int) -> None:
    while time.perf_counter_ns() < start_ns:
        time.sleep(0.0005)


def _client(pipe: Pipe, number: int) -> None:
    """A client's life: orders in, what was seen out."""
    kept: dict[str, list[bytes]] = {}
    while True:
        try:
            order = pipe.recv()
        except (EOFError, OSError, KeyboardInterrupt):
            return
        try:
            made = [socket.socket(fileno=reduction.recv_handle(pipe)) for _ in range(order["made"])]
            found: dict[str, Any] | str = _turn({**order, "seed": order["seed"] * 64 + number}, made, kept)
        except Exception as error:  # noqa: BLE001 — the parent tells it, and other turns may work
            found = f"{type(error).__name__}: {error}"
        pipe.send((order["turn"], found))


class Clients:
    """`count` client processes, a context manager; started before anything here uses a GPU or threads."""

    def __init__(self, count: int, folder: Path) -> None:
        self.count, self._folder, self._turn = count, folder, 0
        context = multiprocessing.get_context("spawn")
        self._processes, self._pipes = [], []
        for number in range(count):
            ours, theirs = context.Pipe()
            process = context.Process(target=_client, args=(theirs, number), daemon=True)
            process.start()
            theirs.close()
            self._processes.append(process)
            self._pipes.append(ours)

    def __enter__(self) -> Clients:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for pipe in self._pipes:
            pipe.close()
        for process in self._processes:
            process.join(2)
            if process.is_alive():
                process.kill()

    def keep(self, name: str, payloads: Sequence[bytes]) -> str:
        """Makes requests known to all clients; the file to name in `start`."""
        file = self._folder / f"{name}.requests"
        file.write_bytes(pickle.dumps(list(payloads)))
        return str(file)

    def turn(
        self, address: str, file: str, in_flight: int, *, seconds: float, seed: int, rate: float = 0.0,
        made: Sequence[socket.socket] = (),
    ) -> Seen:  # fmt: skip
        """A closed loop of so many in flight, or with `rate` (requests a second) an open one. ValueError.

        Over connections that were `made` already, where there are as many: they stay open.
        """
        used = min(self.count, in_flight)
        self.start(address, [(file, in_flight, rate, used)], seconds, seed, made)
        return self.end(used, seconds)

    def start(
        self, address: str, loads: Sequence[tuple[str, int, float, int]], seconds: float, seed: int,
        made: Sequence[socket.socket] = (),
    ) -> None:  # fmt: skip
        """Starts loads of (file, in flight, rate, clients) side by side, at one instant. ValueError for too many."""
        if sum(used for *_, used in loads) > self.count:
            raise ValueError(f"{len(loads)} loads side by side need more than {self.count} clients")
        self._turn += 1
        start_ns = time.perf_counter_ns() + int((LEAD_S + len(made) * HANDING_S) * 1e9)
        theirs = iter(zip(self._processes, self._pipes, strict=True))
        for file, in_flight, rate, used in loads:
            most = in_flight if not rate else len(made) or CONNECTIONS
            first = 0
            for number in range(used):
                own = most // used + (number < most % used)
                given = made[first : first + own]
                first += own
                process, pipe = next(theirs)
                pipe.send({
                    "address": address, "file": file, "in_flight": own, "seconds": seconds, "seed": seed,
                    "rate": rate / used, "start_ns": start_ns, "turn": self._turn, "made": len(given),
                })  # fmt: skip
                for one in given:
                    reduction.send_handle(pipe, one.fileno(), process.pid)

    def end(self, used: int, seconds: float, first: int = 0) -> Seen:
        """What the clients from `first` on saw. ValueError where one failed."""
        pipes = self._pipes[first : first + used]
        found = []
        for pipe in pipes:
            turn = 0
            while turn != self._turn:  # what is left of a turn that failed elsewhere is nobody's
                if not pipe.poll(seconds + 40):
                    raise ValueError("a client does not come back")
                turn, told = pipe.recv()
            found.append(told)
        if failed := [text for text in found if isinstance(text, str)]:
            raise ValueError(failed[0])
        return _seen(found, seconds)


def _seen(found: Sequence[dict[str, Any]], seconds: float) -> Seen:
    times = np.concatenate([one["times"] for one in found])
    ramp_us, end_us = min(RAMP_S, seconds / 2) * 1e6, seconds * 1e6
    done = times[:, 1]
    # Of an open loop every request that was due counts, however late its answer came.
    counted = times[times[:, 0] > ramp_us] if found[0]["open"] else times[(done > ramp_us) & (done <= end_us)]
    if len(counted) < 2:
        raise ValueError(f"a turn of {seconds:g} s saw {len(counted)} answers: too few")
    latency = counted[:, 1] - counted[:, 0]
    p50, p99 = np.percentile(latency, (50, 99), method="higher")
    return Seen(
        len(counted) / (end_us - ramp_us) * 1e6, float(p50), float(p99), len(times),
        frozenset().union(*(one["answers"] for one in found)), max(one["cpu_s"] for one in found) / seconds,
        sum(one["cpu_s"] for one in found), float(max(one["late_us"] for one in found)),
    )  # fmt: skip


def default_count() -> int:
    """Of 16 cores 6: a client sends about ten thousand small requests a second, and the rest is the server's."""
    return max(3, min(12, len(os.sched_getaffinity(0)) * 3 // 8))
