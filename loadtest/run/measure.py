"""One load test on a server that runs: sent, merged, believed or not, and judged."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from generator.problems import ProblemsError
from loadtest.run import preflight
from loadtest.run.asked import Asked
from loadtest.run.interrupts import INTERRUPTED, interrupts_noted
from loadtest.run.problem import refused
from loadtest.run.room import Room
from loadtest.run.sending import GONE, Load, Sent, send
from loadtest.run.session import Session
from loadtest.run.writing import SEGMENT, is_full, unwritable
from loadtest.sender.orders import NOT_KEPT
from loadtest.statistics.looks import Looks
from loadtest.traffic.arrivals import draw

if TYPE_CHECKING:
    from loadtest.results.run import Run
    from loadtest.run.interrupts import Noted
    from loadtest.run.serving import Serving
    from loadtest.traffic.payloads import Payloads
    from loadtest.traffic.schedule import Schedule

LEAD_S = 1.0  # of every segment but the first: until its queue is as full as the one before it left its own


@dataclass(frozen=True)
class Segment:
    """A piece of a run that is sent in one go, `lead_s` of it not counted; it is judged as sure as `confidence`.

    Without `seconds` it is a whole trace.
    """

    number: int
    seconds: float | None
    lead_s: float
    confidence: float


def measure(
    asked: Asked,
    serving: Serving,
    payloads: Mapping[str, Payloads],
    folder: Path,
    progress: Callable[[str], None],
    *,
    extend: bool = False,
    checked: bool = False,
) -> Run:
    """Sends it and judges it; `folder` gets run.json and samples.bin.

    With `extend`, segments follow each other until the verdict is decided or `asked.budget_s` has been sent; the
    first is `asked.duration_s` or a little longer. Every payload is asked once before, unless it was `checked`.
    An interrupt keeps the samples so far, in a run that is marked as stopped, and is raised again; and so is whatever
    else ends it after a segment. Raises ProblemsError with what a user can mend; TK875, with the run kept too, when
    the server goes away.
    """
    segments = list(segments_of(asked, extend=extend))
    schedule = schedule_of(asked, payloads, segments[0])
    about = {} if checked else preflight.check(serving, payloads, progress)
    session = Session(asked, serving, payloads, folder, about)
    session.begin()
    run: Run | None = None
    is_over = False
    with interrupts_noted() as noted:  # nothing is lost between two steps: they are heard where nothing is at stake
        session.noted = noted
        try:
            with Room(folder) as room:
                for segment in segments:
                    with noted.heard():
                        if segment.number:
                            schedule = schedule_of(asked, payloads, segment)
                        room.take(len(schedule))
                        if asked.senders > 1:  # each is a process, and they are made ready one after the other
                            progress(f"starting {asked.senders} senders")
                    tell = _teller(progress, segment, len(segments), schedule)
                    sent = _sent(Load(asked, serving, payloads, schedule), folder, segment, tell, noted)
                    room.give_back()
                    session.add(schedule, sent.paths, sent.reports, lead_us=round(segment.lead_s * 1e6))
                    if not noted:
                        progress("putting the samples together, and judging them")
                    run = session.result(stopped=sent.stopped, confidence=segment.confidence)
                    decided = run.judgement.verdict != "undecided"
                    is_over = bool(sent.stopped) or decided or segment is segments[-1]
                    if is_over:
                        session.tidy()
                        if noted and not run.requests:  # it came before the first one left: nothing is to be kept
                            session.forget()
                        break
        except BaseException as error:
            if run is not None and not is_over:
                raise _cut_short(error, session, run, segment) from error.__cause__
            raise
    if noted:
        raise KeyboardInterrupt
    assert run is not None  # noqa: S101  (one segment at least is planned)
    if sent.stopped == GONE:
        raise _gone(serving, run, folder)
    if sent.stopped:
        raise _ended_early(sent.stopped, run, folder)
    return run


def _sent(load: Load, folder: Path, segment: Segment, tell: Callable[[int, int], None], noted: Noted) -> Sent:
    own = folder / f"{SEGMENT}{segment.number}"
    try:
        return send(load, own, tell, noted)
    except OSError as error:  # what a sender reads has no room
        if not is_full(error):
            raise
        raise unwritable(folder, error) from error
    except ProblemsError as error:
        if not any(str(own) in problem.hint for problem in error.problems):  # there is something to read there
            shutil.rmtree(own, ignore_errors=True)
        raise


def _cut_short(error: BaseException, session: Session, run: Run, segment: Segment) -> BaseException:
    """The last look stays, and says that another was to follow; the error says so too, where it is told to users."""
    why = str(error) or type(error).__name__
    if isinstance(error, KeyboardInterrupt):
        why = INTERRUPTED
    elif isinstance(error, ProblemsError):
        why = error.problems[0].message
    if session.segments == segment.number:  # else samples of it have found no place yet, and no others are taken away
        session.tidy(segment.number)
    with suppress(ProblemsError):  # the first error is the one to tell
        session.mark(run, why)
    if not isinstance(error, ProblemsError):
        return error
    kept = f"the {run.requests:,} samples before that are kept in {session.folder}, marked as stopped"
    *others, last = error.problems
    return ProblemsError([*others, replace(last, hint="; ".join(filter(None, (last.hint, kept))))])


def segments_of(asked: Asked, *, extend: bool) -> Iterator[Segment]:
    """What is sent in one go. Those of a run that extends are planned before it: see loadtest.statistics.looks.

    Raises ProblemsError (TK878).
    """
    bound_ms = max(promise.p99_ms for promise in asked.promises.values())
    if asked.deadline_us <= bound_ms * 1000:
        raise refused(
            "TK878", "--deadline-ms",
            f"a deadline of {asked.deadline_us / 1000:g} ms is within the bound of {bound_ms:g} ms on the p99, so "
            "that what fails would count as fast enough", f"give more than {bound_ms:g}; ten times as much is usual",
        )  # fmt: skip
    if not extend:
        yield Segment(0, asked.duration_s, 0.0, asked.confidence)
        return
    if asked.rate_rps is None or asked.duration_s is None or asked.kind not in {"poisson", "constant"}:
        raise refused(
            "TK878", "--until-decided", f"arrivals `{asked.kind}` have a beginning and an end, and cannot go on",
            "a run that goes on needs --arrivals poisson or constant",
        )  # fmt: skip
    budget_s = asked.budget_s or asked.duration_s
    if budget_s < asked.duration_s:
        raise refused(
            "TK878", "--budget", f"a budget of {budget_s:g} s ends before the first {asked.duration_s:g} s",
            "give a longer --budget, or a shorter --duration",
        )  # fmt: skip
    per_s = asked.rate_rps
    looks = Looks.plan(max(1, math.ceil(budget_s * per_s)), max(1, math.floor(asked.duration_s * per_s)))
    before = 0
    for number, at in enumerate(looks.at):
        lead_s = LEAD_S if number else 0.0
        yield Segment(number, (at - before) / per_s + lead_s, lead_s, looks.confidence(number, asked.confidence))
        before = at


def schedule_of(asked: Asked, payloads: Mapping[str, Payloads], segment: Segment) -> Schedule:
    """Its arrivals, from a seed of its own. Raises ProblemsError."""
    return draw(
        asked.kind, asked.rate_rps, segment.seconds, seed_of(asked.seed, segment.number), mix=asked.mix,
        payloads={name: len(of) for name, of in payloads.items()}, trace=asked.trace, **asked.shape,
    )  # fmt: skip


def seed_of(seed: int, segment: int) -> int:
    """Of a segment: the run's own for the first. No later one is that of a segment of a run with a seed near by."""
    if not segment:
        return seed
    return int(np.random.SeedSequence(seed, spawn_key=(segment,)).generate_state(1, np.uint64)[0] >> np.uint64(1))


def _teller(
    progress: Callable[[str], None], segment: Segment, of: int, schedule: Schedule
) -> Callable[[int, int], None]:
    """Says how far it is: once a look. Time runs from the first look, when the senders are ready and set off."""
    began, total = 0.0, len(schedule)
    which = f"part {segment.number + 1} of at most {of}: " if of > 1 else ""

    def tell(sent: int, done: int) -> None:
        nonlocal began
        began = began or time.monotonic()
        left_s = max(0.0, schedule.duration_s - (time.monotonic() - began))
        progress(f"{which}sent {sent:,} of {total:,}, answered {done:,}, {left_s:.0f} s left")

    return tell


def _ended_early(stopped: str, run: Run, folder: Path) -> Exception:
    kept = f"the {run.requests:,} samples so far are kept there, marked as stopped"
    if NOT_KEPT in stopped:
        return refused("TK876", str(folder), f"a sender ended early: {stopped}",
                       f"{kept}; free some space, or give --out on another disk, and run it again")  # fmt: skip
    return refused("TK875", str(folder), f"a sender ended early: {stopped}", kept)


def _gone(serving: Serving, run: Run, folder: Path) -> Exception:
    ended = serving.failure()
    why = ", and did not come back"
    if ended is not None:  # its first paragraph is the cause; the log's last lines follow it
        cause, _, _ = ended.message.partition("\n\n")
        why = f": {_in_one_line(cause)}"
    return refused(
        "TK875", serving.http_address, f"the server went away during the run{why}",
        f"the {run.requests:,} samples so far are kept in {folder}, marked as stopped",
    )  # fmt: skip


def _in_one_line(text: str) -> str:
    """Its lines after each other, with a semicolon where a line has no mark of its own at its end."""
    found = ""
    for line in filter(None, (" ".join(line.split()) for line in text.splitlines())):
        between = "" if not found else " " if found[-1] in ".,:;!?" else "; "
        found += between + line
    return found
