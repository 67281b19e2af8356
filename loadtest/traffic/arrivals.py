"""Draws a schedule: when requests come, of which pipeline, and with which payload."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from loadtest.traffic.order import payloads as draw_payloads
from loadtest.traffic.order import pipelines as draw_pipelines
from loadtest.traffic.order import unit_arrivals
from loadtest.traffic.problem import refused
from loadtest.traffic.schedule import Schedule
from loadtest.traffic.shapes import shape_of
from loadtest.traffic.trace import read_trace

if TYPE_CHECKING:
    import numpy as np

    from loadtest.traffic.schedule import Int64s, UInt8s, UInt32s

    Floats = np.ndarray[Any, np.dtype[np.float64]]

Kind = Literal["poisson", "constant", "trace", "burst", "ramp", "diurnal"]
KINDS: tuple[str, ...] = get_args(Kind)
MOST_RPS = 200_000.0
MOST_REQUESTS = 50_000_000  # a schedule has 13 bytes of each, and drawing takes 40
MOST_TRACED = 10_000_000  # reading one takes 150 bytes
SHORTEST_S, LONGEST_S = 0.001, 7 * 86_400.0
MOST_PIPELINES = 256


def draw(
    kind: str,
    rate_rps: float | None,
    duration_s: float | None,
    seed: int,
    *,
    mix: Mapping[str, float],
    payloads: Mapping[str, int],
    trace: Path | None = None,
    **shape: Any,
) -> Schedule:
    """The schedule of `duration_s` seconds at `rate_rps`: the same words give the same one, byte for byte.

    `mix` is pipeline -> weight, `payloads` pipeline -> how many payloads it has. The rate is the mean one of
    `poisson`, `constant` and `diurnal`; the one between bursts of `burst`; the last one of `ramp`. A `trace` is read
    from its file: with a rate its times are stretched so that it has that mean, without one they are kept; without a
    duration it is replayed whole. `shape` are the settings of a kind (`loadtest.traffic.shapes`).
    Another rate, duration or kind moves when requests come, and not which pipeline and payload the n-th one has.
    Raises ProblemsError (TK850 to TK858).
    """
    _check_kind(kind, trace)
    _check_seed(seed)
    shares = _shares(mix, payloads)
    if rate_rps is not None or kind != "trace":
        _check_rate(rate_rps)
    if duration_s is not None or kind != "trace":
        _check_duration(duration_s)
    drawn = {"kind": kind, "rate_rps": rate_rps, "duration_s": duration_s, "seed": seed, "mix": shares}
    counts = {name: payloads[name] for name in shares}
    if trace is not None:
        times = _recorded(trace, counts, rate_rps, duration_s, shape)
    else:
        assert rate_rps is not None  # noqa: S101  (both are checked above)
        assert duration_s is not None  # noqa: S101
        times = _times(kind, rate_rps, duration_s, seed, shape)
    pipeline, payload = times.pipeline, times.payload
    if pipeline is None:
        pipeline = draw_pipelines(seed, list(shares.values()), len(times.due_ns))
    if payload is None:
        payload = draw_payloads(seed, pipeline, list(counts.values()))
    return Schedule(times.due_ns, pipeline, payload, {**drawn, **times.more})


@dataclass(frozen=True)
class _Times:
    """When requests are due, what there is to say of it, and what each is for, where a trace says so."""

    due_ns: Int64s
    more: dict[str, Any]
    pipeline: UInt8s | None = None
    payload: UInt32s | None = None


def _times(kind: str, rate_rps: float, duration_s: float, seed: int, settings: Mapping[str, Any]) -> _Times:
    """Drawn at a rate."""
    import numpy as np

    shape = shape_of(kind, rate_rps, duration_s, settings)
    if shape.peak_rps > MOST_RPS:
        raise refused(
            "TK850", "--rate", f"arrivals `{kind}` reach {shape.peak_rps:,.0f} requests/s; at most {MOST_RPS:,.0f} "
            "can be asked for", "give a lower rate, or a lower peak",
        )  # fmt: skip
    _check_count(shape.expected)
    if kind == "constant":
        # A product that is whole, had it no rounding, brings no request at the very end.
        units: Floats = np.arange(math.ceil(shape.expected - 1e-9 * max(1.0, shape.expected)), dtype=np.float64)
    else:
        units = unit_arrivals(seed, shape.expected)
    if not len(units):
        raise refused(
            "TK858", "--rate", f"{rate_rps:g} requests/s for {duration_s:g} s: not one falls into it",
            "give a higher rate or a longer duration",
        )  # fmt: skip
    more = {"shape": dict(shape.settings), "mean_rps": shape.expected / duration_s}
    return _Times(_nanoseconds(shape.when(units), duration_s), more)


def _nanoseconds(times: Floats, duration_s: float) -> Int64s:
    """Whole ones, ascending, all before the end of the run: rounding moves none past another or out of the run."""
    import numpy as np

    due_ns = np.rint(times * 1e9).astype(np.int64)
    np.minimum(due_ns, max(0, math.ceil(duration_s * 1e9) - 1), out=due_ns)
    return np.maximum.accumulate(due_ns, out=due_ns)


def _recorded(
    file: Path,
    counts: Mapping[str, int],
    rate_rps: float | None,
    duration_s: float | None,
    settings: Mapping[str, Any],
) -> _Times:
    """The arrivals of a trace: those before the end of the run, stretched to the rate."""
    import numpy as np

    if settings:
        raise refused("TK853", "--shape", f"a trace has no setting `{next(iter(settings))}`", "it has none")
    trace = read_trace(file, counts, most=MOST_TRACED)
    times, span_s = trace.times_s, float(trace.times_s[-1])
    if rate_rps is not None:
        if not span_s:
            raise refused(
                "TK856", str(file), "all its times are 0, which cannot be stretched to a rate",
                "leave the rate out, or give a trace that takes some time",
            )  # fmt: skip
        times = times * (len(times) / span_s / rate_rps)
    kept = len(times) if duration_s is None else int(np.searchsorted(times, duration_s))
    if not kept:
        raise refused(
            "TK858", str(file), f"its first time is {times[0]:,.6g} s, and the run has ended then",
            "times count from the start of the run: take the first one from all, or give a longer duration",
        )  # fmt: skip
    last_s = float(times[kept - 1])
    if last_s > LONGEST_S:
        raise refused(
            "TK856", str(file), f"its last time is {last_s:,.0f} s after the start; a run ends by {LONGEST_S:,.0f} s",
            "times count from the start of the run: take the first one from all",
        )  # fmt: skip
    ends_s = last_s if duration_s is None else duration_s
    more = {
        "trace": file.name, "trace_requests": len(times), "trace_seconds": span_s, "trace_sha256": trace.sha256,
        "mean_rps": kept / ends_s if ends_s else None,
    }  # fmt: skip
    pipeline = None if trace.pipeline is None else trace.pipeline[:kept]
    payload = None if trace.payload is None else trace.payload[:kept]
    return _Times(np.rint(times[:kept] * 1e9).astype(np.int64), more, pipeline, payload)


def _check_kind(kind: str, trace: Path | None) -> None:
    if kind not in KINDS:
        raise refused("TK853", "--arrivals", f"there are no arrivals `{kind}`", f"there are {', '.join(KINDS)}")
    if kind == "trace" and trace is None:
        raise refused("TK853", "--trace", "arrivals `trace` need a file", "name a file with the times of arrivals")
    if kind != "trace" and trace is not None:
        raise refused("TK853", "--trace", f"arrivals `{kind}` take no file", "leave it out, or ask for `trace`")


def _check_seed(seed: int) -> None:
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise refused("TK854", "--seed", f"the seed is {seed!r}", "give a whole number from 0 on")


def _check_rate(rate_rps: float | None) -> None:
    most = f"give more than 0 and at most {MOST_RPS:,.0f} requests/s"
    if rate_rps is None:
        raise refused("TK850", "--rate", "there is no rate", most)
    if not (math.isfinite(rate_rps) and rate_rps > 0):
        raise refused("TK850", "--rate", f"nothing can be sent at {rate_rps:g} requests/s", most)
    if rate_rps > MOST_RPS:
        raise refused("TK850", "--rate", f"{rate_rps:,.0f} requests/s are more than can be asked for", most)


def _check_duration(duration_s: float | None) -> None:
    bounds = f"give {SHORTEST_S:g} to {LONGEST_S:,.0f} s"
    if duration_s is None:
        raise refused("TK851", "--duration", "there is no duration", bounds)
    if not SHORTEST_S <= duration_s <= LONGEST_S:
        raise refused("TK851", "--duration", f"a run cannot take {duration_s:,.15g} s", bounds)


def _check_count(expected: float) -> None:
    if expected > MOST_REQUESTS:
        raise refused(
            "TK852", "--duration", f"{expected:,.0f} requests are more than a run can hold, {MOST_REQUESTS:,}",
            "give a lower rate or a shorter duration",
        )  # fmt: skip


def _shares(mix: Mapping[str, float], payloads: Mapping[str, int]) -> dict[str, float]:
    """Pipeline -> its share of the requests; they add up to 1."""
    if not 1 <= len(mix) <= MOST_PIPELINES:
        raise refused("TK855", "--mix", f"the mix has {len(mix)} pipelines; it can have 1 to {MOST_PIPELINES}")
    for name, weight in mix.items():
        if isinstance(weight, bool) or not (math.isfinite(weight) and weight > 0):
            raise refused("TK855", "--mix", f"the weight of `{name}` is {weight:g}",
                          "give a number above 0, or leave the pipeline out")  # fmt: skip
        if payloads.get(name, 0) < 1:
            raise refused("TK855", "--mix", f"there is nothing to send to `{name}`: it has no payloads")
    whole = sum(mix.values())
    if not math.isfinite(whole):
        raise refused("TK855", "--mix", "the weights are too large to be added", "give shares that add up to 1")
    return {name: float(weight) / whole for name, weight in mix.items()}
