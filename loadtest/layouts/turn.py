"""One turn of one layout: a closed loop for a while, what the server counted meanwhile, and every answer compared."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from generator.problems import UserError
from loadtest.cpu import cpu_of
from loadtest.layouts.answers import allowed_differences, differences
from loadtest.layouts.stages import Breakdown, breakdown, read_totals, read_totals_after
from loadtest.raw_http import ClosedLoop, Reply, triton_answer
from loadtest.turns import endless_order, rounds

if TYPE_CHECKING:
    from loadtest.layouts.answers import Answer

LONGEST_S = 3600.0  # of asking every item once
RAMP_S = 0.3  # left out of the throughput: the first answers come together


@dataclass(frozen=True)
class Mode:
    """`in_flight` requests at a time, each of so many `items`."""

    name: str
    items: int
    in_flight: int


@dataclass(frozen=True)
class Served:
    """A layout on a running server: `pipeline` is what clients call, `models` run in it, in their order.

    `payloads` are the requests of each mode by its name, `requests` which items each of them has. `chain` says that
    every model follows the one before it.
    """

    layout: str
    pipeline: str
    models: tuple[str, ...]
    chain: bool
    batched: bool
    payloads: Mapping[str, Sequence[bytes]]
    requests: Mapping[str, Sequence[Sequence[int]]]


@dataclass(frozen=True)
class Turn:
    """The figures of one turn. CPU is in µs an item; `stages` are means of a request."""

    layout: str
    mode: str
    round: int
    requests: int
    items: int
    median_us: float
    mean_us: float
    items_per_s: float
    server_cpu_us: float
    client_cpu_us: float
    stages: Breakdown


@dataclass
class Checker:
    """Compares answers with those of the first layout to single items. Bytes that were right once are right again."""

    first: str
    expected: Sequence[Answer]
    tolerance: float
    largest: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._allowed = allowed_differences(self.expected, self.tolerance)
        self._right: set[tuple[str, str, int, bytes]] = set()

    def check(self, served: Served, mode: Mode, replies: Sequence[Reply]) -> None:
        """Raises AnswersDifferError at the first answer that is another, UserError at the first that is an error."""
        for reply in replies:
            key = (served.layout, mode.name, reply.payload, reply.body)
            if reply.status == 200 and key in self._right:
                continue
            items = served.requests[mode.name][reply.payload]
            for item, answer in zip(items, rows(served, items, reply), strict=True):
                here = f"{served.layout} at {mode.in_flight} in flight"
                found = differences((self.first, self.expected[item]), (here, answer), self._allowed, f"item {item}")
                for name, far in found.items():
                    self.largest[name] = max(self.largest.get(name, 0.0), far)
            self._right.add(key)


def rows(served: Served, items: Sequence[int], reply: Reply) -> list[Answer]:
    """The answer to each of the request's items. Raises UserError with the server's words when it is an error."""
    try:
        answer = triton_answer(reply)
    except ValueError as error:
        asked = f"item {items[0]}" if len(items) == 1 else f"items {items[0]} to {items[-1]}"
        raise UserError(f"layout {served.layout} does not answer {asked}: {error}") from error
    if not served.batched:
        return [answer]
    return [{name: value[row] for name, value in answer.items()} for row in range(len(items))]


def one_by_one(address: str, served: Served, mode: Mode) -> list[Answer]:
    """The answers to all items, asked one at a time. Raises UserError, and OSError when the server is gone."""
    payloads = served.payloads[mode.name]
    with ClosedLoop(address, 1) as loop:
        replies = loop.run(payloads, range(len(payloads)), LONGEST_S)
    found: list[Answer] = []
    for reply in replies:
        found += rows(served, served.requests[mode.name][reply.payload], reply)
    return found


@dataclass(frozen=True)
class Client:
    """Who measures: the server's address, its processes, and what answers are compared with."""

    address: str
    processes: Sequence[int]
    checker: Checker

    def turn(self, served: Served, mode: Mode, number: int, seconds: float, seed: int) -> Turn:
        """One turn in round `number`. Raises UserError when it was too short, or an answer is wrong."""
        payloads = served.payloads[mode.name]
        names = list(dict.fromkeys([served.pipeline, *served.models]))
        before = read_totals(self.address)
        with ClosedLoop(self.address, mode.in_flight) as loop:
            server, client = self._cpu(), time.process_time()
            replies = loop.run(payloads, endless_order(len(payloads), seed), seconds)
            client, server = time.process_time() - client, self._cpu() - server
        after = read_totals_after(self.address, before, names, len(replies))
        self.checker.check(served, mode, replies)
        items, latencies = len(replies) * mode.items, [reply.latency_us for reply in replies]
        mean_us = sum(latencies) / len(latencies)
        spent = {name: after[name] - before[name] for name in names}
        return Turn(
            served.layout, mode.name, number, len(replies), items, _median(latencies), mean_us,
            rate([reply.done_us for reply in replies], seconds, mode.in_flight) * mode.items, server / items * 1e6,
            client / items * 1e6, breakdown(spent, served.models, served.pipeline, mean_us, chain=served.chain),
        )  # fmt: skip

    def _cpu(self) -> float:
        return cpu_of({"server": self.processes})["server"]


def rate(done_us: Sequence[int], seconds: float, in_flight: int) -> float:
    """Answers a second, from the last one of the ramp to the last one in time.

    From answer to answer, because whole batches come at once; and not before as many have come as were sent at the
    start. Raises UserError when too few are left.
    """
    ramp_us = min(RAMP_S, seconds / 4) * 1e6
    times = sorted(us for us in done_us if us <= seconds * 1e6)
    early = max(in_flight, sum(us <= ramp_us for us in times))
    if len(times) <= early or times[-1] == times[early - 1]:
        raise UserError(
            f"a turn of {seconds:g} s with {in_flight} requests in flight saw {len(times)} answers: too few",
            "give more --seconds",
        )
    return (len(times) - early) / (times[-1] - times[early - 1]) * 1e6


def _median(values: Sequence[int]) -> float:
    return float(statistics.median(values))


def in_turns(
    count: int, served: Sequence[Served], modes: Sequence[Mode], seed: int
) -> Iterator[tuple[int, Served, Mode]]:
    """Who measures when: every layout in every mode once a round, in a new seeded order each."""
    for number, (one, mode) in rounds([(one, mode) for one in served for mode in modes], count, seed):
        yield number, one, mode
