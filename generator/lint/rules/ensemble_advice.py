"""Ensembles that load, and are broken or slow: branches, and copies between GPU and CPU."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from generator.lint.ensemble import Flow, flow_of, members
from generator.lint.model import Model
from generator.lint.rule import NOTE, WARNING, Finding, rule

NEEDS = ("ensemble_scheduling",)
_ENGINES = ("tensorrt", "onnxruntime", "pytorch", "tensorflow")
_FORCE_CPU = "FORCE_CPU_ONLY_INPUT_TENSORS"


_SEEN_ON = "24.10"  # Triton 2.51


@rule("TK760", WARNING, "seen on 2.51: the server ended, or hung; core ensemble_scheduler.cc")
def side_by_side(model: Model) -> Iterator[Finding]:
    """Steps that run side by side.

    When one of two steps that do not wait for each other fails a request while the other runs, several requests at
    once end Triton 2.51, or make it hang, and with it everything that it serves. A request need only be bad for that.
    With one model after the other nothing of it was seen. Newer releases were not tried: for them it is a note.

    Bad:
        step { model_name: "left" model_version: -1 input_map { key: "x" value: "a" } output_map
    Good:
        step { model_name: "right" model_version: -1 input_map { key: "x" value: "b" } output_map
    """
    flow = flow_of(model)
    pair = _branches(flow) if flow is not None and len(flow.steps) > 1 and flow.is_sound else None
    if flow is None or pair is None:
        return
    one, other = (flow.steps[index].model_name for index in pair)
    text = f"`{one}` and `{other}` run side by side: when one of them fails a request, Triton 2.51 can hang or end"
    hint = "let one of them take a tensor of the other, or fuse them into one model"
    severity = None if model.release == _SEEN_ON else NOTE
    if severity is not None:
        hint += f"; not tried on {model.release}"
    yield model.found(flow.path(pair[1]), text, hint, severity=severity)


def _branches(flow: Flow) -> tuple[int, int] | None:
    """Two steps of which neither waits for the other; None where one follows the other all the way."""
    # In such an order, a chain is one in which each step waits for the one right before it: there is none between the
    # two that it could wait for instead.
    for one, other in itertools.pairwise(flow.order()):
        if one not in flow.before(other):
            return min(one, other), max(one, other)
    return None


@rule("TK762", NOTE, "python_backend pb_utils and python_be.cc; performance advice", live=False)
def through_the_cpu(model: Model) -> Iterator[Finding]:
    """What an engine leaves on the GPU is copied to the CPU for a Python step.

    A Python model gets all of its inputs on the CPU unless its parameter `FORCE_CPU_ONLY_INPUT_TENSORS` is "no". Each
    tensor that an engine on the GPU gives to it is copied for every request. With "no" it may get tensors on either.

    Bad:
        step { model_name: "after" model_version: -1
    Good:
        parameters { key: "FORCE_CPU_ONLY_INPUT_TENSORS" value { string_value: "no" } }
    """
    flow = flow_of(model)
    if flow is None or model.server.gpus == 0:
        return
    of = {index: member for index, _, member in members(model)}
    for index, member in of.items():
        if member.backend != "python" or _takes_gpu_tensors(member) or _is_ours(member):
            continue
        for before in flow.before(index):
            engine = of.get(before)
            if engine is not None and engine.backend in _ENGINES and _is_on_gpu(engine):
                hint = f'give `{member.name}` the parameter {_FORCE_CPU} "no" if it can take tensors on the GPU'
                text = f"what `{engine.name}` leaves on the GPU is copied to the CPU for `{member.name}`"
                yield model.found(f"{flow.path(index)}.model_name", text, hint)
                break


def _takes_gpu_tensors(model: Model) -> bool:
    parameters = model.config.parameters
    return _FORCE_CPU in parameters and parameters[_FORCE_CPU].string_value == "no"


def _is_ours(model: Model) -> bool:
    """Whether it was rendered by tritonkit, whose runtime works on arrays of the CPU whatever the parameter says."""
    return model.text.source.text.startswith("# Rendered by tritonkit")


def _is_on_gpu(model: Model) -> bool:
    return model.backend == "tensorrt" or any(g.kind == g.KIND_GPU for g in model.completed.instance_group)
