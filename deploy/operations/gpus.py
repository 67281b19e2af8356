"""The GPUs of a pod: which instances run on them, and the kind that a release's engines were built for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from generator.engine.install.facts import facts_of
from generator.engine.install.store import installed
from generator.instances import ON_A_GPU, in_tritons_words
from generator.plan import EnginePart, ModelPlan, Plan
from generator.problems import Place
from generator.project import Project

_OF_ONE_GPU = {"tensorrt", "inductor"}
# How the driver's names begin. `h200` is shorter: there are several GPUs that people call so.
_WHOLE_NAMES = ("NVIDIA ", "NVIDIA-", "Tesla ", "Tesla-", "Quadro ", "Quadro-")


@dataclass(frozen=True)
class BuiltFor:
    """An engine of a pipeline that runs on a GPU; `product` is the node label it needs, empty where any will do.

    `is_built` is False where no engine is there to tell.
    """

    model: str
    product: str
    is_built: bool
    place: Place


def on_gpus(plans: Sequence[Plan], count: int) -> tuple[Plan, ...]:
    """The same plans as a pod with so many GPUs runs them: a group that names no GPU has its instances on each.

    What is counted from them is the pod's then. They are not for rendering: a repository says nothing of pods.
    """
    numbers = list(range(count))
    return tuple(
        replace(plan, models=tuple(_named(model, numbers) for model in plan.models)) if plan.target.gpu else plan
        for plan in plans
    )


def _named(model: ModelPlan, numbers: list[int]) -> ModelPlan:
    instances = tuple(
        group.model_copy(update={"gpus": numbers}) if group.kind in ON_A_GPU and not group.gpus else group
        for group in model.instances
    )
    said = model.config.get("instance_group")
    if not isinstance(said, list):
        return replace(model, instances=instances)
    config = {**model.config, "instance_group": [_named_group(group, numbers) for group in said]}
    return replace(model, instances=instances, config=config)


def _named_group(group: Any, numbers: list[int]) -> Any:
    """One in Triton's own words."""
    found = in_tritons_words(group)
    if found is None or found.gpus or found.kind not in ON_A_GPU:
        return group
    return {**group, "gpus": numbers}


def built_for(plans: Sequence[Plan], project: Project) -> Iterator[BuiltFor]:
    """Every engine of the plans that only runs on the GPU that it was built on."""
    for plan in plans:
        for engine in plan.engines():
            if plan.target.gpu and engine.program.engine in _OF_ONE_GPU and engine.program.build.hardware == "none":
                yield _of(plan, engine, project)


def label_of(gpu: str) -> str:
    """`NVIDIA-H200`: the driver's name, as NVIDIA's feature discovery labels nodes `nvidia.com/gpu.product`."""
    return gpu.strip().replace(" ", "-")


def label_of_target(gpu: str | None) -> str:
    """The node label where a target names its GPU as the driver does, `NVIDIA H200`; empty for `h200`."""
    return label_of(gpu) if gpu and gpu.strip().startswith(_WHOLE_NAMES) else ""


def _of(plan: Plan, engine: EnginePart, project: Project) -> BuiltFor:
    place = plan.places(*plan.path_of(engine.part.source, "engine"))
    found = installed(project, plan.target.name, engine.part.name, engine.program.newest)
    gpu = str(facts_of(found.manifest).get("gpu") or "") if found else ""
    return BuiltFor(engine.part.name, label_of(gpu), bool(gpu), place)
