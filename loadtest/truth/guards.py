"""Whether a run can be believed, by what its senders saw of themselves.

The bounds are stated in every run. A send that lags makes the latency of its request longer than the server's doing;
a few do not matter to a p99, so the bound is on the 99th percentile of the lag: 1 ms, or 5 % of the bound on the p99
where that is more. With an objective of less than 20 ms the 1 ms is more than 5 % of it, and no machine is asked for
less. Lateness only adds, so a pass holds all the same; a fail has to be one without it (`truth.late`), or is
undecided; and a warning tells how much of the bound it is. A core above 70 % has no room left for bursts: what is due
together leaves one after the other.

Who waits for a connection is not late by the sender's fault as long as there may be as many connections as requests
fall due within the bound on the p99: a server that keeps its objective would have had one free. Then the wait is part
of the latency and is judged; with fewer connections than that, they were set too low and the run is invalid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from loadtest.results.run import Validity
from loadtest.samples.record import Outcome

if TYPE_CHECKING:
    from loadtest.samples.record import Samples
    from loadtest.sender.orders import SenderReport
    from loadtest.truth.machine_use import MachineUse

LAG_BOUND_US, LAG_SHARE_OF_BOUND = 1000.0, 0.05
BUSIEST_CORE_BOUND = 0.70
CLOCK_BOUND_NS = 10_000
WAITED_SHARE = 0.01  # of the requests may wait for a free connection: more would move the p99
BUSY_MACHINE, STOLEN = 0.95, 0.01


@dataclass(frozen=True)
class Bounds:
    """What the senders may be late by, and how busy."""

    lag_us: float
    busiest_core: float = BUSIEST_CORE_BOUND
    p99_us: float | None = None  # of the objective


def bounds_of(p99_ms: float, lag_ms: float | None = None) -> Bounds:
    """For an objective; `lag_ms` is the bound on the lag in its place, where it was asked for."""
    if lag_ms is not None:
        return Bounds(lag_ms * 1000, p99_us=p99_ms * 1000)
    return Bounds(max(LAG_BOUND_US, LAG_SHARE_OF_BOUND * p99_ms * 1000), p99_us=p99_ms * 1000)


def validity(
    samples: Samples, reports: Sequence[SenderReport], bounds: Bounds, *, machine: MachineUse | None = None
) -> Validity:
    """Of all that counts of a run, and of every sender's report. Reasons say what to do."""
    sent = samples[samples["outcome"] != Outcome.UNSENT]
    lags = sent["lag_us"]
    p50, p99 = (float(v) for v in np.percentile(lags, [50, 99], method="inverted_cdf")) if len(lags) else (0.0, 0.0)
    busiest = max((report.busiest_core for report in reports), default=0.0)
    waited = sum(report.waited_for_connection for report in reports)
    resolution_ns = max((report.clock_resolution_ns for report in reports), default=0)
    longest_us = max((report.gc_longest_us for report in reports), default=0)
    reasons = []
    if p99 > bounds.lag_us:
        reasons.append(
            f"requests left late: 1 of 100 more than {_ms(p99)} after it was due, the bound is {_ms(bounds.lag_us)}; "
            "give a lower --rate, more --senders, or a machine with nothing else to do"
        )
    if busiest > bounds.busiest_core:
        reasons.append(
            f"a sender used {100 * busiest:.0f} % of a core in its busiest second, the bound is "
            f"{100 * bounds.busiest_core:.0f} %; give more --senders, a lower --rate, or --client raw"
        )
    if resolution_ns > CLOCK_BOUND_NS:
        reasons.append(f"the clock moves in steps of {resolution_ns / 1000:.0f} µs; use a machine with a finer one")
    many_waited = waited > WAITED_SHARE * len(sent) > 0
    by_server = many_waited and _had_enough_connections(samples, reports, bounds)
    if many_waited and not by_server:
        reasons.append(
            f"{waited:,} of {len(sent):,} requests waited for a free connection; give more --connections or --senders"
        )
    if not len(sent):
        reasons.append("nothing was sent")
    warnings = _warnings(longest_us, bounds, machine)
    if not reasons and bounds.p99_us is not None and p99 > LAG_SHARE_OF_BOUND * bounds.p99_us:
        warnings.append(
            f"1 of 100 requests left more than {_ms(p99)} after it was due, {100 * p99 / bounds.p99_us:.0f} % of the "
            "bound on the p99: about so much of the slowest latencies may be the sender's doing"
        )
    if by_server:
        warnings.append(
            f"{waited:,} of {len(sent):,} requests waited for a connection, because all were busy with requests that "
            "the server had not answered; the wait is part of their latency"
        )
    return Validity(
        valid=not reasons, reasons=reasons, warnings=warnings, lag_p50_us=p50,
        lag_p99_us=p99, lag_max_us=float(lags.max()) if len(lags) else 0.0, lag_bound_us=bounds.lag_us,
        busiest_core=busiest, busiest_core_bound=bounds.busiest_core,
        gc_pauses=sum(report.gc_pauses for report in reports), gc_longest_us=longest_us,
        clock_resolution_ns=resolution_ns, waited_for_connection=waited, senders=len(reports),
    )  # fmt: skip


def _had_enough_connections(samples: Samples, reports: Sequence[SenderReport], bounds: Bounds) -> bool:
    """Whether each sender could have had as many unanswered requests as were ever due within the bound on the p99."""
    if bounds.p99_us is None:
        return False
    due_us = np.sort(samples["due_us"])
    within = np.searchsorted(due_us, due_us + np.uint64(bounds.p99_us), "right") - np.arange(len(due_us))
    most = int(within.max())
    return all(
        report.most_in_flight * _at_once(report, reports) >= most
        for report in reports
        if report.waited_for_connection
    )


def _at_once(report: SenderReport, reports: Sequence[SenderReport]) -> int:
    """How many senders, this one among them, shared the requests: those of another segment came before or after."""
    end_ns = report.started_unix_ns + report.wall_s * 1e9
    return sum(
        other.started_unix_ns <= end_ns and report.started_unix_ns <= other.started_unix_ns + other.wall_s * 1e9
        for other in reports
    )


def _warnings(gc_longest_us: int, bounds: Bounds, machine: MachineUse | None) -> list[str]:
    """What does not make a run invalid, and may explain it."""
    found = []
    if gc_longest_us > bounds.lag_us:
        found.append(f"garbage collection stopped a sender for {_ms(gc_longest_us)}")
    if machine is not None and machine.busy > BUSY_MACHINE:
        found.append(
            f"all cores of this machine were busy ({100 * machine.busy:.0f} %): the server, the senders and "
            "whatever else runs here took time from each other"
        )
    if machine is not None and machine.stolen > STOLEN:
        found.append(f"other guests of this machine's host took {100 * machine.stolen:.1f} % of its time")
    return found


def _ms(us: float) -> str:
    ms = us / 1000
    return f"{ms:.3g} ms" if ms < 999.5 else f"{ms:,.0f} ms"
