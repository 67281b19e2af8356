"""An ensemble and its models as one spec of the full form: a `flow`."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from generator.adopt import serving
from generator.adopt.model import Drafted, declared, given
from generator.adopt.repository import Found, unset
from generator.adopt.words import words_of
from generator.config.messages import ModelConfig

Words = dict[str, Any]
NEWEST = -1
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_ROOM = 50  # of a key's 64 characters, so that a number fits behind them


class NoFlowError(Exception):
    """Why a flow cannot say what an ensemble says: a sentence, and the field in its config.pbtxt."""

    def __init__(self, why: str, field: str) -> None:
        super().__init__(why)
        self.why, self.field = why, field


def check_steps(ensemble: Found, models: Mapping[str, Found], users: Mapping[str, Sequence[str]]) -> None:
    """Raises NoFlowError for what no flow says. `users` are the ensembles that have a model as a step."""
    steps = ensemble.message.ensemble_scheduling.step
    if not steps:
        raise NoFlowError("it has no steps", "ensemble_scheduling")
    for index, step in enumerate(steps):
        field = f"ensemble_scheduling.step[{index}]"
        name = step.model_name
        if step.model_namespace:
            raise NoFlowError(f"step {index} has a `model_namespace`", f"{field}.model_namespace")
        if step.model_version != NEWEST and step.model_version < 1:
            raise NoFlowError(
                f"step {index} takes version {step.model_version} of `{name}`; a flow takes the newest (-1), or one "
                "from 1 on",
                f"{field}.model_version",
            )
        if name not in models:
            raise NoFlowError(
                f"its step `{name}` is no model of the repository with a config.pbtxt", f"{field}.model_name"
            )
        if models[name].is_ensemble:
            raise NoFlowError(f"its step `{name}` is an ensemble too", f"{field}.model_name")
        others = [user for user in users[name] if user != ensemble.name]
        if others:
            raise NoFlowError(f"model `{name}` is also a step of `{others[0]}`", f"{field}.model_name")
    _check_order(steps)
    if ensemble.versions != [1]:
        there = ", ".join(map(str, ensemble.versions)) or "none"
        raise NoFlowError(f"an ensemble of a flow has version 1 alone, and this one has: {there}", "name")


def _check_order(steps: Sequence[Any]) -> None:
    """Raises NoFlowError where a step stands before one whose tensor it takes: a flow has them as they run."""
    makers = {tensor: index for index, step in enumerate(steps) for tensor in step.output_map.values()}
    for index, step in enumerate(steps):
        for tensor in sorted(step.input_map.values()):
            if makers.get(tensor, -1) > index:
                raise NoFlowError(
                    f"step {index} takes `{tensor}`, which a later step gives; a flow has its steps in the order in "
                    "which they run",
                    f"ensemble_scheduling.step[{index}]",
                )


def flow_spec(ensemble: Found, files: str, members: Mapping[str, Drafted], models: Mapping[str, Found]) -> Words:
    """The spec's fields but for its targets. `members` are the models of the steps by name, in their order.

    Raises NoFlowError.
    """
    rest = ModelConfig()
    rest.CopyFrom(ensemble.message)
    tensors = declared(ensemble, rest, files)
    size = rest.max_batch_size
    if tensors is None:
        raise NoFlowError("it has a tensor that a spec cannot declare", "")
    if ensemble.message.name not in {"", ensemble.name}:
        raise NoFlowError(f"it calls itself `{ensemble.message.name}`", "name")
    inputs, outputs, left = tensors
    for side, found in (("input", inputs), ("output", outputs)):
        _leave_reshapes(found, left.setdefault(side, []))
    keys = member_keys(ensemble.name, list(members))
    steps = [_step(step, keys[step.model_name], models[step.model_name]) for step in rest.ensemble_scheduling.step]
    unset(rest, "platform", "max_batch_size", "ensemble_scheduling.step")
    if not rest.ensemble_scheduling.ListFields():
        unset(rest, "ensemble_scheduling")
    nameless = {} if ensemble.message.name else {"name": ""}
    said = given(response_cache=serving.caches(rest), metrics=serving.metrics_of(rest))
    parts = {keys[name]: member(name, keys[name], ensemble.name, drafted) for name, drafted in members.items()}
    return {
        "name": ensemble.name, "inputs": inputs, "outputs": outputs, "models": parts,
        "flow": steps, "batching": {"max_batch_size": size}, **said,
        **given(config=nameless | words_of(rest) | given(**left)),
    }  # fmt: skip


def _leave_reshapes(tensors: Words, left: list[Words]) -> None:
    """A pipeline's own tensors have no `reshape` in a spec, where it is between a model and its backend."""
    for name, tensor in tensors.items():
        if "reshape" in tensor:
            entry = next((entry for entry in left if entry["name"] == name), None)
            if entry is None:
                left.append(entry := {"name": name})
            entry["reshape"] = {"shape": tensor.pop("reshape")}


def member(name: str, key: str, pipeline: str, drafted: Drafted) -> Words:
    """A model beside others: with its tensors, and its name where the key does not say it."""
    named = {} if name == f"{pipeline}_{key}" else {"name": name}
    files = {"files": drafted.model["files"]}
    return {**named, **files, **given(inputs=drafted.inputs, outputs=drafted.outputs), **drafted.model}


def _step(step: Any, key: str, model: Found) -> Words:
    """One step; maps that only repeat names are left out where the spec would write them itself."""
    said: Words = {"model": key} | ({} if step.model_version == NEWEST else {"version": step.model_version})
    required = {tensor.name for tensor in model.message.input if not tensor.optional}
    sides = (
        ("inputs", step.input_map, required),
        ("outputs", step.output_map, {tensor.name for tensor in model.message.output}),
    )
    for side, mapping, names in sides:
        pairs = {name: mapping[name] for name in sorted(mapping)}
        if set(pairs) != names or any(ours != theirs for ours, theirs in pairs.items()):
            said[side] = pairs
    return said


def member_keys(pipeline: str, names: Sequence[str]) -> dict[str, str]:
    """A key for each model: its name without the pipeline's in front, where that is one."""
    keys: dict[str, str] = {}
    for name in names:
        short = name.removeprefix(f"{pipeline}_")
        key = short if _KEY.fullmatch(short) else re.sub(r"[^A-Za-z0-9_-]", "_", name)[:_ROOM]
        keys[name] = free_key(key, keys.values())
    return keys


def free_key(key: str, taken: Collection[str]) -> str:
    """The key, with a number behind it if it is among those `taken`."""
    found, number = key, 2
    while found in taken:
        found, number = f"{key[:_ROOM]}_{number}", number + 1
    return found
