"""What the specs of a load test say: their plans, their promises, and the mix that follows."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from loadtest.run.asked import Promise
from loadtest.run.problem import refused
from loadtest.traffic.shapes import SHAPES

if TYPE_CHECKING:
    from generator.plan import Plan
    from generator.project import Project


def plans_of(project: Project, specs: Sequence[Path], target: str) -> list[Plan]:
    """What these specs ask for, in their order, without rendering. Raises ProblemsError."""
    from generator.workspace import open_workspace

    work = open_workspace(project, specs, target)
    work.stop_on_errors()
    return work.plans[target]


def hash_of(specs: Sequence[Path]) -> str:
    """SHA-256 of the specs' texts, one after the other. Raises OSError."""
    whole = hashlib.sha256()
    for spec in specs:
        whole.update(spec.read_bytes())
    return whole.hexdigest()


def promises_of(plans: Sequence[Plan], p99_ms: float | None = None) -> dict[str, Promise]:
    """Pipeline -> what it promises; `p99_ms` counts instead of the specs' own bound.

    Raises ProblemsError when there is neither.
    """
    found = {}
    for plan in plans:
        own = plan.objective
        bound_ms = p99_ms if p99_ms is not None else own.p99_ms if own is not None else None
        if bound_ms is None:
            raise refused(
                "TK870", plan.spec_file, f"pipeline `{plan.name}` has no objective, so there is nothing to judge",
                "write `objective: {p99_ms: 20, throughput_rps: 300}` into the spec, or give --p99-ms",
                field="objective",
            )  # fmt: skip
        if own is None:
            found[plan.name] = Promise(bound_ms)
        else:
            found[plan.name] = Promise(bound_ms, own.throughput_rps, own.max_error_rate)
    return found


def rate_of(promises: Mapping[str, Promise], mix: Mapping[str, float], asked: float | None) -> float:
    """Requests a second of all pipelines: what is asked, else what the promises of those in the mix sum up to.

    Raises ProblemsError when there is none.
    """
    if asked is None:
        missing = [name for name in mix if promises[name].throughput_rps is None]
        if missing:
            raise refused(
                "TK871", "--rate", f"the objective of `{missing[0]}` says no `throughput_rps` to send",
                "give --rate, or write `throughput_rps` into the objective",
            )  # fmt: skip
        return sum(promises[name].throughput_rps or 0.0 for name in mix)
    return asked


def mix_of(plans: Sequence[Plan], promises: Mapping[str, Promise], asked: str | None) -> dict[str, float]:
    """Pipeline -> weight, in the order of the plans, of `A=0.7,B=0.3`.

    Without it: by the promised throughput, where all promise one, else equal. Raises ProblemsError.
    """
    names = [plan.name for plan in plans]
    if asked is None:
        promised = [promises[name].throughput_rps for name in names]
        known = [rate for rate in promised if rate is not None]
        return dict(zip(names, known if len(known) == len(names) else [1.0] * len(names), strict=True))
    weights: dict[str, float] = {}
    if not asked.strip():
        raise refused(
            "TK877",
            "--mix",
            "it is empty, and no share of a pipeline",
            f"write it as {names[0]}=0.7,..., or leave it out",
        )
    for word in asked.split(","):
        name, _, text = (part.strip() for part in word.partition("="))
        try:
            weight = float(text)
        except ValueError:
            weight = 0.0
        if not 0 < weight < float("inf"):
            raise refused(
                "TK877", "--mix", f"`{word}` is no share of a pipeline", "write it as digits=0.7,photos=0.3"
            )
        if name not in names or name in weights:
            what = "is named twice" if name in weights else "is of none of the specs"
            raise refused("TK877", "--mix", f"`{name}` {what}", f"the specs are of {', '.join(names)}")
        weights[name] = weight
    if missing := [name for name in names if name not in weights]:
        raise refused("TK877", "--mix", f"`{missing[0]}` has no share", "name every pipeline, or leave its spec out")
    return {name: weights[name] for name in names}


def shape_of(asked: str | None, kind: str) -> dict[str, float]:
    """Settings of arrivals of a `kind`, of `times=5,every_s=10`. Raises ProblemsError for what it does not have."""
    found: dict[str, float] = {}
    _, known = SHAPES.get(kind, (None, ()))
    for word in asked.split(",") if asked else ():
        name, _, text = (part.strip() for part in word.partition("="))
        try:
            value = float(text)
        except ValueError as error:
            raise refused(
                "TK878", "--shape", f"`{word}` is no setting of arrivals", "write it as times=5,every_s=10"
            ) from error
        if name not in known:
            has = f"it has {', '.join(f'`{one}`' for one in known)}" if known else "it has none; leave --shape out"
            raise refused("TK853", "--shape", f"arrivals `{kind}` have no setting `{name}`", has)
        if name in found:
            raise refused("TK878", "--shape", f"`{name}` is given twice", "give it once")
        found[name] = value
    return found
