"""The bounds of a pipeline's latency histogram, as its server keeps them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from generator.config.model import LATENCY_FAMILY
from generator.plan import Plan
from generator.resolve.histogram import HISTOGRAMS_SINCE


def bounds_ms(plan: Plan) -> tuple[float, ...]:
    """The bounds that its server has; none where it keeps no histogram for it."""
    model = plan.ensemble or plan.models[0]
    if plan.target.server < HISTOGRAMS_SINCE:
        return ()
    if model.metrics is not None:
        return tuple(model.metrics.latency_buckets_ms)
    return _in_tritons_words(model.config.get("model_metrics"))


def tells_the_objective(plan: Plan) -> bool:
    """Whether a bound stands at the objective. The server counts whole milliseconds, rounded down."""
    if plan.objective is None:
        return False
    p99_ms, bounds = plan.objective.p99_ms, bounds_ms(plan)
    return p99_ms in bounds or math.floor(p99_ms) in bounds


def _in_tritons_words(said: Any) -> tuple[float, ...]:
    """Of `config: {model_metrics: ...}`, which the ModelConfig of the plan has been checked to hold."""
    for control in said.get("metric_control", ()) if isinstance(said, Mapping) else ():
        if control.get("metric_identifier", {}).get("family") == LATENCY_FAMILY:
            return tuple(control.get("histogram_options", {}).get("buckets", ()))
    return ()
