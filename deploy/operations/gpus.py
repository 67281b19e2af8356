"""The GPU that a release's engines were built for, as nodes are labelled with it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from generator.engine.install.facts import facts_of
from generator.engine.install.store import installed
from generator.plan import EnginePart, Plan
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
