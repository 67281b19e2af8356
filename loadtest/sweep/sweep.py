"""A sweep from its first round to sweep.json: rounds in random order, turns that are kept, what follows from them."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from generator.problems import ProblemsError, UserError
from generator.whole_file import write_whole
from loadtest.results.run import Made, Objective
from loadtest.results.sweep import SWEEP_FILE, Sweep
from loadtest.run.asked import Promise
from loadtest.run.judging import AS_PROMISED
from loadtest.run.problem import refused
from loadtest.sweep.axes import Axis, first_settings
from loadtest.sweep.bench import Asked, Bench, Seen
from loadtest.sweep.choice import choose, choose_rate
from loadtest.sweep.evidence import PERCENTILE, Evidence, Standings
from loadtest.sweep.highest import RATES, Bracket, bracket, next_rates, standings_of
from loadtest.sweep.highest import TRIES as RATE_TRIES
from loadtest.sweep.journal import Journal, Round
from loadtest.sweep.points import judgement_of, point_of, verdicts_of
from loadtest.sweep.search import CONFIRM, Limits, Next, is_worse, next_round
from loadtest.sweep.sent import starts_of, traffic_of
from loadtest.sweep.setting import Setting
from loadtest.sweep.sure import Sure, fewest
from loadtest.sweep.warned import warnings_of

if TYPE_CHECKING:
    from loadtest.results.sweep import Choice, Point

GRID, SHARE = 41, 0.2  # a sweep without a budget may take this share of the turns of a grid of so many points
NEW, NEW_WITH_RATES = 4, 2  # times the first settings is how many may compete where points are chosen in a range
TRIES = 3  # turns of a setting that cannot be believed, before it is given up
ENOUGH = 1.5  # times the fewest requests that can show a pass; of those there are no two over the bound
ENOUGH_AT_A_RATE = 4  # the same in a search for the highest rate, which goes where some are over the bound
LONGEST_S = 120.0
INTERRUPTED = "it was interrupted"
CONFIRMATIONS = 3  # settings that get a turn of their own, to show that one of them meets the objective
APPLY_S = 1.5  # until it is known: what bringing the server to a setting takes


@dataclass(frozen=True)
class Wanted:
    """Everything that a sweep is asked for. `seconds` count in a turn, after `settle_s` that do not.

    `member` is the model that is swept, `budget_s` how long the sweep may go on (None: a number of turns), `written`
    gives what to put into the spec for a setting.
    """

    pipeline: str
    objective: Objective
    axes: tuple[Axis, ...]
    member: str
    rate_rps: float
    find_max: bool
    rounds: int
    seconds: float
    settle_s: float
    budget_s: float | None
    seed: int
    keep_samples: bool
    made: Made
    written: Callable[[Setting], str]
    members: Callable[[Setting], str]
    confidence: float = 0.99

    @property
    def promise(self) -> Promise:
        """The objective as a run is judged by it."""
        own = self.objective
        return Promise(own.p99_ms, None if self.find_max else own.throughput_rps, own.max_error_rate)

    @property
    def settings(self) -> int:
        """How many compete at most."""
        first = len(first_settings(self.axes))
        if not any(axis.is_range for axis in self.axes):
            return first
        return first * (NEW_WITH_RATES if self.find_max else NEW)

    @property
    def sure(self) -> Sure:
        """How sure each verdict has to be: planned by what is asked for alone, whatever is seen on the way."""
        if self.find_max:
            return Sure(self.confidence, self.settings * RATES, RATE_TRIES)
        return Sure(self.confidence, self.settings, self.rounds, min(CONFIRMATIONS, self.settings))

    @property
    def good(self) -> tuple[float, ...]:
        """The shares of the requests that have to be fast enough, and answered."""
        return PERCENTILE, 1 - self.objective.max_error_rate

    @property
    def confirming_s(self) -> float:
        """How long the turn is that shows whether a setting meets the objective."""
        enough_s = ENOUGH * fewest(self.good, self.sure.of_confirmation) / self.rate_rps
        return min(LONGEST_S, max(self.seconds, enough_s))

    @property
    def confirming(self) -> int:
        """So many turns in which settings compete are as long as the one that shows it; 0 where there is none."""
        return 0 if self.find_max or self.hopeless else math.ceil(self.confirming_s / self.seconds)

    @property
    def hopeless(self) -> str:
        """Why no setting can be shown to meet the objective, however good it is; empty where one can."""
        if not self.objective.max_error_rate:
            return ("no setting can be shown to meet the objective: no number of requests shows that none ever "
                    "fails; give it a max_error_rate above 0")  # fmt: skip
        most = fewest(self.good, self.sure.of_confirmation)
        promised = self.objective.throughput_rps or 0.0
        if self.find_max or self.confirming_s * self.rate_rps >= most:
            if self.find_max or self.rate_rps >= promised * AS_PROMISED:
                return ""
            return (f"no setting can be shown to meet the objective: it promises {promised:g} requests/s, and "
                    f"{self.rate_rps:g} are sent; give no lower --rate, or the objective a lower "
                    "throughput_rps")  # fmt: skip
        return (f"no setting can be shown to meet the objective: that takes {most:,} requests of it, which are "
                f"{most / self.rate_rps / 60:.0f} minutes at {self.rate_rps:g} requests/s; give a higher --rate, or "
                "the objective a higher max_error_rate")  # fmt: skip


@dataclass
class Sweeping:
    """One sweep on `bench`; `journal` holds what was measured before. `progress` gets a line when something moves."""

    wanted: Wanted
    bench: Bench
    journal: Journal
    progress: Callable[[str], None]
    _evidence: Evidence = field(init=False)
    _began: float = field(default_factory=time.monotonic)
    _before_s: float = 0.0
    _starts_before: int = 0
    _starting_s: float = 0.0  # of this session: what its first turn took beyond the others
    _ended: str = INTERRUPTED

    def __post_init__(self) -> None:
        self._evidence = Evidence(self.wanted.seed, self.wanted.confidence)
        for seen in self.journal.seen:
            self._check_base(seen)
            self._compare(seen)
            self._before_s += seen.run.wall_s + APPLY_S
            self._starts_before = max(self._starts_before, seen.asked.start)

    def _check_base(self, seen: Seen) -> None:
        """Raises ProblemsError (TK887) when its setting would be served from other files now."""
        if self.bench.group(seen.asked.setting) != seen.asked.base:
            raise refused(
                "TK887", str(self.journal.folder), f"{seen.asked.setting.words()} was measured with other files than "
                "are rendered now", "bring the models, data and steps back to what they were, or begin another sweep",
            )  # fmt: skip

    def run(self) -> Sweep:
        """Rounds until it is decided or the budget ends; writes sweep.json.

        An interrupt, or a server that goes away, leaves an incomplete sweep.json of all finished turns, and is
        raised again. Raises ProblemsError and UserError.
        """
        try:
            self._finish_round()
            while True:
                planned, rates = self._next()
                self._ended = planned.why or self._ended
                if not planned.settings:
                    break
                number = len(self.journal.rounds) + 1
                turns = [
                    (setting, rates.get(setting, self.wanted.rate_rps), why) for setting, why in planned.settings
                ]
                self.journal.note_round(Round(number, tuple(self._shuffled(turns, number)), planned.why))
                self._finish_round()
        except BaseException:
            if self.journal.seen:
                self._ended = INTERRUPTED
                self._write(complete=False)
            else:
                self.journal.forget()
            raise
        sweep = self._write(complete=True)
        if not self.wanted.keep_samples:
            self.journal.drop_samples()
        return sweep

    # What to do next ---------------------------------------------------------------------------------------

    def _limits(self) -> Limits:
        """How many turns there may be, longer ones for as many as they are long; of a budget what fits at this pace.

        The share of a grid is kept to, but for one turn that confirms: without it nothing of the rest could be taken.
        """
        wanted, used, confirming = self.wanted, self._used(), self.wanted.confirming
        first = len(first_settings(wanted.axes))
        arms = math.prod(max(1, len(axis.values)) for axis in wanted.axes)
        if wanted.budget_s is not None:
            spent_s = self._before_s + time.monotonic() - self._began
            turns = used + int(max(0.0, wanted.budget_s - spent_s) / self._turn_s())
        elif wanted.find_max:
            turns = RATES * first
        elif any(axis.is_range for axis in wanted.axes):
            turns = max(int(GRID * SHARE * wanted.rounds * max(1.0, arms / 2)), first + confirming)
        else:
            turns = arms * wanted.rounds + confirming * wanted.sure.confirmations
        return Limits(wanted.rounds, turns, settings=wanted.settings, confirming=confirming)

    def _turn_s(self) -> float:
        """What a turn takes, everything but the first start of the server included: as it was so far."""
        own = self._used(self.journal.session)
        expected = self.wanted.seconds + self.wanted.settle_s + APPLY_S
        return (time.monotonic() - self._began - self._starting_s) / own if own else expected

    def _used(self, session: int | None = None) -> int:
        """The turns so far (of one session), those that confirmed as many as they are long."""
        turns = [seen for seen in self.journal.seen if session in {None, seen.asked.session}]
        return sum(self.wanted.confirming if seen.asked.why == CONFIRM else 1 for seen in turns)

    def _next(self) -> tuple[Next, Mapping[Setting, float]]:
        used, limits = self._used(), self._limits()
        if self.wanted.find_max:
            return next_rates(self.wanted.axes, self._brackets(), self._counts(), limits,
                              confidence=self.wanted.confidence, start_rps=self.wanted.rate_rps)  # fmt: skip
        never = {s: len(turns) for s, turns in self._by_setting().items() if not any(seen.valid for seen in turns)}
        given_up = [setting for setting, turns in never.items() if turns >= TRIES]
        again = [setting for setting, turns in never.items() if turns < TRIES]
        standings = self._evidence.standings()
        hopeful = self._hopeful(standings)
        confirmed = any(seen.asked.why == CONFIRM for seen in self.journal.seen)
        if confirmed and (hopeful is None or used + limits.confirming > limits.turns):
            return Next((), "nothing was left to do" if self._ended == INTERRUPTED else self._ended), {}
        planned = next_round(self.wanted.axes, standings, used, limits, given_up=given_up, unbelieved=again,
                             hopeful=hopeful)  # fmt: skip
        if not used and len(planned.settings) > limits.turns:
            first = len(planned.settings)
            raise refused(
                "TK888", "--budget", f"the first round has {first} points, the budget is enough for {limits.turns}",
                f"give --budget {round(first * self._turn_s() * 4) + 1} or more, fewer values, or shorter --seconds",
            )  # fmt: skip
        return planned, {}

    def _hopeful(self, standings: Standings | None) -> Setting | None:
        """The best that may meet the objective and had no turn of its own; None once one as good is known to."""
        if standings is None or self.wanted.hopeless:
            return None
        by_setting = self._by_setting()
        promise, sure = self.wanted.promise, self.wanted.sure
        told = {s: judgement_of(turns, promise, sure).verdict for s, turns in by_setting.items()}
        own = {s: [seen.valid for seen in turns if seen.asked.why == CONFIRM] for s, turns in by_setting.items()}
        good = {one.setting for one in standings.found if not is_worse(one)}
        if any(told[setting] == "pass" for setting in good) or sum(map(any, own.values())) >= CONFIRMATIONS:
            return None
        ranked = [one.setting for one in standings.found]
        return next((s for s in ranked if told[s] == "undecided" and not any(own[s]) and len(own[s]) < TRIES), None)

    def _shuffled(self, turns: Sequence[tuple[Setting, float, str]], number: int) -> list[tuple[Setting, float, str]]:
        """In a new seeded order; what shares a start of the server together, so that it is restarted least."""
        order = random.Random(f"{self.wanted.seed}/{number}")  # noqa: S311
        groups: dict[str, list[tuple[Setting, float, str]]] = {}
        for turn in order.sample(list(turns), len(turns)):
            groups.setdefault(self.bench.group(turn[0]), []).append(turn)
        return [turn for group in groups.values() for turn in group]

    # Turns -------------------------------------------------------------------------------------------------

    def _finish_round(self) -> None:
        """Measures what of the last planned round has not been."""
        if not self.journal.rounds:
            return
        planned = self.journal.rounds[-1]
        self._ended = planned.ended or self._ended
        done = {seen.asked.order for seen in self.journal.seen if seen.asked.round == planned.number}
        for order, (setting, rate, why) in enumerate(planned.turns):
            if order not in done:
                self._turn(planned, order, setting, rate, why)

    def _turn(self, planned: Round, order: int, setting: Setting, rate: float, why: str) -> None:
        wanted, number = self.wanted, len(self.journal.seen) + 1
        where = self._where(planned, setting, rate, why)
        seed, folder = wanted.seed * 1000 + planned.number, self.journal.folder_of(number)
        began = time.monotonic()
        try:
            start = self.bench.apply(setting, lambda text: self.progress(f"{where}: {text}"))
            if not self._used(self.journal.session):
                self._starting_s = max(0.0, time.monotonic() - began - APPLY_S)
            self.bench.measure(rate, wanted.settle_s + self._seconds(rate, why), seed, folder,
                               lambda text: self.progress(f"{where}: {text}"))  # fmt: skip
        except (ProblemsError, UserError):
            if self.journal.seen:
                self.progress(f"{self.journal.kept}; --resume goes on from there")
            raise
        asked = Asked(
            number, planned.number, order, self.journal.session, self._starts_before + start, setting, rate, why,
            seed, self.bench.group(setting),
        )  # fmt: skip
        self._compare(self.journal.note(asked))

    def _compare(self, seen: Seen) -> None:
        """Takes a turn in which settings competed into the evidence."""
        if seen.asked.why != CONFIRM:
            self._evidence.add(seen.turn)

    def _seconds(self, rate_rps: float, why: str) -> float:
        """Of one turn. A search for the highest rate needs a verdict at each, and that so many requests."""
        wanted = self.wanted
        if not wanted.find_max:
            return wanted.confirming_s if why == CONFIRM else wanted.seconds
        most = fewest(wanted.good, wanted.sure.at(RATE_TRIES))
        return min(LONGEST_S, max(wanted.seconds, ENOUGH_AT_A_RATE * most / rate_rps / RATE_TRIES))

    def _where(self, planned: Round, setting: Setting, rate: float, why: str) -> str:
        """Which turn this is, and at most how many minutes all of them may still take."""
        used, done = self._used(), len(self.journal.seen)
        more = max(self._limits().turns - used, self.wanted.confirming if why == CONFIRM else 1)
        left_s = more * self._turn_s()
        bar = "#" * round(20 * used / (used + more))
        at = f" at {rate:.4g}/s" if self.wanted.find_max else ""
        left = f"about {left_s / 60:.0f} min" if left_s >= 90 else f"about {left_s:.0f} s"
        return (f"[{bar:<20}] round {planned.number}, turn {done + 1} of at most {done + more}, at most {left} left, "
                f"{setting.words()}{at}")  # fmt: skip

    # What it comes to --------------------------------------------------------------------------------------

    def _by_setting(self) -> dict[Setting, list[Seen]]:
        found: dict[Setting, list[Seen]] = {}
        for seen in self.journal.seen:
            found.setdefault(seen.asked.setting, []).append(seen)
        return found

    def _counts(self) -> dict[Setting, int]:
        return {setting: len(turns) for setting, turns in self._by_setting().items()}

    def _brackets(self) -> list[Bracket]:
        wanted, found = self.wanted, []
        for setting, turns in self._by_setting().items():
            verdicts = verdicts_of(turns, wanted.promise, wanted.sure)
            reasons = [reason for seen in turns for reason in seen.run.validity.reasons]
            found.append(bracket(setting, verdicts, turns[0].asked.rate_rps, reasons[0] if reasons else ""))
        return found

    def _write(self, *, complete: bool) -> Sweep:
        sweep = self._sweep(complete=complete)
        path = self.journal.folder / SWEEP_FILE
        try:
            write_whole(path, sweep.model_dump_json(indent=1) + "\n")
        except OSError as error:
            raise refused("TK876", str(path), f"the sweep cannot be written: {error.strerror}".lower()) from error
        return sweep

    def _sweep(self, *, complete: bool) -> Sweep:
        wanted, by_setting = self.wanted, self._by_setting()
        brackets = {one.setting: one for one in self._brackets()} if wanted.find_max else {}
        kept = wanted.keep_samples or not complete
        points = {
            setting: point_of(setting, turns, wanted.promise, brackets.get(setting),
                              member=wanted.members(setting), sure=wanted.sure, kept=kept)
            for setting, turns in by_setting.items()
        }  # fmt: skip
        rate = None if wanted.find_max else wanted.rate_rps
        return Sweep(
            pipeline=wanted.pipeline, objective=wanted.objective, over={a.name: a.as_json() for a in wanted.axes},
            member=wanted.member, rate_rps=rate, find_max=wanted.find_max,
            traffic=traffic_of(self.journal.seen, rate), server_starts=starts_of(self.journal.seen),
            rounds=wanted.rounds, seconds=wanted.seconds, complete=complete,
            points=[points[setting] for setting in sorted(points, key=_order)],
            choice=self._choice(points, brackets), warnings=self._warnings(by_setting),
            requests=sum(seen.run.requests for seen in self.journal.seen),
            wall_s=self._before_s + time.monotonic() - self._began, seed=wanted.seed, made=self._made(),
        )  # fmt: skip

    def _made(self) -> Made:
        """With what the server says of itself, which a turn right after its start has asked."""
        about = next((seen.run.made.server for seen in self.journal.seen if seen.run.made.server), {})
        return self.wanted.made.model_copy(update={"server": about})

    def standings(self) -> Standings | None:
        """How the settings stand to each other so far."""
        if self.wanted.find_max:
            brackets = self._brackets()
            return standings_of(brackets, self._counts(), self.wanted.confidence) if brackets else None
        return self._evidence.standings()

    def _choice(self, points: Mapping[Setting, Point], brackets: Mapping[Setting, Bracket]) -> Choice:
        standings = self.standings()
        if self.wanted.find_max and standings is not None:
            return choose_rate(points, list(brackets.values()), standings, self._ended, self.wanted.written)
        return choose(points, standings, self.wanted.objective.p99_ms, self._ended, self.wanted.written)

    def _warnings(self, by_setting: Mapping[Setting, Sequence[Seen]]) -> list[str]:
        find_max, hopeless = self.wanted.find_max, self.wanted.hopeless
        disturbed = [] if find_max else self._evidence.disturbed()
        return ([hopeless] if hopeless else []) + warnings_of(by_setting, disturbed, find_max=find_max)


def _order(setting: Setting) -> tuple[object, ...]:
    """By arm, then by delay; numbers as numbers."""
    return (str(setting.arm), setting.delay_us if setting.delay_us is not None else 0)
