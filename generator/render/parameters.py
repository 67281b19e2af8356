"""tritonkit.json, which a rendered model reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from generator.plan import (
    EngineProgram,
    EnsemblePlan,
    FlowProgram,
    ModelPlan,
    Plan,
    PythonProgram,
    Stage,
    StepsProgram,
    Tensor,
)
from generator.render.beside import file_names
from generator.render.json_text import pretty

FORMAT = 1


def as_json(data: dict[str, Any]) -> bytes:
    """Stable, readable text; a list of numbers stands in one line."""
    return f"{pretty(data)}\n".encode()


def _tensors(tensors: Iterable[Tensor]) -> list[dict[str, Any]]:
    """As the backend sees them: reshaped where the configuration says so."""
    return [
        {
            "name": t.name,
            "dtype": t.dtype,
            "dims": list(t.dims if t.reshape is None else t.reshape),
            **({"optional": True} if t.optional else {}),
        }
        for t in tensors
    ]


def model_json(plan: Plan, model: ModelPlan) -> dict[str, Any]:
    """What a Python model is told: its tensors, limits, and program."""
    return {
        "format": FORMAT, "pipeline": plan.name, "model": model.name, "max_batch_size": model.max_batch_size,
        "inputs": _tensors(model.inputs), "outputs": _tensors(model.outputs),
        "limits": plan.limits.model_dump(), "program": _program(model),
    }  # fmt: skip


def _program(model: ModelPlan) -> dict[str, Any]:
    files = file_names(model)
    if isinstance(model.program, FlowProgram):
        return {"kind": "flow", "stages": [_stage(stage, files) for stage in model.program.stages]}
    return _single(model, files)


def _stage(stage: Stage, files: Mapping[str, str]) -> dict[str, Any]:
    return {
        "name": stage.model.key,
        "inputs": _tensors(_as_run(stage.model)), "outputs": _tensors(stage.model.outputs),
        "takes": dict(stage.inputs), "gives": dict(stage.outputs),
        "program": _single(stage.model, files),
    }  # fmt: skip


def _as_run(model: ModelPlan) -> list[Tensor]:
    """The inputs of a stage; in buffers no length is open that what comes before it settles."""
    buffers = model.program.buffers if isinstance(model.program, EngineProgram) else None
    lengths = {} if buffers is None else buffers.lengths
    return [replace(t, dims=lengths.get(t.name, t.dims)) for t in model.inputs]


def _single(model: ModelPlan, files: Mapping[str, str]) -> dict[str, Any]:
    """One program; `files` has the name of the file that it needs, by the model's key."""
    program = model.program
    if isinstance(program, StepsProgram):
        steps = [{"step": name, **parameters} for name, parameters in program.steps]
        if program.file is not None:
            steps = [{**step, **({"tokenizer": files[model.key]} if "tokenizer" in step else {})} for step in steps]
        return {"kind": "steps", "steps": steps}
    if isinstance(program, EngineProgram):
        return {
            "kind": "engine", "engine": program.engine, "file": files[model.key],
            "intra_op_threads": program.intra_op_threads,
            **({} if (buffers := program.buffers) is None else {"buffers": {
                "buckets": list(buffers.buckets), "slots": buffers.slots, "copies": buffers.copies,
                **({} if buffers.preprocess == "cpu" else {"preprocess": buffers.preprocess}),
                **({} if buffers.decode == "cpu" else {"decode": buffers.decode}),
                **({"lengths": list(buffers.open_lengths)} if buffers.open_lengths else {}),
                **({} if buffers.inputs == "host" else {"inputs": buffers.inputs}),
                **({} if buffers.outputs == "host" else {"outputs": buffers.outputs}),
                **({} if buffers.process == "own" else {"process": buffers.process}),
            }}),
        }  # fmt: skip
    if isinstance(program, PythonProgram):
        where = {"module": program.module} if program.file is None else {"file": files[model.key]}
        return {"kind": "python", "class": program.class_name, **where, "parameters": dict(program.arguments)}
    raise TypeError(f"{model.name}: a directory of files has no parameters")


def ensemble_json(plan: Plan, ensemble: EnsemblePlan) -> dict[str, Any]:
    """The pipeline's contract, for people and tools that find the repository without its spec."""
    return {
        "format": FORMAT, "pipeline": plan.name, "model": ensemble.name, "max_batch_size": ensemble.max_batch_size,
        "inputs": _tensors(ensemble.inputs), "outputs": _tensors(ensemble.outputs),
        "program": {"kind": "ensemble", "models": [step.model for step in ensemble.steps]},
    }  # fmt: skip
