"""How requests were sent, and how well the senders kept to it: of one run, or of all turns of a sweep."""

from __future__ import annotations

from collections.abc import Sequence

from loadtest.report import words
from loadtest.report.view import Facts
from loadtest.results.run import Traffic, Validity

_FEW_SIZES = 6


def traffic_facts(traffic: Traffic, rate: str = "as drawn") -> Facts:
    """What was sent; `rate` is told where it was no fixed one."""
    total = sum(traffic.mix.values()) or 1.0
    sent = {
        "rate": f"{words.number(traffic.rate_rps)} requests/s" if traffic.rate_rps else rate,
        **words.flat(traffic.drawn, "arrivals: "),
        **{f"share of {words.text(name)}": words.share(weight / total) for name, weight in traffic.mix.items()},
        "protocol": f"{traffic.protocol}, client {traffic.client}, driver {traffic.driver}",
        "deadline": words.ms(traffic.deadline_ms),
        **words.flat(traffic.payloads, "payloads of "),
        **{f"bytes of {words.text(name)}": _sizes(sizes) for name, sizes in traffic.payload_bytes.items()},
        **words.flat(traffic.options),
    }
    return Facts("Traffic", tuple((key, value) for key, value in sent.items() if value))


def senders_of_turns(turns: Sequence[Validity]) -> Facts:
    """Of each figure the worst of all turns: `turns` are those that can be believed, or all where there is none."""
    bound = max(turns, key=lambda seen: seen.lag_p99_us)
    return Facts(
        "Generator",
        (
            ("the worst of", f"{len(turns):,} turns"),
            ("senders", str(max(seen.senders for seen in turns))),
            ("busiest core", f"{words.share(max(seen.busiest_core for seen in turns))} "
             f"(bound {words.share(bound.busiest_core_bound)})"),
            ("send lag", f"99 % within {words.us(bound.lag_p99_us)} (bound {words.us(bound.lag_bound_us)}), "
             f"largest {words.us(max(seen.lag_max_us for seen in turns))}"),
            ("garbage collection", f"{sum(seen.gc_pauses for seen in turns):,} pauses in all, the longest "
             f"{words.us(max(seen.gc_longest_us for seen in turns))}"),
            ("waited for a connection", f"{sum(seen.waited_for_connection for seen in turns):,} requests in all"),
        ),
    )  # fmt: skip


def _sizes(sizes: list[int]) -> str:
    if len(sizes) < _FEW_SIZES:
        return ", ".join(f"{size:,}" for size in sizes)
    return f"{min(sizes):,} to {max(sizes):,}, {len(sizes)} different"
