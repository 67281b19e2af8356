"""`tritonkit load sweep`: everything that is decided before the server starts, and the sweep itself."""

from __future__ import annotations

import platform
import re
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generator.project import EMBEDDED, Project

if TYPE_CHECKING:
    from loadtest.results.sweep import Sweep
    from loadtest.run.asked import Asked, Promise
    from loadtest.sweep.axes import Axis
    from loadtest.sweep.journal import Journal
    from loadtest.sweep.rendered import Renderer
    from loadtest.sweep.sweep import Wanted

SWEEPS = Path("build") / "load"
SETTLE_S = 1.0  # of every turn: until its queue is as full as it will be
DEFAULT_RATE_RPS = 100.0  # where the search for the highest rate begins, if nothing says better


@dataclass(frozen=True)
class Options:
    """The command line, in its own words."""

    spec: Path
    over: tuple[str, ...] = ()
    member: str | None = None
    rate: float | None = None
    find_max: bool = False
    seconds: float = 5.0
    rounds: int = 5
    budget: float | None = None
    p99_ms: float | None = None
    protocol: str = "http"
    senders: int = 1
    lag_bound_ms: float | None = None
    seed: int = 1
    out: Path | None = None
    resume: Path | None = None
    keep_samples: bool = False
    write: bool = False
    command: str = "tritonkit load sweep"
    target: str = EMBEDDED


@dataclass(frozen=True)
class Prepared:
    """What is decided before anything runs."""

    axes: tuple[Axis, ...]
    renderer: Renderer
    asked: Asked
    wanted: Wanted
    journal: Journal
    folder: Path


def prepare(options: Options, project: Project, held: ExitStack | None = None) -> Prepared:
    """Raises ProblemsError or UserError with everything that is wrong, before a server starts.

    Until `held` is closed no other sweep and no run gets the folder.
    """
    from loadtest.run.own_folder import locked_folder
    from loadtest.sweep.axes import first_settings, read_axes
    from loadtest.sweep.rendered import Renderer

    axes = read_axes(options.over)
    renderer = Renderer(project, options.spec, options.target, options.member, tuple(axis.name for axis in axes))
    promise = _promise(options, renderer)
    renderer.check(first_settings(axes))
    asked = _asked(options, renderer, promise)
    _check_rate(asked)
    folder = options.resume or options.out or _new_folder(project, renderer.plan.name)
    if held is not None and (options.resume is None or folder.is_dir()):
        held.enter_context(locked_folder(folder))
    journal = _journal(options, axes, renderer, asked, folder)
    return Prepared(axes, renderer, asked, _wanted(options, axes, renderer, asked), journal, folder)


def run_sweep(prepared: Prepared, seed: int, progress: Callable[[str], None]) -> Sweep:
    """The sweep; sweep.json is in its folder then, whatever ended it. Raises ProblemsError and UserError."""
    from loadtest.sweep.axes import first_settings
    from loadtest.sweep.sweep import Sweeping
    from tritonkit.load_bench import ServedBench

    first = first_settings(prepared.axes)
    with ServedBench(prepared.renderer, prepared.asked, first, seed) as bench:
        return Sweeping(prepared.wanted, bench, prepared.journal, progress).run()


def put_into_spec(prepared: Prepared, sweep: Sweep) -> bool:
    """Writes the choice into the spec; whether that changed it. Raises ProblemsError (TK889) where there is none."""
    from loadtest.run.problem import refused
    from loadtest.sweep.setting import Setting
    from loadtest.sweep.written import write_choice

    renderer = prepared.renderer
    if sweep.choice.settings is None:
        raise refused("TK889", str(renderer.spec_file), "no setting was chosen, so the spec is as it was",
                      "sweep for longer, or over other values")  # fmt: skip
    chosen = Setting.of(sweep.choice.settings)
    return write_choice(renderer.spec_file, renderer.spec, renderer.member, chosen, renderer.target)


def _promise(options: Options, renderer: Renderer) -> Promise:
    from loadtest.run.asked import Promise
    from loadtest.run.problem import refused

    own = renderer.plan.objective
    bound = options.p99_ms if options.p99_ms is not None else own.p99_ms if own else None
    if bound is None:
        raise refused("TK885", renderer.plan.spec_file, f"pipeline `{renderer.plan.name}` has no objective",
                      "write `objective: {p99_ms: 20, throughput_rps: 300}` into the spec, or give --p99-ms",
                      field="objective")  # fmt: skip
    if own is None:
        return Promise(bound)
    # Which rate is promised says nothing of a search for the highest one.
    return Promise(bound, None if options.find_max else own.throughput_rps, own.max_error_rate)


def _asked(options: Options, renderer: Renderer, promise: Promise) -> Asked:
    from loadtest.run.asked import Asked
    from loadtest.run.specs import hash_of, rate_of

    name = renderer.plan.name
    if options.find_max:
        own = renderer.plan.objective
        rate = options.rate or (own.throughput_rps if own else None) or DEFAULT_RATE_RPS
    else:
        rate = rate_of({name: promise}, {name: 1.0}, options.rate)
    protocol: Any = options.protocol
    return Asked(
        {name: promise}, {name: 1.0}, rate, options.seconds + SETTLE_S, seed=options.seed, protocol=protocol,
        senders=options.senders, lag_bound_ms=options.lag_bound_ms, command=options.command, spec=str(options.spec),
        spec_sha256=hash_of([options.spec]),
    )  # fmt: skip


def _check_rate(asked: Asked) -> None:
    """Raises ProblemsError for arrivals that cannot be drawn, before anything is started."""
    from loadtest.traffic.arrivals import draw

    draw(
        asked.kind, asked.rate_rps, asked.duration_s, asked.seed, mix=asked.mix, payloads=dict.fromkeys(asked.mix, 1)
    )


def _wanted(options: Options, axes: tuple[Axis, ...], renderer: Renderer, asked: Asked) -> Wanted:
    from loadtest.machine import machine
    from loadtest.results.run import Made, Objective
    from loadtest.run.session import PACKAGES
    from loadtest.sweep.sweep import Wanted
    from loadtest.sweep.written import as_yaml, edits_of

    [promise] = asked.promises.values()
    made = Made(
        command=options.command, started=datetime.now(UTC).isoformat(timespec="seconds"), spec=asked.spec,
        spec_sha256=asked.spec_sha256, target=options.target,
        machine=machine(*PACKAGES),
    )  # fmt: skip
    objective = Objective(
        p99_ms=promise.p99_ms, throughput_rps=promise.throughput_rps, max_error_rate=promise.max_error_rate
    )
    return Wanted(
        renderer.plan.name, objective, axes, renderer.member.name, float(asked.rate_rps or 0.0), options.find_max,
        options.rounds, options.seconds, SETTLE_S, options.budget, options.seed, options.keep_samples, made,
        lambda setting: as_yaml(edits_of(renderer.spec, renderer.member, setting, renderer.target)),
        lambda setting: renderer.of(setting).member.name,
    )  # fmt: skip


def _journal(
    options: Options, axes: tuple[Axis, ...], renderer: Renderer, asked: Asked, folder: Path
) -> Journal:  # fmt: skip
    """Its plan is what a sweep that goes on has to have in common with the one that was interrupted."""
    from loadtest.machine import machine
    from loadtest.run.session import PACKAGES
    from loadtest.sweep.axes import first_settings
    from loadtest.sweep.journal import CODE, RENDERED, Journal
    from loadtest.sweep.state import hash_of_code, hash_of_payloads, hashes_of_files
    from loadtest.traffic.payloads import payloads_of

    payloads = payloads_of(renderer.plan, renderer.project.root, options.seed, asked.sizes)

    [promise] = asked.promises.values()
    first = renderer.of(first_settings(axes)[0])
    plan = {
        "spec_sha256": asked.spec_sha256, "target": options.target, "member": renderer.member.name,
        "over": {axis.name: axis.as_json() for axis in axes}, "find_max": options.find_max,
        "rate_rps": asked.rate_rps, "p99_ms": promise.p99_ms, "seconds": options.seconds, "rounds": options.rounds,
        "seed": options.seed, "protocol": options.protocol, "senders": options.senders,
        "lag_bound_ms": options.lag_bound_ms, "budget_s": options.budget,
        CODE: hash_of_code(), RENDERED: hashes_of_files(first.files), "payloads_sha256": hash_of_payloads(payloads),
        "machine": {**machine(*PACKAGES), "name": platform.node()},
    }  # fmt: skip
    if options.resume is not None:
        return Journal.resume(folder, plan, SETTLE_S, asked.spec)
    return Journal.begin(folder, plan, SETTLE_S)


def _new_folder(project: Project, name: str) -> Path:
    """build/load/<pipeline>-sweep-<time>."""
    stem = f"{re.sub(r'[^A-Za-z0-9_.-]', '_', name)}-sweep-{datetime.now():%Y%m%d-%H%M%S}"
    folder, number = project.root / SWEEPS / stem, 1
    while folder.exists():
        number += 1
        folder = project.root / SWEEPS / f"{stem}-{number}"
    return folder


def write_report(folder: Path) -> Path:
    """report.html beside sweep.json, of it. Raises ProblemsError or OSError."""
    from loadtest.report.page import write_page

    file = folder / "report.html"
    write_page([folder], file)
    return file
