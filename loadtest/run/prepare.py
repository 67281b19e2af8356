"""Everything about a load test that is decided before a server is asked anything."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generator.project import EMBEDDED, Project
from loadtest.run.asked import LONGEST_DEADLINE_MS, Asked
from loadtest.run.measure import schedule_of, segments_of
from loadtest.run.problem import refused
from loadtest.run.sending import orders_of
from loadtest.run.serving import Serving
from loadtest.run.specs import hash_of, mix_of, plans_of, promises_of, rate_of, shape_of
from loadtest.sender.clients.choose import check
from loadtest.traffic.payloads import payloads_of

if TYPE_CHECKING:
    from generator.plan import Plan
    from loadtest.traffic.payloads import Payloads

RUNS = Path("build") / "load"
DURATION_S, BUDGET_S = 30.0, 300.0  # where nothing else is said
_NAMES = {"kind": "arrivals", "sizes": "batch", "budget_s": "budget"}  # the others are called as their options are
_RANGES: dict[str, tuple[float, float]] = {
    "p99_ms": (0.001, LONGEST_DEADLINE_MS), "seed": (0, 2**64 - 1), "senders": (1, 64), "connections": (1, 16_384),
    "deadline_ms": (0.001, LONGEST_DEADLINE_MS), "priority": (0, 2**64 - 1), "server_timeout_us": (0, 2**63 - 1),
    "cancel": (0, 1), "lag_bound_ms": (0.001, LONGEST_DEADLINE_MS),
}  # fmt: skip
_CHOICES = {"protocol": ("http", "grpc"), "client": ("raw", "tritonclient")}
_OWN = {"rate_rps": "rate", "duration_s": "duration", "p99_ms": "p99_ms", "mix": "mix", "shape": "shape"}


@dataclass(frozen=True)
class Where:
    """The server to load: one at `url` (and `grpc_url`), else one of the test's own; `allowed` are other machines."""

    url: str | None = None
    grpc_url: str | None = None
    allowed: tuple[str, ...] = ()
    target: str = EMBEDDED


@dataclass(frozen=True)
class Wanted:
    """The command line of `load run`. `given` are the fields of `loadtest.run.asked.Asked` that it says itself."""

    specs: tuple[Path, ...]
    where: Where
    rate_rps: float | None = None
    duration_s: float | None = None
    p99_ms: float | None = None
    mix: str | None = None
    shape: str | None = None
    out: Path | None = None
    extend: bool = False
    workers: int = 0
    web: bool = False
    given: Mapping[str, Any] = field(default_factory=dict)


def wanted_of(options: Mapping[str, Any]) -> Wanted:
    """What the options of `load run` ask for, by their names there (`kind` are --arrivals, `sizes` --batch).

    Texts stand for paths and lists too. Raises ProblemsError for options that do not fit together.
    """
    told = dict(options)
    for name, value in told.items():
        _check(name, value)
    trace, kind = told.pop("trace"), told.pop("kind")
    if trace is not None and kind not in {None, "trace"}:
        raise refused("TK878", "--trace", f"arrivals `{kind}` take no file", "leave --arrivals or --trace out")
    if trace is None and kind == "trace":
        raise refused("TK878", "--arrivals", "arrivals `trace` need a file", "name one with --trace")
    extend, budget_s = told.pop("until_decided", False), told.pop("budget_s", None)
    if budget_s is not None and not extend:
        raise refused("TK878", "--budget", "there is a budget, and nothing that goes on", "add --until-decided")
    where = Where(told.pop("url"), told.pop("grpc_url"), tuple(told.pop("allowed")), told.pop("target"))
    if where.url is None and (where.grpc_url is not None or where.allowed):
        raise refused("TK878", "--url", "no server is named", "--grpc-url and --allow-remote are of one at --url")
    workers, web = told.pop("workers", 0), told.pop("web", False)
    if extend and (workers or web):
        raise refused("TK878", "--until-decided", "a run through Locust has an end", "leave --workers and --web out")
    specs, out = tuple(map(Path, told.pop("specs"))), told.pop("out")
    if not specs:
        raise refused("TK878", "--spec", "no spec is named", "name one, such as specs/digits.yaml")
    own = {field: told.pop(name) for field, name in _OWN.items()}
    given = {
        **told, "kind": kind or ("trace" if trace is not None else "poisson"), "sizes": sizes_of(told["sizes"]),
        "trace": None if trace is None else Path(trace), "budget_s": (budget_s or BUDGET_S) if extend else None,
    }  # fmt: skip
    return Wanted(
        specs,
        where,
        out=None if out is None else Path(out),
        extend=extend,
        workers=workers,
        web=web,
        given=given,
        **own,
    )


def _check(name: str, value: Any) -> None:
    """Whoever parsed them: click knows ranges and lets `nan` through, and Locust's parser knows neither."""
    option = f"--{_NAMES.get(name, name).replace('_', '-')}"
    if isinstance(value, float) and not math.isfinite(value):
        raise refused("TK878", option, f"{value} is no number that can be kept to", "give a finite one")
    if name in _CHOICES and value not in _CHOICES[name]:
        raise refused("TK878", option, f"there is no `{value}`", f"give {' or '.join(_CHOICES[name])}")
    if name in _RANGES and value is not None:
        least, most = _RANGES[name]
        if not least <= value <= most:
            raise refused("TK878", option, f"{_told(value)} cannot be", f"give {_told(least)} to {_told(most)}")


def _told(value: float) -> str:
    """Whole numbers with all of their digits."""
    return f"{value:,}" if isinstance(value, int) else f"{value:,.15g}"


def sizes_of(text: str | tuple[int, ...]) -> tuple[int, ...]:
    """Items a request, of `1,4`. Raises ProblemsError."""
    words = text.split(",") if isinstance(text, str) else map(str, text)
    found = tuple(int(word) if word.strip().isdecimal() else 0 for word in words)
    if not all(found):
        raise refused("TK878", "--batch", f"`{text}` is no list of sizes", "write it as 1 or as 1,4")
    return found


@dataclass(frozen=True)
class Prepared:
    """Everything that is decided before a server starts."""

    project: Project
    plans: tuple[Plan, ...]
    asked: Asked
    payloads: Mapping[str, Payloads]
    folder: Path


def prepare(wanted: Wanted, progress: Callable[[str], None]) -> Prepared:
    """Reads the specs, makes the payloads and draws the arrivals. Raises ProblemsError with what a user can mend."""
    project = Project.find()
    plans = tuple(plans_of(project, wanted.specs, wanted.where.target))
    promises = promises_of(plans, wanted.p99_ms)
    mix = mix_of(plans, promises, wanted.mix)
    is_trace = wanted.given.get("trace") is not None
    rate = wanted.rate_rps if is_trace else rate_of(promises, mix, wanted.rate_rps)
    duration = wanted.duration_s if wanted.duration_s is not None or is_trace else DURATION_S
    asked = Asked(
        promises, mix, rate, duration, shape=shape_of(wanted.shape, wanted.given["kind"]),
        spec=", ".join(map(str, wanted.specs)), spec_sha256=hash_of(wanted.specs), **wanted.given,
    )  # fmt: skip
    progress("making the payloads")
    payloads = {plan.name: payloads_of(plan, project.root, asked.seed, asked.sizes) for plan in plans}
    schedule = schedule_of(asked, payloads, next(segments_of(asked, extend=wanted.extend)))
    _check_senders(asked, len(schedule))
    check(orders_of(asked, Serving(plans, project.root, "", "", wanted.where.target)))
    return Prepared(project, plans, asked, payloads, wanted.out or folder_for(project, asked))


def _check_senders(asked: Asked, requests: int) -> None:
    """Each is a process that has to get ready, for nothing where there is no request left for it."""
    if asked.senders > max(1, requests):
        raise refused("TK878", "--senders", f"there are {asked.senders} senders, and {requests:,} requests to send",
                      f"leave --senders out, or give {requests:,} at most")  # fmt: skip


def folder_for(project: Project, asked: Asked) -> Path:
    """A new folder under build/load, named after the pipelines and the time."""
    name = re.sub(r"[^\w.+-]", "_", "+".join(asked.pipelines))
    stem = f"{name}-{datetime.now():%Y%m%d-%H%M%S}"
    found = project.root / RUNS / stem
    again = 1
    while found.exists():
        again += 1
        found = project.root / RUNS / f"{stem}-{again}"
    return found
