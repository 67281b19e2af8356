"""One load test, as a page shows it. Of one that cannot be believed no latency is told."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from loadtest.report import words
from loadtest.report.charts import strip
from loadtest.report.charts.by_percentile import by_percentile
from loadtest.report.charts.over_time import lag_over_time, latency_over_time
from loadtest.report.charts.server import batch_histogram, has_batches, named_splits, time_split
from loadtest.report.digest import Digest
from loadtest.report.figure import Figure
from loadtest.report.opening import OpenedRun
from loadtest.report.sent import traffic_facts
from loadtest.report.tables import Column, Table
from loadtest.report.view import (
    Facts,
    Key,
    Titled,
    View,
    anchor,
    configurations,
    in_pairs,
    made_facts,
    sentence_list,
)
from loadtest.results.run import JudgementRecord, Percentiles, Run
from loadtest.samples.record import Outcome

HEADLINES = {
    "pass": "Passes the objective", "fail": "Fails the objective", "undecided": "Undecided",
    "invalid": "Cannot be believed",
}  # fmt: skip
_MOST_ERRORS, _MOST_LETTERS = 40, 400
_FIELDS = (("p50_ms", "p50"), ("p95_ms", "p95"), ("p99_ms", "p99"), ("p999_ms", "p99.9"))


def run_view(opened: OpenedRun, digest: Digest, place: int, letters: int) -> View:
    """The view of the run that is the `place`-th of the page, with so many letters of configuration."""
    run, name = opened.run, anchor("run", place)
    told = run.percentiles if run.validity.valid else None
    drawing = None
    if told and run.objective:
        drawing = strip.both(told.p99_ms, run.objective.p99_ms)
    return View(
        name=opened.name, anchor=name, kind="run", title=_title(opened), verdict=run.judgement.verdict,
        headline=_headline(run), sentence=words.text(run.judgement.why), how_sure=_how_sure(run),
        keys=_keys(run, told), reasons=sentence_list(_reasons(run)),
        warnings=sentence_list(_warnings(opened)), figures=tuple(_figures(run, digest, name)),
        tables=tuple(_tables(run, told, name)), facts=tuple(_facts(run)),
        blocks=(("Command to repeat it", run.made.command),),
        data={"kind": "run", "name": opened.name, "record": run.model_dump(mode="json")},
        strip=drawing, folded=tuple(configurations(run.made.effective, letters)),
    )  # fmt: skip


def _title(opened: OpenedRun) -> str:
    run, sent_s = opened.run, _sent_s(opened)
    arrivals = words.text(run.traffic.drawn.get("kind", ""))
    rate = f"{words.number(run.traffic.rate_rps)} requests/s" if run.traffic.rate_rps else ""
    parts = [words.text(run.pipeline), rate, arrivals, "" if sent_s is None else words.seconds(sent_s),
             run.traffic.protocol]  # fmt: skip
    return " · ".join(part for part in parts if part)


def _sent_s(opened: OpenedRun) -> float | None:
    """How long load was sent: as was asked for, or (of a run that was stopped, or went on) until its last request.

    The start of a server and the judging are in `wall_s`, and no part of it.
    """
    traffic = opened.run.traffic
    asked, segments = traffic.drawn.get("duration_s"), traffic.options.get("segments", 1)
    if isinstance(asked, int | float) and 0 < asked < math.inf and segments == 1 and not opened.run.stopped:
        return asked
    sent = np.flatnonzero(opened.samples["outcome"] != Outcome.UNSENT)
    if opened.cut or opened.missing or not len(sent):
        return None
    return float(opened.samples["due_us"][sent[-1]]) / 1e6


def _headline(run: Run) -> str:
    if run.objective is None and run.validity.valid:
        return "Measured, without an objective"
    return HEADLINES[run.judgement.verdict]


def _how_sure(run: Run) -> str:
    judged: JudgementRecord = run.judgement
    if not run.validity.valid or run.objective is None:
        return ""
    if judged.over is None or judged.worth is None or judged.needed is None:
        return ""
    said = (
        f"{words.rests_on(judged)} {judged.over:,} of {judged.requests:,} requests "
        f"took longer than the objective. Neighbours in a queue are not independent: they are worth "
        f"{judged.worth:,.0f} independent ones. MLPerf's rule, which takes all for independent, says "
        f"{judged.by_binomial}; with so many over it needs at least {judged.needed:,} requests."
    )
    if judged.error_rate is not None:
        rate = judged.error_rate
        said += (
            f" {words.share(rate.value)} of the requests failed (at most {words.share(rate.high)} at "
            f"{words.confidence((1 + rate.confidence) / 2)} confidence, one-sided; allowed are "
            f"{words.share(run.objective.max_error_rate)})."
        )
    return said


def _keys(run: Run, told: Percentiles | None) -> tuple[Key, ...]:
    keys = []
    if told is not None:
        for field, name in _FIELDS[:3]:
            value = getattr(told, field)
            keys.append(Key(name, words.ms(value.value), value.value, words.between(value, "ms")))
    uncounted = sum(run.outcomes.get(outcome, 0) for outcome in ("cancelled", "unsent"))
    sent = sum(run.outcomes.values()) - uncounted
    failed = sent - run.outcomes.get("ok", 0)
    asked = f"of {words.number(run.traffic.rate_rps)} asked" if run.traffic.rate_rps else ""
    keys.append(Key("answered/s", words.number(run.achieved_rps), run.achieved_rps, asked))
    without = f", not {run.left_out}" if run.left_out else ""
    keys.append(Key("requests", words.count(run.requests), run.requests, f"{run.counted:,} count{without}"))
    keys.append(Key("failed", words.count(failed), failed, words.share(failed / sent) if sent else ""))
    return tuple(keys)


def _reasons(run: Run) -> list[str]:
    """Why it cannot be believed, as far as the sentence does not say so already."""
    if run.validity.valid:
        return []
    return [reason for reason in run.validity.reasons if reason.rstrip(".") not in run.judgement.why]


def _warnings(opened: OpenedRun) -> list[str]:
    run = opened.run
    found = [f"The run ended early: {run.stopped}"] if run.stopped else []
    if opened.missing or opened.cut:
        found.append(
            f"The samples are cut short: {len(opened.samples):,} of {run.requests:,} are in the file, and the charts "
            f"show those. The figures above were computed when the run ended."
        )
    return [*found, *run.validity.warnings]


def _figures(run: Run, digest: Digest, name: str) -> list[Figure]:
    figures: list[Figure] = []
    if digest.curve:
        figures.append(latency_over_time(run, digest, name))
        curves = {"all": digest.curve, **{key: curve for key, curve in digest.by_pipeline.items() if curve}}
        figures.append(by_percentile(run, curves, name))
    if run.validity.valid and run.splits:
        if any(map(has_batches, run.splits)):
            figures.append(batch_histogram(run.splits, name))
        figures.append(time_split(named_splits(run.splits, run.made.effective), name))
    if any(bin_.requests for bin_ in digest.bins):
        figures.append(lag_over_time(run, digest, name))
    return in_pairs(figures)


def _tables(run: Run, told: Percentiles | None, name: str) -> list[Titled]:
    found = []
    if told is not None:
        pipelines = {"all": told, **(run.by_pipeline if len(run.by_pipeline) > 1 else {})}
        found.append(Titled("Percentiles", percentiles_table(f"{name}-percentiles", pipelines, "pipeline")))
    outcomes = tuple((key, n, n / run.requests if run.requests else None) for key, n in run.outcomes.items())
    columns = (Column("outcome", "outcome", "text"), Column("requests", "requests", "count"),
               Column("share", "share", "share"))  # fmt: skip
    found.append(Titled("Outcomes", Table(f"{name}-outcomes", columns, outcomes)))
    if run.errors:
        ordered = sorted(run.errors.items(), key=lambda pair: -pair[1])
        rows = tuple((n, message[:_MOST_LETTERS]) for message, n in ordered[:_MOST_ERRORS])
        of_errors = (Column("requests", "requests", "count"), Column("error", "error", "text"))
        found.append(Titled("Errors", Table(f"{name}-errors", of_errors, rows)))
    return found


def percentiles_table(name: str, told: dict[str, Percentiles], first: str) -> Table:
    """A row for each percentile of each key, with its interval in milliseconds."""
    rows: list[tuple[Any, ...]] = []
    for key, percentiles in told.items():
        for field, label in _FIELDS:
            interval = getattr(percentiles, field)
            if interval is not None:
                rows.append((key, label, interval.value, interval.low, interval.high, interval.confidence))
        rows.append((key, "largest", percentiles.max_ms, None, None, None))
        rows.append((key, "mean", percentiles.mean_ms, None, None, None))
    columns = (
        Column(first, first, "text"), Column("of", "latency", "text"), Column("ms", "ms", "ms"),
        Column("low_ms", "from", "ms"), Column("high_ms", "to", "ms"),
        Column("confidence", "confidence, two-sided", "confidence"),
    )  # fmt: skip
    if len(told) == 1:
        return Table(name, columns[1:], tuple(row[1:] for row in rows))
    return Table(name, columns, tuple(rows))


def _facts(run: Run) -> list[Facts]:
    seen, warm = run.validity, run.warm_up
    generator = {
        "senders": str(seen.senders),
        "busiest core": f"{words.share(seen.busiest_core)} (bound {words.share(seen.busiest_core_bound)})",
        "send lag": f"half within {words.us(seen.lag_p50_us)}, 99 % within {words.us(seen.lag_p99_us)} (bound "
        f"{words.us(seen.lag_bound_us)}), largest {words.us(seen.lag_max_us)}",
        "garbage collection": f"{seen.gc_pauses:,} pauses, the longest {words.us(seen.gc_longest_us)}",
        "clock's resolution": f"{seen.clock_resolution_ns:,} ns",
        "waited for a connection": f"{seen.waited_for_connection:,} requests",
        "warm-up": f"{warm.requests:,} requests, {words.seconds(warm.seconds)}; {words.text(warm.found_by)}",
    }
    if run.outside_us is not None and run.validity.valid:
        generator["outside of the models"] = (
            f"{words.us(run.outside_us)} on average, of all requests: server, network, client"
        )
    return [
        traffic_facts(run.traffic),
        Facts("Generator", tuple(generator.items())),
        *made_facts(run.made),
    ]
