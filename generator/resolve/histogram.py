"""The latency histogram of what clients call: its bounds stand around the objective where the spec says none."""

from __future__ import annotations

from dataclasses import replace

from generator.plan import FilesProgram, Plan
from generator.spec.serving import Metrics

# Before it, a server has the histogram for decoupled models alone, and no field is needed for nothing.
HISTOGRAMS_SINCE = "26.01"
_SHARES = (0.25, 0.5, 0.75, 1.5, 2, 4)


def bounds_around(p99_ms: float) -> tuple[float, ...]:
    """Bounds in milliseconds, ascending: the objective itself, and whole milliseconds below and above it.

    The server counts whole milliseconds: between two of them no bound can tell anything.
    """
    bounds = {float(p99_ms), *(float(max(1, round(share * p99_ms))) for share in _SHARES)}
    return tuple(int(bound) if bound.is_integer() else bound for bound in sorted(bounds))


def with_histogram(plan: Plan) -> Plan:
    """The plan with a histogram around its objective: of the ensemble, or of its only model.

    Left as it is where the spec or `config` says one, where there is no objective, and where the server has none.
    """
    if plan.objective is None or plan.target.server < HISTOGRAMS_SINCE:
        return plan
    metrics = Metrics(latency_buckets_ms=list(bounds_around(plan.objective.p99_ms)))
    if plan.ensemble is not None:
        if plan.ensemble.metrics is not None or "model_metrics" in plan.ensemble.config:
            return plan
        return replace(plan, ensemble=replace(plan.ensemble, metrics=metrics))
    first, *others = plan.models
    said = first.metrics is not None or "model_metrics" in first.config
    if said or (isinstance(first.program, FilesProgram) and first.program.whole):
        return plan
    return replace(plan, models=(replace(first, metrics=metrics), *others))
