"""A spec with the values of a setting in it: where each of them is said, in the spec's own words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from generator.plan import EngineProgram, ModelPlan, Plan
from generator.spec import Spec, Target
from generator.spec.serving import Batching, InstanceGroup
from loadtest.run.problem import refused
from loadtest.sweep.setting import DELAY, INSTANCES, LAYOUT, MAX_BATCH, PREFERRED, Setting

_BATCHING = (DELAY, PREFERRED, MAX_BATCH)


@dataclass(frozen=True)
class Member:
    """The model whose batcher is swept: its key in the spec, and its name in the repository.

    `own` are the fields that the spec says of this model alone (`batching`, `instances`), or has to, since others
    would change with it; the rest is its target's. `batching` is what the model has now.
    """

    key: str
    name: str
    own: frozenset[str]
    groups: tuple[InstanceGroup, ...]
    batching: Batching | None


def member_of(spec: Spec, plan: Plan, wanted: str | None, axes: tuple[str, ...]) -> Member:
    """The one model that owns what is swept, or the `wanted` one (its key or name).

    Raises ProblemsError when there is none, or several to choose from.
    """
    models = {model.name: model for model in plan.models}
    keys = {model.key: model for model in plan.models}
    if wanted is not None:
        model = keys.get(wanted) or models.get(wanted)
        if model is None:
            listed = ", ".join(f"`{name}`" for name in models)
            message = f"pipeline `{plan.name}` has no model `{wanted}`; there are {listed}"
            ensemble = plan.ensemble is not None and wanted == plan.ensemble.name
            hint = "an ensemble has no batcher of its own: name a model that it calls" if ensemble else ""
            raise refused("TK884", "--member", message, hint)
    else:
        engines = [m for m in plan.models if any(isinstance(part.program, EngineProgram) for part in m.parts())]
        found = engines or list(plan.models)
        if len(found) > 1:
            listed = ", ".join(f"`{m.key}`" for m in found)
            raise refused(
                "TK884", plan.spec_file, f"pipeline `{plan.name}` has several models to sweep: {listed}",
                f"choose one: --member {found[0].key}",
            )  # fmt: skip
        [model] = found
    _check_batches(plan, model, axes)
    own: frozenset[str] = frozenset()
    if (said := (spec.models or {}).get(model.key)) is not None:
        alone = len(plan.models) > 1 and wanted is not None
        own = frozenset(f for f in ("batching", "instances") if alone or getattr(said, f) is not None)
    if INSTANCES in axes and len(model.instances) > 1:
        raise refused(
            "TK882", "--over", f"model `{model.key}` has {len(model.instances)} groups of instances, and a number "
            "of instances is of one", "sweep the delay, or give the model one group",
        )  # fmt: skip
    return Member(model.key, model.name, own, model.instances, model.batching)


def _check_batches(plan: Plan, model: ModelPlan, axes: tuple[str, ...]) -> None:
    """Raises ProblemsError when what is swept needs dynamic batching and the model has none."""
    needing = [axis for axis in axes if axis in {DELAY, PREFERRED}]
    if needing and (model.batching is None or not model.batching.dynamic):
        why = "`max_batch_size` is 0" if model.max_batch_size == 0 else "`dynamic` is false"
        raise refused(
            "TK883", plan.spec_file, f"model `{model.key}` has no dynamic batching ({why}), so `{needing[0]}` means "
            "nothing to it", "write `batching: {max_batch_size: 32}`, or sweep `instances`", field="batching",
        )  # fmt: skip


def changes_of(member: Member, setting: Setting, target: str) -> dict[tuple[str, ...], Any]:
    """Path in the spec -> value as it is written there, for every axis of the setting."""
    found: dict[tuple[str, ...], Any] = {}
    for axis, value in setting.values:
        if axis == LAYOUT:
            found["targets", target, "layout"] = value
            continue
        field = "batching" if axis in _BATCHING else "instances"
        where = ("models", member.key) if field in member.own else ("targets", target)
        if field == "batching":
            found[*where, field, axis] = list(value) if isinstance(value, tuple) else value
        else:
            group = member.groups[0] if member.groups else InstanceGroup(kind="cpu")
            said = {"kind": group.kind, "count": value} | ({"gpus": list(group.gpus)} if group.gpus else {})
            found[*where, field] = [said]
    return found


def with_changes(spec: Spec, changes: Mapping[tuple[str, ...], Any], batching: Batching | None = None) -> Spec:
    """The spec as it would be read with these values in it. What they mean together is for `resolve` to say.

    `batching` is what a model has that says none of its own yet.
    """
    targets, models = dict(spec.targets), dict(spec.models or {})
    for (table, key, field, *inner), value in changes.items():
        if table == "targets":
            target = targets.get(key) or Target()
            targets[key] = target.model_copy(update=_update(target, field, inner, value, None))
        else:
            models[key] = models[key].model_copy(update=_update(models[key], field, inner, value, batching))
    return spec.model_copy(update={"targets": targets} | ({"models": models} if spec.models else {}))


def _update(holder: Any, field: str, inner: list[str], value: Any, without: Batching | None) -> dict[str, Any]:
    if field == "instances":
        return {field: [InstanceGroup(**group) for group in value]}
    if field != "batching":
        return {field: value}
    batching = getattr(holder, field) or without
    changed = {inner[0]: value}
    # Not validated by itself: a target's batching is judged together with the spec's.
    return {field: batching.model_copy(update=changed) if batching else Batching.model_construct(**changed)}
