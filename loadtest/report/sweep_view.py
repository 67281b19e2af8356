"""One sweep, as a page shows it: what to take first, then how every setting did."""

from __future__ import annotations

from typing import Any

from loadtest.report import words
from loadtest.report.axes import heading, short
from loadtest.report.charts import settings, strip
from loadtest.report.charts.server import Named, batch_shades, has_batches, split_table, time_split
from loadtest.report.figure import Figure
from loadtest.report.opening import OpenedSweep
from loadtest.report.sent import senders_of_turns, traffic_facts
from loadtest.report.tables import Column, Table
from loadtest.report.view import (
    Facts,
    Key,
    Titled,
    VerdictWord,
    View,
    anchor,
    configurations,
    in_pairs,
    made_facts,
    sentence_list,
)
from loadtest.results.sweep import Point, Sweep


def sweep_view(opened: OpenedSweep, place: int, letters: int) -> View:
    """The view of the sweep that is the `place`-th of the page, with so many letters of configuration."""
    sweep, name = opened.sweep, anchor("sweep", place)
    chosen = next((point for point in sweep.points if settings.is_chosen(sweep, point)), None)
    drawing = None
    if chosen and chosen.p99_ms:
        drawing = strip.both(chosen.p99_ms, sweep.objective.p99_ms)
    return View(
        name=opened.name, anchor=name, kind="sweep", title=_title(sweep), verdict=_verdict(sweep, chosen),
        headline=_headline(sweep, chosen), sentence=words.text(sweep.choice.why), how_sure=_how_sure(sweep, chosen),
        keys=_keys(sweep, chosen), reasons=_reasons(sweep) if chosen is None else (),
        warnings=sentence_list(_warnings(sweep, chosen)),
        figures=tuple(_figures(sweep, name)), tables=tuple(_tables(sweep, name)), facts=tuple(_facts(sweep)),
        blocks=_blocks(sweep), data={"kind": "sweep", "name": opened.name, "record": sweep.model_dump(mode="json")},
        strip=drawing,
        folded=tuple(configurations(_effective(sweep, chosen), letters)),
    )  # fmt: skip


def _effective(sweep: Sweep, chosen: Point | None) -> dict[str, Any]:
    """Model -> configuration: of a point that of the model that is swept, which another layout names otherwise."""
    if chosen is None or not chosen.effective:
        return sweep.made.effective
    return {str(chosen.effective.get("name") or sweep.member): chosen.effective}


def _title(sweep: Sweep) -> str:
    rate = f"{words.number(sweep.rate_rps)} requests/s" if sweep.rate_rps else "highest rate that passes"
    over = ", ".join(words.text(axis) for axis in sweep.over)
    return f"{words.text(sweep.pipeline)} · sweep of {over} · {rate}"


def _verdict(sweep: Sweep, chosen: Point | None) -> VerdictWord:
    if chosen is not None:
        return chosen.judgement.verdict
    verdicts = {point.judgement.verdict for point in sweep.points}
    if not verdicts or verdicts == {"invalid"}:
        return "invalid"
    return "fail" if verdicts <= {"fail", "invalid"} else "undecided"


def _headline(sweep: Sweep, chosen: Point | None) -> str:
    if chosen is not None:
        rate = f": {words.number(chosen.max_rate.value)} requests/s" if chosen.max_rate else ""
        return f"Take {words.settings(chosen.settings)}{rate}"
    return {"invalid": "Cannot be believed", "fail": "No setting passes"}.get(
        _verdict(sweep, chosen), "None is chosen"
    )


def _how_sure(sweep: Sweep, chosen: Point | None) -> str:
    if chosen is None or chosen.judgement.verdict == "invalid":
        return ""
    judged = chosen.judgement
    if judged.over is None or judged.worth is None:
        return ""
    return (
        f"{words.text(judged.why)} That is of {judged.requests:,} requests {_seen_in(sweep, chosen)} that "
        f"are worth {judged.worth:,.0f} independent ones; {judged.over:,} took longer than the objective. The "
        f"verdict is {words.confidence(judged.confidence)} sure, one-sided; the "
        "intervals of the tables are two-sided, and each is as sure as it says."
    )


def _seen_in(sweep: Sweep, chosen: Point) -> str:
    """What the verdict is of: the turn of its own where there was one, and of a search the turns at its rate."""
    good = [turn for turn in chosen.replicates if turn.validity.valid]
    if any(turn.confirms for turn in good):
        return "in a turn of its own"
    return f"at {words.number(chosen.rate_rps)} requests/s" if sweep.find_max else f"in {len(good)} turns"


def _keys(sweep: Sweep, chosen: Point | None) -> tuple[Key, ...]:
    keys = []
    if chosen is not None:
        for name, interval in (("p50", chosen.p50_ms), ("p95", chosen.p95_ms), ("p99", chosen.p99_ms)):
            if interval is not None:
                keys.append(Key(name, words.ms(interval.value), interval.value, words.between(interval, "ms")))
        rate = chosen.max_rate if sweep.find_max else chosen.throughput_rps
        if rate is not None:
            what = "highest rate" if sweep.find_max else "answered/s"
            keys.append(Key(what, words.number(rate.value), rate.value, words.between(rate)))
    turns = sum(len(point.replicates) for point in sweep.points)
    keys.append(Key("settings", words.count(len(sweep.points)), len(sweep.points), f"{turns:,} turns"))
    keys.append(Key("requests", words.count(sweep.requests), sweep.requests, words.seconds(sweep.wall_s)))
    return tuple(keys)


def _reasons(sweep: Sweep) -> tuple[str, ...]:
    """Why points cannot be believed."""
    found = []
    for point in sweep.points:
        if point.judgement.verdict == "invalid":
            why = [reason for turn in point.replicates for reason in turn.validity.reasons] or [point.judgement.why]
            found.append(f"At {words.settings(point.settings)}: {why[0]}")
    return sentence_list(found)


def _warnings(sweep: Sweep, chosen: Point | None) -> list[str]:
    found = list(sweep.warnings)
    if not sweep.complete:
        found.insert(0, "The sweep was interrupted: this is what it had found until then.")
    if sweep.choice.tied:
        tied = "; ".join(words.settings(one) for one in sweep.choice.tied)
        found.append(f"These cannot be told apart from the chosen one: {tied}.")
    turns = [turn for point in sweep.points for turn in point.replicates]
    wrong = sum(not turn.validity.valid for turn in turns)
    if wrong:
        found.append(f"{wrong:,} of {len(turns):,} turns cannot be believed, and nothing is computed from them.")
    return found if chosen is None else [*found, *_reasons(sweep)]


def _figures(sweep: Sweep, name: str) -> list[Figure]:
    figures = []
    points = sweep.points
    if any(point.p99_ms for point in points):
        figures.append(settings.latency(sweep, name))
    if any(point.max_rate if sweep.find_max else point.throughput_rps for point in points):
        figures.insert(0 if sweep.find_max else 1, settings.throughput(sweep, name))
    if any(point.mean_batch is not None for point in points):
        figures.append(settings.mean_batch(sweep, name))
    of_member = _of_member(sweep)
    if of_member:
        if any(has_batches(split) for _, split in of_member):
            figures.append(batch_shades(of_member, name, heading(sweep)))
        figures.append(time_split(of_member, name, heading(sweep)))
    return in_pairs(figures)


def _of_member(sweep: Sweep) -> list[Named]:
    """The statistics of the model whose batcher is set, by point that can be believed."""
    return [
        (short(point), split)
        for point in sweep.points
        if point.judgement.verdict != "invalid"
        for split in point.splits
        if split.model == sweep.member
    ]


def _tables(sweep: Sweep, name: str) -> list[Titled]:
    turns = tuple(
        (words.settings(point.settings), turn.round, turn.order, turn.seed, turn.requests,
         turn.p50_ms, turn.p95_ms, turn.p99_ms, turn.achieved_rps, turn.validity.valid, turn.folder)
        for point in sweep.points
        for turn in point.replicates
    )  # fmt: skip
    columns = (
        Column("settings", "settings", "text"), Column("round", "round", "count"), Column("order", "order", "count"),
        Column("seed", "seed", "text"), Column("requests", "requests", "count"), Column("p50_ms", "p50 ms", "ms"),
        Column("p95_ms", "p95 ms", "ms"), Column("p99_ms", "p99 ms", "ms"),
        Column("achieved_rps", "answered/s"), Column("valid", "valid", "yes"), Column("folder", "folder", "text"),
    )  # fmt: skip
    found = [Titled("All settings", settings.points_table(sweep, f"{name}-points"))]
    models: dict[str, list[Any]] = {}
    for point in sweep.points:
        for split in point.splits:
            if split.model != sweep.member and point.judgement.verdict != "invalid":
                models.setdefault(split.model, []).append((words.settings(point.settings), split))
    for place, (model, named) in enumerate(models.items()):
        table = split_table(f"{name}-model-{place + 1}", named, "settings")
        found.append(Titled(f"Where the time goes: {words.text(model)}", table, open=False))
    return [*found, Titled("Every turn", Table(f"{name}-turns", columns, turns), open=False)]


def _blocks(sweep: Sweep) -> tuple[tuple[str, str], ...]:
    found = []
    if sweep.choice.written:
        found.append(("Into the spec", sweep.choice.written.rstrip("\n")))
    return (*found, ("Command to repeat it", sweep.made.command))


def _facts(sweep: Sweep) -> list[Facts]:
    asked = {
        **words.flat(sweep.over, "over "), "set on": words.text(sweep.member),
        "objective": f"p99 within {words.ms(sweep.objective.p99_ms)}", "rounds": str(sweep.rounds),
        "seconds a turn": words.number(sweep.seconds), "seed": str(sweep.seed),
        "took": words.seconds(sweep.wall_s),
        "starts of the server": _starts(sweep),
    }  # fmt: skip
    turns = [turn.validity for point in sweep.points for turn in point.replicates]
    found = [Facts("Sweep", tuple(asked.items()))]
    if sweep.traffic is not None:
        found.append(traffic_facts(sweep.traffic, "searched, by setting"))
    if turns:
        found.append(senders_of_turns([one for one in turns if one.valid] or turns))
    return [*found, *made_facts(sweep.made)]


def _starts(sweep: Sweep) -> str:
    """A point tells the first start of its turns alone, so an older record says no more than the fewest."""
    if sweep.server_starts is not None:
        return f"{sweep.server_starts:,}"
    several = any(point.warnings for point in sweep.points)
    fewest = max(len({point.server_epoch for point in sweep.points}), 2 if several else 1)
    return f"{fewest}{' or more' if several else ''}"
