"""What a target is, and what it changes in a spec."""

from __future__ import annotations

from generator.collector import Collector, did_you_mean, names
from generator.plan import TargetPlan
from generator.project import EMBEDDED
from generator.spec import Spec, Target
from generator.spec.serving import Batching, InstanceGroup

EMBEDDED_SERVER = "24.10"  # Triton 2.51.0, which the wheel carries
OLDEST, NEWEST = "24.10", "26.10"
EMBEDDED_BACKENDS = frozenset({"python"})
IMAGE_BACKENDS = frozenset({"python", "onnxruntime", "tensorrt"})


def target_plan(spec: Spec, name: str, collect: Collector) -> tuple[TargetPlan, Target]:
    """The target `name` of a spec. `embedded` is there unless it is null; others have to be in `targets`."""
    given = spec.targets.get(name)
    if given is None and name in spec.targets:
        message = f"the spec says `{name}: null`: the pipeline is for other targets"
        collect.error("TK212", ("targets", name), message, f"say `{name}: {{}}` if it can run there")
    elif given is None and name != EMBEDDED:
        known = [t for t in dict.fromkeys([EMBEDDED, *spec.targets]) if t not in spec.targets or spec.targets[t]]
        collect.error(
            "TK212",
            ("targets",),
            f"there is no target `{name}`; targets: {names(known)}",
            did_you_mean(name, known) or f'add it: `targets: {{{name}: {{server: "{NEWEST}"}}}}`',
        )
    target = given or Target()
    if name == EMBEDDED:
        for field, value in (("server", target.server), ("gpu", target.gpu)):
            if value is not None:
                collect.error(
                    "TK213",
                    ("targets", name, field),
                    f"`{field}` cannot be set for the embedded server, which is Triton {EMBEDDED_SERVER} on the CPU",
                    "remove it, or make it a target of another name",
                )
        return TargetPlan(name, EMBEDDED_SERVER, None, EMBEDDED_BACKENDS, target.memory), target
    server = target.server or NEWEST
    if not OLDEST <= server <= NEWEST:
        collect.error(
            "TK213",
            ("targets", name, "server"),
            f"server release {server} is not known; known are {OLDEST} to {NEWEST}",
            "use a release in that range",
        )
    return TargetPlan(name, server, target.gpu, IMAGE_BACKENDS, target.memory), target


def merged_batching(base: Batching, override: Batching | None) -> Batching:
    """`base` with the fields that `override` names replaced."""
    if override is None:
        return base
    return base.model_copy(update={field: getattr(override, field) for field in override.model_fields_set})


def dynamic(batching: Batching) -> Batching | None:
    """What a model is told of dynamic batching: nothing where it does not batch."""
    return batching if batching.dynamic and batching.max_batch_size > 0 else None


def instances_on(
    groups: list[InstanceGroup], target: TargetPlan, path: tuple[str | int, ...], collect: Collector
) -> tuple[InstanceGroup, ...]:
    """The groups as they run on `target`: Triton refuses KIND_GPU where there is no GPU."""
    placed = []
    for index, group in enumerate(groups):
        if group.kind == "gpu" and target.gpu is None:
            collect.note(
                "TK215",
                (*path, index, "kind"),
                f"target `{target.name}` has no GPU: {group.count} instance(s) run on the CPU there",
                f"say so under `targets: {{{target.name}: {{instances: …}}}}` to choose their number",
            )
            placed.append(InstanceGroup(kind="cpu", count=group.count))
        else:
            placed.append(group)
    return tuple(placed)
