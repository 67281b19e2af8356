"""Steps and the engine that takes what they give, where one kernel on the GPU can fill the engine's input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tritonkit_runtime.parameters import (
    EngineProgram,
    FlowProgram,
    ParameterError,
    StageSpec,
    StepsProgram,
    TensorSpec,
)
from tritonkit_runtime.preprocess.pattern import why_not


@dataclass(frozen=True)
class Pair:
    """Two stages as one.

    `input` is the engine's name of the tensor between them, `given` the flow's of what comes in. `spec` is the two as
    one stage, whose tensors have the flow's names.
    """

    steps: StageSpec
    engine: StageSpec
    input: str
    given: str
    spec: StageSpec


def pairs(program: FlowProgram, outputs: Sequence[TensorSpec]) -> list[Pair]:
    """One for each engine whose `preprocess` is not `cpu`; ParameterError where nothing before it can be a kernel."""
    taken = [name for stage in program.stages for name in stage.takes.values()]
    taken += [tensor.name for tensor in outputs]
    found = []
    for stage in program.stages:
        buffers = stage.program.buffers if isinstance(stage.program, EngineProgram) else None
        if buffers is None or buffers.preprocess == "cpu":
            continue
        able = [
            _pair(before, stage, inside)
            for inside, name in stage.takes.items()
            for before in program.stages
            if list(before.gives.values()) == [name] and taken.count(name) == 1 and _is_a_kernel(before)
        ]
        if not able:
            raise ParameterError(
                f"stage {stage.name} wants its preprocess on the GPU, and no stage of steps before it can be there: "
                "render the repository again"
            )
        found.append(able[0])
    return found


def _is_a_kernel(stage: StageSpec) -> bool:
    steps = stage.program.steps if isinstance(stage.program, StepsProgram) else ()
    return bool(steps) and len(stage.inputs) == 1 and not why_not([(step.name, step.arguments) for step in steps])


def _pair(steps: StageSpec, engine: StageSpec, inside: str) -> Pair:
    [image], [given] = steps.inputs, steps.takes.values()
    others = {name: flow for name, flow in engine.takes.items() if name != inside}
    inputs = [replace(tensor, name=others[tensor.name]) for tensor in engine.inputs if tensor.name in others]
    spec = replace(
        engine, inputs=(replace(image, name=given), *inputs), takes={flow: flow for flow in (given, *others.values())}
    )
    return Pair(steps, engine, inside, given, spec)
