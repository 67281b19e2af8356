"""The points of sweep.json: what all believable turns of a setting say together."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from loadtest.results.run import IntervalRecord, JudgementRecord, Percentiles, Split
from loadtest.results.sweep import Point, Replicate
from loadtest.run.asked import Promise
from loadtest.run.judging import Window, judged, percentiles_of, window_of
from loadtest.samples.record import Samples
from loadtest.sweep.bench import Seen
from loadtest.sweep.highest import Bracket, Outcome
from loadtest.sweep.search import CONFIRM
from loadtest.sweep.setting import Setting
from loadtest.sweep.sure import Sure


def judgement_of(turns: Sequence[Seen], promise: Promise, sure: Sure) -> JudgementRecord:
    """Of all believable turns together, but for those beyond the planned looks; invalid when there is none.

    A turn that was to show whether the setting passes says so alone: nobody had seen its requests when they chose it.
    What passes does so by the rules of `load run`: errors count from the first request on, what is let go of the
    start must hide nothing, each turn has to settle, and the promised rate has to be sent.
    """
    own = [seen for seen in turns if seen.valid and seen.asked.why == CONFIRM][:1]
    good = own or [seen for seen in turns if seen.valid][: sure.turns]
    reasons = [] if good else [_reason(turns)]
    each = [window_of(seen.samples, 0) for seen in good or turns]
    offered, achieved = (statistics.fmean(values) for values in zip(
        *((one.offered_rps, one.achieved_rps) for one in each), strict=True))  # fmt: skip
    window = Window(pooled(good or turns), offered, achieved)
    confidence = sure.of_confirmation if own else sure.at(len(good))

    def of(one: Window) -> JudgementRecord:
        rate = {"": turns[0].asked.rate_rps}
        return judged(one, {"": promise}, turns[0].deadline_us, reasons, confidence, sent_rps=rate)

    found = of(window)
    if found.verdict != "pass" and not own:
        return found
    restless = next((seen.restless for seen in good if seen.restless), "")
    return of(replace(window, warm=np.concatenate([seen.before for seen in good or turns]), restless=restless))


def _reason(turns: Sequence[Seen]) -> str:
    """Why the last one could not be believed."""
    reasons = turns[-1].run.validity.reasons
    return reasons[0].rstrip(".") if reasons else "nothing of it counts"


def pooled(turns: Sequence[Seen]) -> Samples:
    """The samples of turns, one after the other."""
    return np.concatenate([seen.samples for seen in turns])


def verdicts_of(turns: Sequence[Seen], promise: Promise, sure: Sure) -> dict[float, tuple[Outcome, int]]:
    """By rate: what its turns say together, and how many they are."""
    found: dict[float, tuple[Outcome, int]] = {}
    for rate in dict.fromkeys(seen.asked.rate_rps for seen in turns):
        at_rate = [seen for seen in turns if seen.asked.rate_rps == rate]
        found[rate] = judgement_of(at_rate, promise, sure).verdict, len(at_rate)
    return found


def point_of(
    setting: Setting, turns: Sequence[Seen], promise: Promise, bracket: Bracket | None, *, member: str,
    sure: Sure, kept: bool,
) -> Point:  # fmt: skip
    """A setting as it stands in sweep.json. Of a search for the highest rate it is as seen at that rate.

    `member` is the model that is swept, `kept` whether the turns' folders stay. Intervals are each as sure as all
    verdicts are together.
    """
    confidence = sure.confidence
    rate = turns[0].asked.rate_rps
    if bracket is not None:
        rate = bracket.low or min(seen.asked.rate_rps for seen in turns)
    at_rate = [seen for seen in turns if seen.asked.rate_rps == rate]
    good = [seen for seen in at_rate if seen.valid]
    told: Percentiles | None = percentiles_of(pooled(good), good[0].deadline_us, confidence) if good else None
    splits = _merged([split for seen in good for split in seen.run.splits])
    own = next((split for split in splits if split.model == member), None)
    starts = sorted({seen.asked.start for seen in turns})
    return Point(
        settings=setting.as_json(), rate_rps=rate, added_because=turns[0].asked.why,
        requests=sum(len(seen.samples) for seen in good),
        p50_ms=told.p50_ms if told else None, p95_ms=told.p95_ms if told else None,
        p99_ms=told.p99_ms if told else None,
        throughput_rps=_mean([seen.run.achieved_rps for seen in good], confidence),
        max_rate=_max_rate(bracket, confidence), mean_batch=own.mean_batch if own else None, splits=splits,
        judgement=judgement_of(at_rate, promise, sure),
        replicates=[_replicate(seen, kept) for seen in turns], server_epoch=starts[0],
        effective=dict(turns[-1].run.made.effective.get(member) or {}),
        warnings=[f"its turns are of {len(starts)} starts of the server"] if len(starts) > 1 else [],
    )  # fmt: skip


def _max_rate(bracket: Bracket | None, confidence: float) -> IntervalRecord | None:
    """From the highest rate that passes to the lowest that is shown to fail; None where none passes.

    Either end may be wrong, each with what `confidence` leaves.
    """
    if bracket is None or not bracket.low:
        return None
    if bracket.fails is None:  # how much more it carries nobody knows
        return _without_interval(bracket.low)
    return IntervalRecord(value=bracket.low, low=bracket.low, high=bracket.fails, confidence=2 * confidence - 1)


def _without_interval(value: float) -> IntervalRecord:
    """A value of which nothing says how far it may be off: at confidence 0 the interval is the value."""
    return IntervalRecord(value=value, low=value, high=value, confidence=0.0)


def _replicate(seen: Seen, kept: bool) -> Replicate:
    told = percentiles_of(seen.samples, seen.deadline_us) if seen.valid else None
    return Replicate(
        round=seen.asked.round, order=seen.asked.order, seed=seen.asked.seed, requests=len(seen.samples),
        outcomes=seen.run.outcomes, p50_ms=told.p50_ms.value if told else None,
        p95_ms=told.p95_ms.value if told else None, p99_ms=told.p99_ms.value if told else None,
        achieved_rps=seen.run.achieved_rps, validity=seen.run.validity,
        folder=f"turns/{seen.asked.number:04d}" if kept else None, confirms=seen.asked.why == CONFIRM,
    )  # fmt: skip


def _mean(values: Sequence[float], confidence: float) -> IntervalRecord | None:
    """The mean of turns, with Student's interval; of fewer than three nothing says how far it may be off.

    (At 99 % that of two is 64 times as wide as they are apart, which tells nobody anything.)
    """
    if not values:
        return None
    mean = statistics.fmean(values)
    if len(values) < 3:
        return _without_interval(mean)
    from scipy.stats import t

    half = float(t.ppf(0.5 + confidence / 2, len(values) - 1)) * statistics.stdev(values) / len(values) ** 0.5
    return IntervalRecord(value=mean, low=max(0.0, mean - half), high=mean + half, confidence=confidence)


def _merged(splits: Sequence[Split]) -> list[Split]:
    """One a model: means weighted by requests, batches by executions."""
    found = []
    for model in dict.fromkeys(split.model for split in splits):
        own = [split for split in splits if split.model == model]
        requests, executions = sum(one.requests for one in own), sum(one.executions for one in own)
        sizes: dict[int, int] = {}
        for one in own:
            for size, count in one.batch_sizes.items():
                sizes[size] = sizes.get(size, 0) + count
        times = {
            field: sum(getattr(one, field) * one.requests for one in own) / max(1, requests)
            for field in ("queue_us", "input_us", "compute_us", "output_us")
        }
        items = sum(one.mean_batch * one.executions for one in own)
        found.append(Split(
            model=model, requests=requests, executions=executions, mean_batch=items / max(1, executions), **times,
            batch_sizes=dict(sorted(sizes.items())),
        ))  # fmt: skip
    return found
