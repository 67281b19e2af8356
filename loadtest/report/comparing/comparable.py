"""What two load tests differ in beside what was meant to differ: then the difference has more than one cause."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from loadtest.report import words
from loadtest.results.run import Run

_SAME_RATE = 0.01
_SHOWN = 3
_SEVERAL = ("payloads", "arrivals")  # which differ, where one thing differs


def differences(a: Run, b: Run, *, repeated: bool = False) -> list[str]:
    """One sentence for each thing that differs and decides what is measured.

    Where one should be the other `repeated`, another seed may have made payloads of other sizes: of a spec without
    data they are drawn as the arrivals are.
    """
    sizes = not repeated or a.traffic.drawn.get("seed") == b.traffic.drawn.get("seed")
    of_spec = _changed("spec", {"file": a.made.spec, "sha256": a.made.spec_sha256[:12]},
                       {"file": b.made.spec, "sha256": b.made.spec_sha256[:12]})  # fmt: skip
    found = [
        of_spec if a.made.spec_sha256 != b.made.spec_sha256 else "",
        _changed("target", {"": a.made.target}, {"": b.made.target}),
        _changed("mix of pipelines", a.traffic.mix, b.traffic.mix),
        _changed("payloads", _payloads(a, sizes=sizes), _payloads(b, sizes=sizes)),
        _rates(a, b),
        _changed("arrivals", _arrivals(a), _arrivals(b)),
        _changed("way of sending", _sending(a), _sending(b)),
        _changed("server", a.made.server, b.made.server),
        _changed("machine", a.made.machine, b.made.machine),
        _changed("effective configuration", a.made.effective, b.made.effective),
    ]
    return [sentence for sentence in found if sentence]


def same_rate(a: Run, b: Run) -> bool:
    """Whether as many requests a second were asked for; else what was answered follows from that."""
    first, second = _asked_rps(a), _asked_rps(b)
    if first is None or second is None:
        return first is second
    return abs(first - second) <= _SAME_RATE * max(first, second)


def _asked_rps(run: Run) -> float | None:
    """The mean that arrivals of a shape or of a trace have; older records tell the rate alone."""
    mean = run.traffic.drawn.get("mean_rps")
    return mean if isinstance(mean, int | float) else run.traffic.rate_rps


def _payloads(run: Run, *, sizes: bool) -> dict[str, Any]:
    return {"number": run.traffic.payloads, "bytes": run.traffic.payload_bytes if sizes else {}}


def _arrivals(run: Run) -> dict[str, Any]:
    """How they were drawn. The rate has a sentence of its own, and another seed is another sample of the same."""
    return {
        key: value
        for key, value in run.traffic.drawn.items()
        if key not in {"seed", "rate_rps", "part", "duration_s"}
    }


def _sending(run: Run) -> dict[str, Any]:
    """As it was asked for. How often a run was extended until it was decided is what it found, and no other sending.

    `validity.senders` counts those of every segment, so it speaks only where `options` does not say how many.
    """
    traffic = run.traffic
    options = {key: value for key, value in traffic.options.items() if key != "segments"}
    return {"protocol": traffic.protocol, "client": traffic.client, "driver": traffic.driver,
            "deadline_ms": traffic.deadline_ms, "senders": run.validity.senders, **options}  # fmt: skip


def _rates(a: Run, b: Run) -> str:
    first, second = a.traffic.rate_rps or a.achieved_rps, b.traffic.rate_rps or b.achieved_rps
    if abs(first - second) <= _SAME_RATE * max(first, second):
        return ""
    return f"The rate differs: {words.number(first)} and {words.number(second)} requests/s."


def _changed(what: str, a: Mapping[str, Any], b: Mapping[str, Any]) -> str:
    first, second = words.flat(a), words.flat(b)
    keys = [key for key in dict.fromkeys([*first, *second]) if first.get(key) != second.get(key)]
    if not keys:
        return ""
    shown = "; ".join(
        f"{key} {first.get(key, 'not set')} and {second.get(key, 'not set')}".strip() for key in keys[:_SHOWN]
    )
    more = f"; and {len(keys) - _SHOWN} more" if len(keys) > _SHOWN else ""
    return f"The {what} {'differ' if what in _SEVERAL else 'differs'}: {shown}{more}."
