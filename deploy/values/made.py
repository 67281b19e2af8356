"""Specs to the values of one release: what follows from them, each with where it comes from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from deploy.embedded.needs import needs_of
from deploy.operations import autoscaling, drain, sizes
from deploy.operations.autoscaling import Depth, Pods
from deploy.operations.cost import cost_of
from deploy.operations.drain import Drain
from deploy.operations.engines import Missing, missing_plans
from deploy.operations.gpus import BuiltFor, built_for, label_of_target, on_gpus
from deploy.operations.measured import Measured
from deploy.operations.sizes import PodMemory
from deploy.operations.startup import Startup, startup_of
from deploy.operations.words import shown
from deploy.values.parts import autoscaling_part, engine_part, pipelines_part, pod_part, server_part, times_part
from deploy.values.problems import problems_of_specs
from deploy.values.text import Section, data_of, text_of
from generator.memory import Memory
from generator.plan import Plan
from generator.problems import Problem, ProblemsError, errors
from generator.project import Project

HEADER = "Written by `tritonkit deploy values`"


@dataclass(frozen=True)
class Options:
    """What no spec says. `most_pods` is what the cluster has room for, `gpu_price_per_hour` of one GPU.

    `allow_vulnerable` takes releases that are refused for their known holes. `gpus` are those of a pod, where that is
    to have more than its pipelines need at least.
    """

    most_pods: int | None = None
    gpu_price_per_hour: float | None = None
    allow_vulnerable: bool = False
    gpus: int | None = None


@dataclass(frozen=True)
class Facts:
    """Every number of a release, decided once: what is written into values, and what values are checked against.

    `plans` are as the release's pods run them: each instance group names its GPUs. `least_gpus` is what they need.
    """

    plans: tuple[Plan, ...]
    measured: Measured
    options: Options
    drain: Drain
    startup: Startup
    memory: Memory
    pod: PodMemory
    gpus: int
    least_gpus: int
    engines: tuple[BuiltFor, ...]
    missing: Missing
    pods: Pods
    depth: Depth
    response_cache_bytes: int

    @property
    def product(self) -> str:
        """The node label of the GPU that the engines were built for, or will be, where the target names it as the
        driver does; empty where any will do, or none is known."""
        named = label_of_target(self.plans[0].target.gpu) if self.engines else ""
        return next((engine.product for engine in self.engines if engine.product), named)

    @property
    def is_of_one_gpu(self) -> bool:
        """Whether an engine runs on the kind of GPU alone that it was built on."""
        return bool(self.engines)


@dataclass(frozen=True)
class Values:
    """The values of one release, and warnings about how they came to be."""

    section: Section
    header: tuple[str, ...]
    facts: Facts
    problems: tuple[Problem, ...]

    @property
    def data(self) -> dict[str, Any]:
        """As the chart gets them."""
        return data_of(self.section)

    def text(self) -> str:
        """As YAML with comments."""
        return text_of(self.section, self.header)


def values_of(
    plans: Sequence[Plan], project: Project, *, measured: Measured | None = None, options: Options | None = None
) -> Values:
    """The values of one release with all these pipelines.

    Raises ProblemsError with everything that is wrong when any of it is an error; OSError where a model's file cannot
    be read.
    """
    facts = facts_of(plans, project, measured=measured or Measured(), options=options or Options())
    found = tuple(problems_of_specs(facts, project))
    if errors(found):
        raise ProblemsError(found)
    section: dict[str, Any] = {
        "pipelines": pipelines_part(facts.plans),
        **pod_part(facts),
        "server": server_part(facts),
        **times_part(facts),
        **engine_part(facts),
        "autoscaling": autoscaling_part(facts),
    }
    return Values(section, tuple(_header(facts)), facts, found)


def facts_of(plans: Sequence[Plan], project: Project, *, measured: Measured, options: Options) -> Facts:
    """Raises OSError where a model's file cannot be read."""
    least_gpus = sizes.gpus_of(plans)
    gpus = max(least_gpus, options.gpus or 0) if least_gpus else 0
    plans = on_gpus(plans, gpus) if gpus else tuple(plans)
    memory = sizes.together(plans, project)
    cache_bytes = needs_of(plans).response_cache_bytes
    pods = autoscaling.pods_of(plans, measured, options.most_pods)
    return Facts(
        plans=plans, measured=measured, options=options,
        drain=drain.drain_of(plans), startup=startup_of(plans, project), memory=memory,
        pod=sizes.pod_memory(plans, project, memory, cache_bytes), gpus=gpus, least_gpus=least_gpus,
        engines=tuple(built_for(plans, project)), missing=missing_plans(plans, project), pods=pods,
        depth=autoscaling.depth_of(plans, measured, pods.replicas), response_cache_bytes=cache_bytes,
    )  # fmt: skip


def _header(facts: Facts) -> Iterator[str]:
    specs = ", ".join(plan.spec_file for plan in facts.plans)
    target = facts.plans[0].target
    yield (
        f"{HEADER} from {specs} for target `{target.name}` (Triton {target.server}). Edit the specs, not this file; "
        "what is yours goes into a second values file. Everything else is as in the chart."
    )
    price = facts.options.gpu_price_per_hour
    if price is None:
        return
    for plan in facts.plans:
        best = facts.measured.best(plan.name)
        if best is None:
            yield f"What {plan.name} costs is not known: no load test shows what a pod carries at its objective."
            continue
        cost = cost_of(best, price, max(1, facts.gpus))
        if cost.per_million is not None:
            most = "at most " if cost.is_bound else ""
            yield (
                f"A million inferences of {plan.name} cost {most}{shown(cost.per_million.value)} at {shown(price)} "
                f"an hour for a GPU, in a pod under full load ({best.source})."
            )
