"""Decoupled models in an ensemble: what cannot be joined, and what they make of it."""

from __future__ import annotations

from collections.abc import Iterator

from generator.config.since import since
from generator.lint.ensemble import Flow, flow_of, is_decoupled, members
from generator.lint.model import Model
from generator.lint.rule import ERROR, NOTE, WARNING, Finding, rule

NEEDS = ("ensemble_scheduling",)
_IN_FLIGHT = "ensemble_scheduling.max_inflight_requests"


@rule("TK791", ERROR, "core ensemble_utils.cc, ValidateEnsembleConfig")
def decoupled_branches(model: Model) -> Iterator[Finding]:
    """A step joins tensors of different decoupled models.

    A decoupled model answers a request any number of times. What it answers cannot be joined with a tensor that came
    another way: from another decoupled model, or from the request itself. That holds of a step's inputs, and of all
    outputs of the ensemble together.

    Bad:
        input_map { key: "x" value: "b" }
        input_map { key: "z" value: "a" }
    Good:
        input_map { key: "x" value: "b" }
        input_map { key: "z" value: "d" }
    """
    flow = flow_of(model)
    if flow is None:
        return
    found = list(members(model))
    if any(member.is_open for _, _, member in found):
        return
    decoupled = {index: member.name for index, _, member in found if is_decoupled(member)}
    if not decoupled:
        return
    label: dict[str, int] = dict.fromkeys(flow.inputs, -1)
    hint = "let both come from outputs of one step, or fuse the models"
    for index in flow.order():
        step = flow.steps[index]
        names = [name for _, name in sorted(step.input_map.items()) if name in label]
        mixed = next((name for name in names if label[name] != label[names[0]]), None)
        if mixed is not None:
            joined = f"{_origin(flow, names[0], label)} with {_origin(flow, mixed, label)}"
            text = f"the step of `{step.model_name}` joins {joined}"
            yield model.found(flow.path(index), text, hint)
            return
        for name in step.output_map.values():
            label.setdefault(name, index if index in decoupled else label[names[0]] if names else -1)
    outputs = [name for name in flow.outputs if name in label]
    mixed = next((name for name in outputs if label[name] != label[outputs[0]]), None)
    if mixed is not None:
        text = f"the outputs join {_origin(flow, outputs[0], label)} with {_origin(flow, mixed, label)}"
        yield model.found(f"output[{flow.outputs.index(mixed)}].name", text, hint)


def _origin(flow: Flow, name: str, label: dict[str, int]) -> str:
    index = label[name]
    return (
        f"`{name}`, which {f'decoupled `{flow.steps[index].model_name}` makes' if index >= 0 else 'is not decoupled'}"
    )


@rule("TK761", NOTE, "core ensemble_utils.cc, ValidateEnsembleConfig: decoupled if a step is")
def decoupled_member(model: Model) -> Iterator[Finding]:
    """A decoupled model makes its ensemble decoupled.

    The server takes the whole ensemble for decoupled, whatever it says itself: it answers over gRPC streams alone,
    each request any number of times, its HTTP service refuses it, and it cannot be cached.

    Bad:
        model_transaction_policy { decoupled: true }
    Good:
        model_transaction_policy { decoupled: false }
    """
    for index, _, member in members(model):
        if is_decoupled(member):
            text = f"`{member.name}` is decoupled, and so is the ensemble: it can be asked over gRPC streams alone"
            yield model.found(f"ensemble_scheduling.step[{index}].model_name", text)
            return


@rule("TK763", WARNING, "core ensemble_scheduler.cc; field since 25.11", live=False)
def unbounded_answers(model: Model) -> Iterator[Finding]:
    """Nothing bounds what a decoupled step has in flight.

    A decoupled step may answer faster than the steps behind it work, and what waits for them is kept in memory.
    `max_inflight_requests` makes it wait. The field is known since 25.11.

    Bad:
        ensemble_scheduling {
          step { model_name: "many" model_version: -1
    Good:
        ensemble_scheduling {
          max_inflight_requests: 16
          step { model_name: "many" model_version: -1
    """
    flow = flow_of(model)
    if flow is None or model.config.ensemble_scheduling.max_inflight_requests or model.release < since(_IN_FLIGHT):
        return
    for index, step, member in members(model):
        if is_decoupled(member) and any(flow.tensors[name].readers for name in step.output_map.values()):
            text = f"`{member.name}` is decoupled, and nothing bounds how many of its answers wait for the next step"
            yield model.found(f"ensemble_scheduling.step[{index}].model_name", text, "write `max_inflight_requests`")
            return
