"""What is wrong with making one release of these specs and measurements."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from deploy.operations.buckets import bounds_ms, tells_the_objective
from deploy.operations.measured import Load, why_not
from deploy.operations.releases import REFUSED_BEFORE, SOUND, holes_of, is_refused
from generator.plan import Plan
from generator.problems import Place, Problem, Severity
from generator.project import Project

if TYPE_CHECKING:
    from deploy.values.made import Facts

WARNING = Severity.WARNING


def problems_of_specs(facts: Facts, project: Project) -> Iterator[Problem]:
    """Everything, errors and warnings, at its place in the specs or the measurement."""
    yield from _objectives(facts)
    yield from _servers(facts)
    yield from _holes(facts)
    yield from _histograms(facts)
    yield from _engines(facts)
    yield from facts.missing.problems
    yield from _measured(facts, project)
    yield from _pods(facts)


def _at(plan: Plan, field: str) -> tuple[Place, str]:
    path = ("targets", plan.target.name, field)
    return plan.places(*path), ".".join(path)


def _objectives(facts: Facts) -> Iterator[Problem]:
    for plan in facts.plans:
        if plan.objective is None:
            yield Problem(
                "TK439", plan.places(), "objective",
                f"`{plan.name}` promises nothing, and drain, alerts and autoscaling follow from what is promised",
                "add `objective: {p99_ms: …}` to the spec",
            )  # fmt: skip


def _servers(facts: Facts) -> Iterator[Problem]:
    first, *others = facts.plans
    for plan in others:
        for field, one, other in (
            ("server", first.target.server, plan.target.server), ("gpu", first.target.gpu, plan.target.gpu),
        ):  # fmt: skip
            if one != other:
                place, path = _at(plan, field)
                yield Problem(
                    "TK420", place, path,
                    f"`{plan.name}` has {field} {other or 'none'}, `{first.name}` {one or 'none'}; a release has one",
                    "give the specs the same, or make a release of each",
                )  # fmt: skip


def _holes(facts: Facts) -> Iterator[Problem]:
    plan = facts.plans[0]
    release = plan.target.server
    holes = holes_of(release)
    if not holes:
        return
    place, path = _at(plan, "server")
    names = ", ".join(hole.cve for hole in holes)
    whats = "; ".join(dict.fromkeys(hole.what for hole in holes))
    refused = is_refused(release) and not facts.options.allow_vulnerable
    hint = f'say `server: "{SOUND}"` or later'
    if refused:
        hint += "; `--allow-vulnerable` takes it as it is, for a cluster that nobody else reaches"
    message = f"Triton {release} has known holes: {names} ({whats})"
    if refused:
        message += f"; before {REFUSED_BEFORE} a release is refused"
    yield Problem("TK421", place, path, message, hint, Severity.ERROR if refused else WARNING)


def _histograms(facts: Facts) -> Iterator[Problem]:
    for plan in facts.plans:
        bounds = bounds_ms(plan)
        if plan.objective is not None and bounds and not tells_the_objective(plan):
            model = plan.ensemble or plan.models[0]
            yield Problem(
                "TK430", plan.places(*model.source, "metrics", "latency_buckets_ms"), "metrics.latency_buckets_ms",
                f"none of the bounds {', '.join(f'{bound:g}' for bound in bounds)} is the objective's "
                f"{plan.objective.p99_ms:g} ms, so that alerts go by the mean",
                "add it to the bounds, or remove `metrics`: then they are put around the objective", WARNING,
            )  # fmt: skip


def _engines(facts: Facts) -> Iterator[Problem]:
    known = [engine for engine in facts.engines if engine.product]
    for engine in known[1:]:
        if engine.product != known[0].product:
            yield Problem(
                "TK426", engine.place, "",
                f"the engine of `{engine.model}` was built on {engine.product}, that of `{known[0].model}` on "
                f"{known[0].product}: no pod has both",
                "build them on the same kind of GPU, or make a release of each",
            )  # fmt: skip
    missing = [engine for engine in facts.engines if not engine.is_built]
    if missing:
        listed = ", ".join(f"`{engine.model}`" for engine in missing)
        left = (
            "" if facts.product else ", so `gpu.product` is left open and a pod may land on a GPU that cannot load it"
        )
        yield Problem(
            "TK433", missing[0].place, "", f"no engine of {listed} has been built for this target{left}",
            f"`tritonkit build --target {facts.plans[0].target.name}` where such a GPU is, or set gpu.product",
            WARNING,
        )  # fmt: skip


def _measured(facts: Facts, project: Project) -> Iterator[Problem]:
    by_name = {plan.name: plan for plan in facts.plans}
    for load in facts.measured.loads:
        plan = by_name.get(load.pipeline)
        if plan is None:
            yield Problem(
                "TK428", Place(load.source), "pipeline",
                f"it is of `{load.pipeline}`; the specs are of {', '.join(f'`{name}`' for name in by_name)}",
                "leave it out, or name its spec too",
            )  # fmt: skip
    for name, plan in by_name.items():
        loads = facts.measured.of(name)
        if loads:
            yield from _of_pipeline(plan, loads, project)
            if facts.measured.best(name) is None:
                yield Problem(
                    "TK429", Place(loads[-1].source), "judgement", f"`{name}`: {why_not(loads)}",
                    "measure longer or at a lower rate; until then replicas and the autoscaler's target are not "
                    "derived from it", WARNING,
                )  # fmt: skip


def _of_pipeline(plan: Plan, loads: tuple[Load, ...], project: Project) -> Iterator[Problem]:
    """What was measured has to be what is deployed: each difference once."""
    told: set[str] = set()
    now = _sha256(plan, project)
    for load in loads:
        for text, hint in _differences(plan, load, now):
            if text not in told:
                told.add(text)
                yield Problem("TK428", Place(load.source), "made", text, hint, WARNING)


def _differences(plan: Plan, load: Load, now: str) -> Iterator[tuple[str, str]]:
    if load.target and load.target != plan.target.name:
        yield (
            f"`{plan.name}` was measured on target `{load.target}`, which says little of `{plan.target.name}`",
            f"measure a pod of `{plan.target.name}`: `tritonkit load run --url`",
        )
    if load.spec_sha256 and now and load.spec_sha256 != now:
        yield f"{plan.spec_file} has changed since `{plan.name}` was measured", "measure again"
    for field, measured, planned in _other_settings(plan, load):
        yield (
            f"`{load.member}` was measured with {field} {measured}; on `{plan.target.name}` it is {planned}",
            "put the measured setting into the spec, or measure what is there",
        )
    promised = plan.objective.p99_ms if plan.objective else None
    if promised is not None and load.objective_p99_ms not in {None, promised}:
        yield (
            f"`{plan.name}` was judged by a p99 of {load.objective_p99_ms:g} ms; the spec promises {promised:g} ms",
            "measure again",
        )


def _other_settings(plan: Plan, load: Load) -> Iterator[tuple[str, object, object]]:
    """What a sweep set at a model, and the plan has otherwise: field, measured, planned."""
    for model in plan.models:
        if model.name != load.member:
            continue
        has: dict[str, object] = {"instances": model.instance_count(), "max_batch_size": model.max_batch_size}
        if model.batching is not None:
            has |= {"max_queue_delay_us": model.batching.max_queue_delay_us, "preferred": model.batching.preferred}
        for field, value in load.settings.items():
            if field in has and has[field] != value:
                yield field, value, has[field]


def _sha256(plan: Plan, project: Project) -> str:
    try:
        return hashlib.sha256(project.path(plan.spec_file).read_bytes()).hexdigest()
    except OSError:
        return ""


def _pods(facts: Facts) -> Iterator[Problem]:
    most = facts.options.most_pods
    if most is not None and facts.pods.replicas > most:
        plan = next(
            (plan for plan in facts.plans if plan.objective and plan.objective.throughput_rps), facts.plans[0]
        )
        yield Problem(
            "TK427", plan.places("objective", "throughput_rps"), "objective.throughput_rps",
            f"the promised throughput takes {facts.pods.replicas} pods ({facts.pods.why}); there is room for {most}",
            "promise less, make a pod carry more (`tritonkit load sweep --find-max`), or give it more room",
        )  # fmt: skip
