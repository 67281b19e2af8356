"""Tensors of a fused pipeline that may lie on its GPU: inputs of an engine that comes first, outputs of one alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from generator.collector import Collector
from generator.instances import groups_of
from generator.plan import EngineBuffers, EngineProgram, EnsemblePlan, FlowProgram, ModelPlan, Stage
from generator.spec.serving import InstanceGroup

FORCE_CPU = "FORCE_CPU_ONLY_INPUT_TENSORS"


def check_direct(
    stages: Sequence[Stage], pipeline: EnsemblePlan, parameters: Mapping[str, str], collect: Collector, *,
    one_gpu: bool,
) -> None:  # fmt: skip
    """That tensors of the stages can lie on the GPU where the spec wants them there; problems are collected.

    `parameters` are what the spec says itself; `one_gpu`: what `on_one_gpu` says of the instances.
    """
    for stage in stages:
        buffers, source = buffers_of(stage), stage.model.source
        if buffers is None:
            continue
        if buffers.outputs == "device" and (why := _why_not_left(stage, stages, pipeline)):
            collect.error(
                "TK229", (*source, "buffers", "outputs"),
                f"layout `fused` leaves no outputs of `{stage.model.key}` on the GPU: {why}",
                "say `outputs: host`, or let the engine be the whole pipeline, with tensors of one size",
            )  # fmt: skip
        if buffers.inputs == "host":
            continue
        if why := _why_not_taken(stage, stages, pipeline):
            hint = (
                "say `inputs: host`, or let the engine come first and alone take all that clients can send from a GPU"
            )
        elif parameters.get(FORCE_CPU, "no") != "no":
            why = (
                f'`parameters` say {FORCE_CPU}: "{parameters[FORCE_CPU]}", so that the server brings all to the host'
            )
            hint = "remove that parameter, or say `inputs: host`"
        elif not one_gpu:
            why = (
                "its instances are not all on one GPU that is stated, and a tensor on another GPU than an instance's "
                "would be refused"
            )
            hint = (
                "say `instances: [{kind: gpu, gpus: [0]}]` (one number, the same in every group), or `inputs: host`"
            )
        if why:
            collect.error(
                "TK229", (*source, "buffers", "inputs"),
                f"layout `fused` takes no inputs of `{stage.model.key}` from the GPU: {why}", hint,
            )  # fmt: skip


def on_one_gpu(groups: Sequence[InstanceGroup], config: Mapping[str, Any]) -> bool:
    """Whether all instances run on one GPU, whose number is said, in the spec's words or (`config`) Triton's."""
    found = list(groups_of(groups, config))
    numbers = {group.gpus for group in found}
    return {group.kind for group in found} == {"gpu"} and [len(gpus) for gpus in numbers] == [1]


def takes_from_gpu(model: ModelPlan) -> bool:
    """Whether the inputs of a fused model may come in its GPU's memory."""
    stages = model.program.stages if isinstance(model.program, FlowProgram) else ()
    buffers = buffers_of(stages[0]) if stages else None
    return buffers is not None and buffers.inputs == "device"


def leaves_on_gpu(model: ModelPlan) -> bool:
    """Whether its outputs stay there."""
    stages = model.program.stages if isinstance(model.program, FlowProgram) else ()
    buffers = buffers_of(stages[0]) if stages else None
    return buffers is not None and buffers.outputs == "device"


def buffers_of(stage: Stage) -> EngineBuffers | None:
    """Of an engine on a GPU."""
    program = stage.model.program
    return program.buffers if isinstance(program, EngineProgram) else None


def _why_not_taken(stage: Stage, stages: Sequence[Stage], pipeline: EnsemblePlan) -> str:
    """Why the engine does not alone take every tensor that clients could send from a GPU, none of any length."""
    if stage is not stages[0]:
        return f"`{stages[0].model.key}` comes before it"
    others = {name: other.model.key for other in stages[1:] for name in other.inputs.values()}
    answers, taken = {tensor.name for tensor in pipeline.outputs}, set(stage.inputs.values())
    for name in (tensor.name for tensor in pipeline.inputs if tensor.dtype != "STRING"):
        if name in others:
            return f"`{others[name]}` takes `{name}` too, on the host"
        if name in answers:
            return f"`{name}` is an answer too"
        if name not in taken:
            return f"it does not take `{name}`"
    return _of_any_length(stage)


def _of_any_length(stage: Stage) -> str:
    buffers = buffers_of(stage)
    if buffers is not None and buffers.open_lengths:
        return "its inputs are of any length (-1)"
    return "" if _is_fixed(stage) else "one of its outputs is of any length (-1)"


def _is_fixed(stage: Stage) -> bool:
    return all(-1 not in tensor.dims for tensor in stage.model.outputs)


def _why_not_left(stage: Stage, stages: Sequence[Stage], pipeline: EnsemblePlan) -> str:
    if others := [other.model.key for other in stages if other is not stage]:
        return f"`{others[-1]}` runs on the host"
    given = {tensor.name for tensor in pipeline.inputs} & {tensor.name for tensor in pipeline.outputs}
    if given:
        return f"`{min(given)}` is no output of it"
    return _of_any_length(stage)
