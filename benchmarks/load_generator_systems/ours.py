"""The sender at a rate, and the highest rate that it keeps its schedule at."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from loadtest.samples.file import read_samples
from loadtest.samples.record import Outcome
from loadtest.sender.orders import Orders
from loadtest.sender.process import Sending, start_together
from loadtest.traffic.arrivals import draw
from loadtest.traffic.payloads import Payloads

LAG_BOUND_US, CORE_BOUND = 1000, 0.7
MODEL, IMAGE_BYTES, PAYLOADS = "model", 1500, 64
FIRST_RPS, RATIO, CLOSE = 1000, 1.5, 1.06
DEADLINE_US = 2_000_000


@dataclass(frozen=True)
class Seen:
    """One run. `valid`: every answer came, the send lag's p99 and the busiest core are within their bounds."""

    rate_rps: float
    seconds: float
    valid: bool
    lag_p50_us: float
    lag_p99_us: float
    busiest_core: float
    cpu_us_a_request: float
    not_ok: int


def requests() -> Payloads:
    """As large as an encoded digit or a small photo."""
    random = np.random.default_rng(1)
    images = [random.bytes(IMAGE_BYTES) for _ in range(PAYLOADS)]
    each = tuple({"image": ("BYTES", np.array([[image]], np.object_))} for image in images)
    return Payloads(f"{PAYLOADS} random images of {IMAGE_BYTES} bytes", each, (1,) * PAYLOADS)


@dataclass(frozen=True)
class Way:
    """How it is sent: `client` is protocol-client, and there is one sender for each address."""

    client: str
    addresses: tuple[str, ...]
    seconds: float
    folder: Path


def run(way: Way, rate_rps: float, seed: int) -> Seen:
    """Poisson arrivals at the rate, of all senders together."""
    protocol, _, kind = way.client.partition("-")
    addresses, seconds, folder = way.addresses, way.seconds, way.folder
    schedule = draw("poisson", rate_rps, seconds, seed, mix={MODEL: 1.0}, payloads={MODEL: PAYLOADS})
    payloads = {MODEL: requests()}
    senders = [
        Sending(
            Orders(protocol, kind, address, (MODEL,), DEADLINE_US, connections=2048),  # type: ignore[arg-type]
            schedule.part(number, len(addresses)), payloads, folder, number=number,
        )
        for number, address in enumerate(addresses)
    ]  # fmt: skip
    try:
        start_together(senders)
        reports = [sender.wait(seconds + 60) for sender in senders]
        samples = np.concatenate([read_samples(sender.samples_path)[1] for sender in senders])
    finally:
        for sender in senders:
            sender.stop()
    lag_p50_us, lag_p99_us = np.percentile(samples["lag_us"], [50, 99])
    busiest = max(report.busiest_core for report in reports)
    not_ok = int((samples["outcome"] != Outcome.OK).sum())
    return Seen(
        rate_rps, seconds, bool(lag_p99_us < LAG_BOUND_US and busiest < CORE_BOUND and not not_ok),
        float(lag_p50_us), float(lag_p99_us), busiest,
        sum(report.cpu_s for report in reports) / max(len(samples), 1) * 1e6, not_ok,
    )  # fmt: skip


def highest(way: Way, seed: int) -> tuple[float, list[Seen]]:
    """The highest rate that was valid (0 if none was), to within 6 %, and every run of the search.

    A rate that is not valid is tried a second time: the machine may have had something else to do.
    """
    seen: list[Seen] = []

    def valid(rate_rps: float) -> bool:
        for attempt in range(2):
            seen.append(run(way, rate_rps, seed + attempt))
            if seen[-1].valid:
                return True
        return False

    good, bad = 0.0, float(FIRST_RPS * len(way.addresses))
    while valid(bad):
        good, bad = bad, bad * RATIO
    while not good and bad > FIRST_RPS / 8:
        bad /= 2
        good = bad if valid(bad) else 0.0
    bad = bad if bad > good else good * 2
    while good and bad / good > CLOSE:
        middle = (good * bad) ** 0.5
        good, bad = (middle, bad) if valid(middle) else (good, middle)
    return good, seen
