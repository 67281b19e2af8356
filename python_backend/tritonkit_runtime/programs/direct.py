"""Which of a model's tensors may lie in its GPU's memory, told from its parameters."""

from __future__ import annotations

from dataclasses import dataclass

from tritonkit_runtime.parameters import (
    Buffers,
    EngineProgram,
    FlowProgram,
    ParameterError,
    Parameters,
    SingleProgram,
)

_AGAIN = "render the repository again"


@dataclass(frozen=True)
class Direct:
    """Inputs that may come there, outputs that stay there, and the tensors of BF16, which numpy does not have."""

    inputs: frozenset[str] = frozenset()
    outputs: frozenset[str] = frozenset()
    bf16: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.inputs or self.outputs or self.bf16)


def direct(parameters: Parameters) -> Direct:
    """What an engine that comes first takes from there, and an engine that is alone leaves there.

    ParameterError where another stage would have to read it.
    """
    inputs = frozenset(tensor.name for tensor in parameters.inputs)
    outputs = frozenset(tensor.name for tensor in parameters.outputs)
    bf16 = frozenset(tensor.name for tensor in (*parameters.inputs, *parameters.outputs) if tensor.dtype == "BF16")
    program = parameters.program
    if not isinstance(program, FlowProgram):
        buffers = _buffers(program)
        return Direct(
            inputs if buffers is not None and buffers.inputs == "device" else frozenset(),
            outputs if buffers is not None and buffers.outputs == "device" else frozenset(), bf16,
        )  # fmt: skip
    taken = frozenset[str]()
    for number, stage in enumerate(program.stages):
        buffers = _buffers(stage.program)
        if buffers is None:
            continue
        if buffers.inputs == "device":
            taken = frozenset(stage.takes.values())
            others = [name for other in program.stages if other is not stage for name in other.takes.values()]
            if number or taken & {*others, *outputs}:
                raise ParameterError(
                    f"stage {stage.name} takes inputs from the GPU, and is not the first and only one to: {_AGAIN}"
                )
        if buffers.outputs == "device" and len(program.stages) > 1:
            raise ParameterError(f"stage {stage.name} leaves its outputs on the GPU, and is not alone: {_AGAIN}")
    left = _buffers(program.stages[0].program)
    kept = outputs if left is not None and left.outputs == "device" else frozenset[str]()
    return Direct(taken, kept, bf16)


def _buffers(program: SingleProgram) -> Buffers | None:
    return program.buffers if isinstance(program, EngineProgram) else None
