"""What a model's process does with its tensors, as the runtime decides it."""

from __future__ import annotations

from typing import NamedTuple

from generator.plan import EngineProgram, FlowProgram, ModelPlan, PythonProgram, Stage, Steps, StepsProgram, Tensor
from generator.resolve.preprocessed import decodes_on_gpu, steps_on_gpu


class Pixels(NamedTuple):
    """What a kernel before an engine is given: images of any size, under the name of the engine's input; and the
    `file` that they are decoded from, where the GPU does that.
    """

    decoded: Tensor
    file: Tensor | None

    @property
    def crosses(self) -> Tensor:
        """What has to get to the GPU."""
        return self.file or self.decoded


def pixels_of(model: ModelPlan, part: ModelPlan) -> dict[str, Pixels]:
    """Input of the engine -> what a kernel makes it of."""
    if not isinstance(model.program, FlowProgram):
        return {}
    stages, answers = model.program.stages, [tensor.name for tensor in model.outputs]
    engine = next(stage for stage in stages if stage.model is part)
    steps = steps_on_gpu(engine, stages, answers)
    if steps is None:
        return {}
    [between], [image] = steps.outputs.values(), steps.model.inputs
    decoded = [parameters["to"] for name, parameters in _steps(steps) if name == "decode"]
    channels = {"gray": 1, "rgb": 3}[decoded[0]] if decoded else image.dims[-1]
    file = image if decodes_on_gpu(engine) else None
    return {
        name: Pixels(Tensor(name, "UINT8", (-1, -1, channels)), file)
        for name, given in engine.inputs.items() if given == between
    }  # fmt: skip


def _steps(stage: Stage) -> Steps:
    return stage.model.program.steps if isinstance(stage.model.program, StepsProgram) else ()


def stages_of(model: ModelPlan) -> tuple[Stage, ...]:
    """Those of its process; none where it runs one program."""
    return model.program.stages if isinstance(model.program, FlowProgram) else ()


def is_shared(part: ModelPlan) -> bool:
    """Whether it is an engine that one process has, for all instances."""
    buffers = part.program.buffers if isinstance(part.program, EngineProgram) else None
    return buffers is not None and buffers.is_shared


def is_staged_as_it_comes(model: ModelPlan, name: str) -> bool:
    """Whether the rows of a model's input go from each request straight into pinned memory, on a GPU.

    As the runtime decides it: engines alone take it, together with nothing that an earlier stage made.
    """
    if not isinstance(model.program, FlowProgram):
        return isinstance(model.program, EngineProgram)
    sent = {tensor.name for tensor in model.inputs}
    takers = [stage for stage in model.program.stages if name in stage.inputs.values()]
    return name not in {tensor.name for tensor in model.outputs} and all(
        isinstance(stage.model.program, EngineProgram) and sent.issuperset(stage.inputs.values()) for stage in takers
    )


def gets_a_copy(stage: Stage, name: str, stages: tuple[Stage, ...], model: ModelPlan) -> bool:
    """As the runtime decides it: a class of your own, unless an engine made the array for it alone."""
    if not isinstance(stage.model.program, PythonProgram):
        return False
    made = {n for s in stages if isinstance(s.model.program, EngineProgram) for n in s.outputs.values()}
    taken = [n for s in stages for n in s.inputs.values()] + [tensor.name for tensor in model.outputs]
    return name not in made or taken.count(name) > 1
