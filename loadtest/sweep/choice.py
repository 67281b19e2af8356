"""Which setting to take, and why."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from loadtest.results.sweep import Choice, Point
from loadtest.run.judging import in_three, share
from loadtest.sweep.evidence import Standing, Standings
from loadtest.sweep.highest import Bracket, is_beaten
from loadtest.sweep.search import is_worse
from loadtest.sweep.setting import Setting


def choose(
    points: Mapping[Setting, Point], standings: Standings | None, bound_ms: float, ended: str,
    written: Callable[[Setting], str],
) -> Choice:  # fmt: skip
    """The best of those that pass. `ended` says why the sweep stopped, `written` what to put into the spec."""
    if standings is None:
        last = next((point.judgement.why for point in points.values()), "")
        return Choice(settings=None, why=f"No turn could be believed, so nothing is chosen. {last}".strip())
    passing = [one for one in standings.found if points[one.setting].judgement.verdict == "pass"]
    if not passing:
        best = points[standings.best.setting]
        return Choice(settings=None, why=f"No setting is shown to keep the p99 under {bound_ms:g} ms. The best, "
                      f"{standings.best.setting.words()}: {best.judgement.why}")  # fmt: skip
    chosen = passing[0]
    tied = [one.setting.as_json() for one in standings.found if one is not chosen and not is_worse(one)
            and points[one.setting].judgement.verdict != "fail"]  # fmt: skip
    return Choice(
        settings=chosen.setting.as_json(), tied=tied,
        why=_why(points, chosen, standings, tied=len(tied), ended=ended), written=written(chosen.setting),
    )  # fmt: skip


def _why(points: Mapping[Setting, Point], chosen: Standing, standings: Standings, *, tied: int, ended: str) -> str:
    p99 = points[chosen.setting].p99_ms
    had = f"{in_three(p99.value)} ms ({in_three(p99.low)} to {in_three(p99.high)})" if p99 else ""
    lead = "the best p99 of those that pass" if chosen is not standings.best else "the best p99"
    lowest = min((point.p99_ms.value for point in points.values() if point.p99_ms), default=0.0)
    if p99 and p99.value > lowest:  # its turns may have been in worse rounds, and its last one was longer
        said = f"{chosen.setting.words()} has {lead}, compared round by round ({had} in all of its turns)"
    else:
        said = f"{chosen.setting.words()} has {lead}{f' of {had}' if had else ''}"
    if tied:
        said += f"; {tied} other{'s' if tied > 1 else ''} cannot be told apart from it"
    own = next((one for one in points[chosen.setting].replicates if one.confirms and one.validity.valid), None)
    shown = f" A turn of its own, of {own.requests:,} requests, shows that it meets the objective." if own else ""
    return f"{said}: {ended}.{shown}"


def choose_rate(
    points: Mapping[Setting, Point], brackets: Sequence[Bracket], standings: Standings, ended: str,
    written: Callable[[Setting], str],
) -> Choice:  # fmt: skip
    """The one that carries most while its p99 passes."""
    by_setting = {one.setting: one for one in brackets}
    best = by_setting[standings.best.setting]
    if not best.low:
        lowest = min(one.high or 0.0 for one in brackets)
        return Choice(settings=None, why=f"No setting is shown to pass at any rate, down to {in_three(lowest)} "
                      f"requests/s. {points[best.setting].judgement.why}")  # fmt: skip
    tied = [one.setting.as_json() for one in standings.found[1:]
            if by_setting[one.setting].low and not is_beaten(by_setting[one.setting], best)]  # fmt: skip
    said = f"{best.setting.words()} carries {best.low:.4g} requests/s with its p99 under the bound{_beyond(best)}"
    said += f", at {share(standings.confidence)} confidence (one-sided)"
    if tied:
        said += f"; {len(tied)} other{'s' if len(tied) > 1 else ''} cannot be told apart from it"
    limit = f" It may carry more: {best.limit}." if best.limit else ""
    return Choice(settings=best.setting.as_json(), tied=tied, why=f"{said}: {ended}.{limit}",
                  written=written(best.setting))  # fmt: skip


def _beyond(best: Bracket) -> str:
    """What is known of rates above the highest that passes."""
    known = f", and not {best.fails:.4g}" if best.fails is not None else ""
    if best.high is None or best.limit or best.high == best.fails:
        return known
    return f"{known} (at {best.high:.4g} it stayed undecided; longer --seconds may tell)"
