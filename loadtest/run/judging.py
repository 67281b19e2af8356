"""What can be said of the objective: of the p99, of errors and of the throughput, each at its confidence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import ndtri  # scipy.stats takes a second to import

from loadtest.results.run import IntervalRecord, JudgementRecord, Percentiles, without_counts
from loadtest.samples.record import Outcome, counted_us, sent_of
from loadtest.statistics.dependence import worth, worth_of_events
from loadtest.statistics.judgement import Interval, Verdict
from loadtest.statistics.objective import judge
from loadtest.statistics.percentile import interval_of, percentile_interval
from loadtest.statistics.rates import error_rate, errors_verdict
from loadtest.truth.late import without_lateness

if TYPE_CHECKING:
    from loadtest.run.asked import Promise
    from loadtest.samples.record import Samples
    from loadtest.statistics.judgement import Judgement

P999_REQUESTS = 4603  # below, no observed value is an upper bound of the p99.9 at 99 % confidence
AS_PROMISED = 0.999  # of a promised rate has to be sent
_FIRST = 10  # one of so many requests is among the first
_WORST_FIRST = (Verdict.INVALID, Verdict.FAIL, Verdict.UNDECIDED, Verdict.PASS)


@dataclass(frozen=True)
class Window:
    """What counts of a run: `samples` in due order without the warm-up; `achieved_rps` answers a second came of
    `offered_rps` requests a second that were due, the warm-up included.

    `warm` is the warm-up: its latencies are let go, its errors are not. `restless` says why the run did not settle.
    """

    samples: Samples
    offered_rps: float
    achieved_rps: float
    warm: Samples | None = None
    restless: str = ""

    @property
    def all(self) -> Samples:
        """Everything that was sent."""
        return self.samples if self.warm is None else np.concatenate([self.warm, self.samples])

    def of(self, pipeline: int) -> Window:
        """What is of one pipeline of the mix, with the rates of all of them."""
        warm = None if self.warm is None else self.warm[self.warm["pipeline"] == pipeline]
        return replace(self, samples=self.samples[self.samples["pipeline"] == pipeline], warm=warm)


def window_of(samples: Samples, first: int, restless: str = "") -> Window:
    """From the `first` sample on; what was never sent, because the run was ended, is left out."""
    warm, counted = (sent_of(part) for part in (samples[:first], samples[first:]))
    sent = np.concatenate([warm, counted]) if len(warm) else counted
    if len(sent) < 2:
        return Window(counted, 0.0, 0.0, warm, restless)
    due = sent["due_us"].astype(np.int64)
    answered = sent["outcome"] == Outcome.OK
    # From one due time to the next: n arrivals span n - 1 gaps.
    span_us = max(1, int(due[-1] - due[0]))
    offered = (len(sent) - 1) / span_us * 1e6
    achieved = _answered_rps(due[answered], sent["latency_us"][answered], int(due[0]), span_us)
    return Window(counted, offered, achieved, warm, restless)


def _answered_rps(due_us: Any, latency_us: Any, first_us: int, span_us: int) -> float:
    """Answers a second, of what was answered [n] in due order; `first_us` is when the first request was due.

    They are counted for as long as requests were due, beginning as much later as the first answers took. A few slow
    ones at the end, or all of them after a short stall, are no backlog: so it may be counted for longer, where that
    makes it more. A server that does not keep up answers as many a second as it can, however long it is watched.
    """
    if not len(due_us):
        return 0.0
    begin_us = first_us + int(np.median(latency_us[: max(1, len(due_us) // _FIRST)]))
    done = np.sort(due_us + latency_us)
    done = done[np.searchsorted(done, begin_us) :] - begin_us
    rates = np.arange(len(done)) / np.maximum(done, span_us)
    return float(rates.max()) * 1e6 if len(done) else 0.0


def judged(
    window: Window, promises: Mapping[str, Promise], deadline_us: int, reasons: list[str], confidence: float = 0.99,
    *, sent_rps: Mapping[str, float] | None = None,
) -> JudgementRecord:  # fmt: skip
    """The verdict of all pipelines: the worst of theirs. `promises` are in the order of the mix, `reasons` why the
    run is invalid, if it is. `sent_rps`: pipeline -> the requests a second that were meant for it; without it the
    promised rate is not looked at.
    """
    found = []
    for place, (name, promise) in enumerate(promises.items()):
        own = window.of(place) if len(promises) > 1 else window
        prefix = f"{name}: " if len(promises) > 1 else ""
        one = _of_pipeline(own, promise, deadline_us, confidence, prefix)
        if one.verdict == "fail":  # lateness only adds: a pass holds all the same
            on_time = _on_time(window, promise, deadline_us)
            again = on_time.of(place) if len(promises) > 1 else on_time
            if _of_pipeline(again, promise, deadline_us, confidence, prefix).verdict != "fail":
                one = one.model_copy(update={"verdict": "undecided", "why": prefix + _by_whom(window)})
        lower = _lower_than_promised(promise, None if sent_rps is None else sent_rps[name])
        if lower and one.verdict == "pass":
            one = one.model_copy(update={"verdict": "undecided", "why": prefix + lower})
        found.append(one)
    worst = min(found, key=lambda record: _WORST_FIRST.index(Verdict(record.verdict)))
    if reasons:
        return without_counts(worst, "This run cannot be believed: " + reasons[0] + ".")
    short = _too_few(window, promises, confidence)
    if short and worst.verdict != "fail":
        return worst.model_copy(update={"verdict": "fail", "why": short})
    return worst


def _on_time(window: Window, promise: Promise, deadline_us: int) -> Window:
    """The same without the sender's lateness."""
    bound_us = promise.p99_ms * 1000
    warm = None if window.warm is None else without_lateness(window.warm, bound_us, deadline_us)
    return replace(window, samples=without_lateness(window.samples, bound_us, deadline_us), warm=warm)


def _by_whom(window: Window) -> str:
    """Why a fail is none that is known to be the server's."""
    latest_ms = in_three(float(window.all["lag_us"].max()) / 1000)
    return (
        f"Whether the objective holds is not known: as measured it does not, but requests left up to {latest_ms} ms "
        "after they were due, and without that it may. Give a lower --rate, more --senders, or a machine with "
        "nothing else to do."
    )


def _lower_than_promised(promise: Promise, sent_rps: float | None) -> str:
    """Why nothing is known of the promised throughput; empty where it was sent."""
    promised = promise.throughput_rps
    if promised is None or sent_rps is None or sent_rps >= promised * AS_PROMISED:
        return ""
    return (
        f"Whether the objective holds is not known: the {promised:g} requests/s that it promises were not sent, only "
        f"{sent_rps:.4g}; at these it holds."
    )


def _too_few(window: Window, promises: Mapping[str, Promise], confidence: float) -> str:
    """Why the throughput does not hold; empty where it does: fewer answers came than were due, beyond the noise."""
    sent = window.all
    n = len(sent)
    allowed = max(promise.max_error_rate for promise in promises.values())
    cancelled = float(np.mean(sent["outcome"] == Outcome.CANCELLED)) if n else 0.0
    noise = float(ndtri(confidence)) / max(n, 1) ** 0.5
    if n < 2 or window.achieved_rps >= window.offered_rps * (1 - allowed - cancelled - noise):
        return ""
    return (
        f"The server does not keep up: of {window.offered_rps:.1f} requests/s that were due, it answered "
        f"{window.achieved_rps:.1f}."
    )


def _of_pipeline(
    window: Window, promise: Promise, deadline_us: int, confidence: float, prefix: str
) -> JudgementRecord:
    bound_us = promise.p99_ms * 1000
    deadline_us = max(deadline_us, int(bound_us) + 1)  # what failed is above the bound, whatever the deadline
    latencies = counted_us(window.samples, deadline_us)
    if not len(latencies):
        return JudgementRecord(
            verdict="undecided", why=f"{prefix}No request counts.", requests=0, over=0, worth=0.0,
            by_binomial="undecided", needed=0, confidence=confidence,
        )  # fmt: skip
    judgement = judge(latencies, bound_us, confidence=confidence)
    sent = window.all
    failed = sent["outcome"][sent["outcome"] != Outcome.CANCELLED] != Outcome.OK
    errors, size = int(np.count_nonzero(failed)), worth_of_events(failed)
    rate = error_rate(errors, len(failed), both_ends(confidence), worth=size)
    of_errors = errors_verdict(errors, len(failed), promise.max_error_rate, confidence, worth=size)
    hidden = _hidden(window, judgement, promise, counted_us(sent, deadline_us))
    of_p99 = Verdict.UNDECIDED if hidden else judgement.verdict
    verdict = min(of_p99, of_errors, key=_WORST_FIRST.index)
    if of_errors is verdict and of_p99 is not verdict:
        why = _errors_in_words(errors, rate, promise, of_errors, confidence)
    else:
        why = hidden or _p99_in_words(judgement, promise, confidence)
    return JudgementRecord(
        verdict=verdict.value, why=prefix + why, requests=judgement.requests, over=judgement.over,
        worth=judgement.worth, by_binomial=judgement.by_binomial.value, needed=judgement.needed,
        confidence=confidence, error_rate=record_of(rate),
    )  # fmt: skip


def _hidden(window: Window, judgement: Judgement, promise: Promise, latencies: Any) -> str:
    """Why the p99 of what counts does not tell that of all `latencies` [n] of the run; empty if it does."""
    if window.restless:
        return f"Whether the p99 is under {promise.p99_ms:g} ms is not known: {window.restless}."
    over = int(np.count_nonzero(latencies > judgement.bound_us))
    if judgement.verdict is not Verdict.PASS or over <= (1 - judgement.percentile) * len(latencies):
        return ""
    return (
        f"The p99 is under {promise.p99_ms:g} ms only without the warm-up: with it, {over:,} of {len(latencies):,} "
        "requests took longer. A longer run, or a model that is warm before, tells whether it comes again."
    )


def _p99_in_words(judgement: Judgement, promise: Promise, confidence: float) -> str:
    """A pass rests on the upper end of the interval alone and a fail on the lower, each as sure as was asked for.

    It is the interval that run.json has of the p99, so that no two figures tell two things of it.
    """
    found = judgement.interval
    low, high = in_three(found.low / 1000), in_three(found.high / 1000)
    bound, sure = f"{promise.p99_ms:g} ms", one_sided(confidence)
    if judgement.verdict is Verdict.PASS:
        return f"The p99 is under {bound}: it is {high} ms at most, at {sure}."
    if judgement.verdict is Verdict.FAIL:
        return f"The p99 is over {bound}: it is {low} ms at least, at {sure}."
    if judgement.needed > judgement.requests:
        enough = (
            f"with {judgement.over:,} of {judgement.requests:,} over it, {judgement.needed:,} are needed at least"
        )
    else:
        enough = f"the {judgement.requests:,} requests are worth {judgement.worth:,.0f} independent ones"
    span = f"{low} to {high} ms at {share(found.confidence)} confidence (two-sided)"
    return f"Whether the p99 is under {bound} is not known yet: it lies in {span}; {enough}."


def _errors_in_words(errors: int, rate: Interval, promise: Promise, verdict: Verdict, confidence: float) -> str:
    bound, sure = share(promise.max_error_rate), one_sided(confidence)
    if verdict is Verdict.FAIL:
        failed = f"{share(rate.value)} of all (at least {share(rate.low)}, at {sure})"
        return f"{errors:,} requests failed, {failed}; the bound is {bound}."
    if rate.value > promise.max_error_rate:
        return (
            f"{errors:,} requests failed, {share(rate.value)} of all; the bound is {bound}, and they came in bursts "
            "too few to tell how many fail in the long run."
        )
    return (
        f"The p99 holds, but {errors:,} errors do not prove yet that no more than {bound} of requests fail: "
        f"it may be {share(rate.high)}, at {sure}."
    )


def both_ends(confidence: float) -> float:
    """How sure an interval is whose ends are each as sure as this: 0.98 of 0.99. A verdict rests on one end alone."""
    return 2 * confidence - 1


def one_sided(confidence: float) -> str:
    """`99 % confidence (one-sided)`."""
    return f"{share(confidence)} confidence (one-sided)"


def in_three(value: float) -> str:
    """Three digits, and all those before the point: 8.21, 1,000."""
    return f"{value:.3g}" if value < 999.5 else f"{value:,.0f}"


def percentiles_of(
    samples: Samples, deadline_us: int, confidence: float = 0.99, bound_ms: float | None = None
) -> Percentiles | None:
    """Of everything that counts, in milliseconds; None where nothing does. `confidence` is two-sided.

    With the `bound_ms` that the p99 was judged against, its interval is the one that the verdict rests on.
    """
    latencies = counted_us(samples, deadline_us)
    if not len(latencies):
        return None
    shares = {"p50_ms": 0.5, "p95_ms": 0.95}
    found = {name: _in_ms(percentile_interval(latencies, share, confidence)) for name, share in shares.items()}
    size = worth(latencies, 0.99, None if bound_ms is None else bound_ms * 1000)
    found["p99_ms"] = _in_ms(interval_of(latencies, 0.99, confidence, size))
    p999 = _in_ms(percentile_interval(latencies, 0.999, confidence)) if len(latencies) >= P999_REQUESTS else None
    return Percentiles(
        **found, p999_ms=p999, max_ms=float(latencies.max()) / 1000, mean_ms=float(latencies.mean()) / 1000
    )


def _in_ms(interval: Interval) -> IntervalRecord:
    low, value, high = (number / 1000 for number in (interval.low, interval.value, interval.high))
    return IntervalRecord(value=value, low=low, high=high, confidence=interval.confidence)


def share(value: float) -> str:
    """`0.1 %`; what is nearly 1 keeps what it lacks of it: `99.9997 %`."""
    if 0.999 < value < 1:
        return f"{100 - float(f'{100 * (1 - value):.2g}'):.12g} %"
    return f"{100 * value:.4g} %"


def record_of(interval: Interval) -> IntervalRecord:
    """The same, as run.json has it."""
    return IntervalRecord(value=interval.value, low=interval.low, high=interval.high, confidence=interval.confidence)
