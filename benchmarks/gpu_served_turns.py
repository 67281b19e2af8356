"""Turns of gpu_served.py: one load on one model for a while, what the server counted, and every answer compared."""

from __future__ import annotations

import socket
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engines_gpu_plans import interval
from gpu_busy import Busy
from gpu_served_clients import Clients, Seen
from gpu_served_even import Asked, even
from gpu_served_models import as_json
from gpu_served_reference import Embedded, Labelled, check_all
from gpu_served_requests import Shared, Tensors, request

from deploy.embedded.server import EmbeddedServer
from loadtest.cpu import cpu_of, family
from loadtest.layouts.stages import Totals, read_totals
from loadtest.turns import rounds

EVEN = "body, connections even"
TRANSPORTS = ("body", "shared memory")
P99_US = 15_000.0
# A setting that comes closer to it than this in a sweep may well be beyond it when it is measured again.
MARGIN = 0.98


@dataclass(frozen=True)
class Load:
    """Requests of so many `items` to a `model`: their tensors in the `transport`.

    EVEN is the body, over as many connections on each of the server's HTTP threads.
    """

    model: str
    transport: str
    items: int
    file: str


@dataclass
class Data:
    """Items that are asked for, as requests of 1 and of several; `checker` knows the answers."""

    name: str
    tensors_of: Callable[[Sequence[int]], Tensors]
    count: int
    checker: Labelled | Embedded | None = None

    def requests(self, items: int) -> list[Tensors]:
        """As many requests as there are items; each begins with another one."""
        return [self.tensors_of([(first + i) % self.count for i in range(items)]) for first in range(self.count)]


@dataclass
class Serving:
    """A running server with the loads on it."""

    server: EmbeddedServer
    clients: Clients
    stack: ExitStack
    shared: dict[tuple[str, int], Shared] = field(default_factory=dict)
    checkers: dict[str, tuple[Labelled | Embedded | None, int]] = field(default_factory=dict)
    seed: int = 0
    made: list[socket.socket] = field(default_factory=list)
    http_threads: int = 8

    def connect_evenly(self, model: str, count: int) -> dict[str, Any]:
        """Makes the connections of EVEN; how long it took. TimeoutError."""
        start = time.monotonic()
        self.made = even(Asked(self.server.http_address, model, self.server.pid, self.http_threads), count)
        for one in self.made:
            self.stack.callback(one.close)
        return {"connections": len(self.made), "http_threads": self.http_threads, "seconds": time.monotonic() - start}

    def load(self, model: str, transport: str, data: Data, items: int, checked: bool = True) -> Load:
        """Makes a load's requests known to the clients; answers of a model that only answers are not compared."""
        requests, address = data.requests(items), self.server.http_address
        if transport in ("body", EVEN):
            bytes_ = [request(address, model, tensors) for tensors in requests]
        else:
            key = data.name, items
            if key not in self.shared:
                region = Shared(address, self.server.http_headers, f"{data.name}{items}", requests)
                self.shared[key] = self.stack.enter_context(region)
            bytes_ = self.shared[key].requests(model, requests)
        self.checkers[model] = (data.checker if checked else None, data.count)
        port = address.rpartition(":")[2]
        way = "shared" if transport == "shared memory" else "body"
        file = self.clients.keep(f"{port}-{model}-{way}-{items}", bytes_)
        return Load(model, transport, items, file)

    def turn(self, load: Load, in_flight: int, seconds: float, rate: float = 0.0) -> dict[str, Any]:
        """One turn; ValueError where an answer is wrong."""
        self.seed += 1
        address = self.server.http_address
        pids = family(self.server.pid)
        before, cpu, threads = read_totals(address), _cpu(self.server.pid, pids), ticks(self.server.pid)
        with Busy() as gpu:
            seen = self.clients.turn(
                address, load.file, in_flight, seconds=seconds, seed=self.seed, rate=rate,
                made=self._made(load, in_flight, rate),
            )  # fmt: skip
        after, spent, busiest = read_totals(address), _cpu(self.server.pid, pids), _busiest(self.server.pid, threads)
        checker, count = self.checkers[load.model]
        check_all(seen.answers, load.items, count, checker)
        return {
            "model": load.model, "transport": load.transport, "items": load.items, "in_flight": in_flight,
            **_told(seen, load.items), "server": _split(after[load.model] - before[load.model]),
            "cores": {name: (spent[name] - cpu[name]) / seconds for name in cpu}
            | {"clients": seen.clients_cpu_s / seconds},
            "busiest_threads": [one / seconds for one in busiest],
            **({} if gpu.share is None else {"gpu": {"busy": gpu.share}}),
        }  # fmt: skip

    def _made(self, load: Load, in_flight: int, rate: float) -> Sequence[socket.socket]:
        if load.transport != EVEN:
            return ()
        if not self.made or len(self.made) < in_flight:
            raise ValueError(f"there are {len(self.made)} even connections for {in_flight} in flight")
        return self.made if rate else self.made[:in_flight]

    def together(self, loads: Sequence[tuple[Load, int]], seconds: float) -> list[dict[str, Any]]:
        """Several loads side by side, the clients shared out among them."""
        self.seed += 1
        used = max(1, self.clients.count // len(loads))
        orders = [(load.file, in_flight, 0.0, used) for load, in_flight in loads]
        self.clients.start(self.server.http_address, orders, seconds, self.seed)
        found = []
        for number, (load, _) in enumerate(loads):
            seen = self.clients.end(used, seconds, number * used)
            checker, count = self.checkers[load.model]
            check_all(seen.answers, load.items, count, checker)
            found.append({"model": load.model, **_told(seen, load.items)})
        return found


def ticks(process: int) -> dict[str, int]:
    """Thread of a process -> hundredths of a second that it has run."""
    found = {}
    for task in Path(f"/proc/{process}/task").iterdir():
        with suppress(OSError):  # it has ended
            fields = (task / "stat").read_text().rsplit(")", 1)[1].split()
            found[task.name] = int(fields[11]) + int(fields[12])
    return found


def _busiest(process: int, before: Mapping[str, int]) -> list[float]:
    """Seconds that the six threads ran which ran the most since then."""
    spent = sorted((now - before.get(thread, 0) for thread, now in ticks(process).items()), reverse=True)
    return [one / 100 for one in spent[:6]]


def _cpu(server: int, pids: Iterable[int]) -> dict[str, float]:
    models = [pid for pid in pids if pid != server]
    return cpu_of({"front end": [server], "models": models})


def _told(seen: Seen, items: int) -> dict[str, Any]:
    return {
        "items_per_s": seen.rate * items, "p50_us": seen.p50_us, "p99_us": seen.p99_us, "requests": seen.requests,
        "busiest_client": seen.client_cpu, "late_us": seen.late_us,
    }  # fmt: skip


def _split(spent: Totals) -> dict[str, float]:
    """The mean batch, and mean microseconds a request of each part as the server counts them."""
    count = max(1, spent.requests) * 1000
    return {
        "mean_batch": spent.items / max(1, spent.executions), "queue_us": spent.queue_ns / count,
        "input_us": spent.input_ns / count, "compute_us": spent.compute_ns / count,
        "output_us": spent.output_ns / count,
    }  # fmt: skip


def best(turns: Sequence[Mapping[str, Any]], within: float = P99_US) -> Mapping[str, Any]:
    """The fastest with a p99 in time; the one with the least p99 where none has."""
    return ranked(turns, within)[0]


def ranked(turns: Sequence[Mapping[str, Any]], within: float = P99_US) -> list[Mapping[str, Any]]:
    """Those with a p99 in time, the fastest first; then the others, the least p99 first. ValueError without any."""
    if not turns:
        raise ValueError("nothing was measured")
    return sorted(
        turns,
        key=lambda turn: (0, -turn["items_per_s"]) if turn["p99_us"] <= within else (1, turn["p99_us"]),
    )


def in_turns(cases: Mapping[str, Callable[[], Any]], count: int, left_s: Callable[[], float],
             seed: int = 1) -> list[dict[str, Any]]:  # fmt: skip
    """By round: what each case gave, all of them in a new order each time; whole rounds, while there is time."""
    found: list[dict[str, Any]] = []
    for number, name in rounds(list(cases), count, seed):
        if len(found) < number:
            if left_s() <= 0 and number > 1:
                break
            found.append({})
        found[-1][name] = cases[name]()
    return found


def judged(found: Sequence[Mapping[str, Any]], target: float, engine: str = "engine") -> dict[str, Any]:
    """Served over the smaller bound, round by round. Every case but `served` and the engine answers alone."""
    shares, idle_only = [], []
    for one in found:
        idle = max(turn["items_per_s"] for name, turn in one.items() if name not in ("served", engine))
        shares.append(one["served"]["items_per_s"] / min(idle, one[engine]))
        idle_only.append(one["served"]["items_per_s"] / idle)
    rates = {name: interval([one[name] if name == engine else one[name]["items_per_s"] for one in found])
             for name in found[0]}  # fmt: skip
    p99 = interval([one["served"]["p99_us"] for one in found])
    share = interval(shares)
    return dict(as_json({
        "share_of_the_smaller_bound": share, "share_of_answering_alone": interval(idle_only), "items_per_s": rates,
        "smaller_bound": engine if rates[engine]["median"] < max(
            rate["median"] for name, rate in rates.items() if name not in ("served", engine)) else "answering alone",
        "served_p99_us": p99, "target": target, "met": share["median"] >= target and p99["median"] <= P99_US,
        "served_split": middle(found, "served", "server"), "served_cores": middle(found, "served", "cores"),
        **({"served_gpu": middle(found, "served", "gpu")} if "gpu" in found[0]["served"] else {}),
        "rounds": found,
    }))  # fmt: skip


def middle(found: Sequence[Mapping[str, Any]], case: str, part: str) -> dict[str, float]:
    """The median over rounds of every number in a part of a case."""
    return {name: statistics.median(one[case][part][name] for one in found) for name in found[0][case][part]}
