"""The files that lie beside a rendered model.py: what they are called there, and where they come from."""

from __future__ import annotations

from collections import Counter
from pathlib import PurePosixPath

from generator.plan import EngineProgram, FlowProgram, ModelPlan, PythonProgram


def parts_of(model: ModelPlan) -> tuple[ModelPlan, ...]:
    """The models whose programs run in it: its stages, else itself."""
    if isinstance(model.program, FlowProgram):
        return tuple(stage.model for stage in model.program.stages)
    return (model,)


def source_of(part: ModelPlan) -> str | None:
    """The file of the project that the program of `part` needs, a path from the root."""
    if isinstance(part.program, EngineProgram):
        return part.program.onnx
    return part.program.file if isinstance(part.program, PythonProgram) else None


def file_names(model: ModelPlan) -> dict[str, str]:
    """What the file of each part is called beside model.py, by the part's key."""
    parts = [part for part in parts_of(model) if source_of(part) is not None]
    sources = {PurePosixPath(source_of(part) or "") for part in parts}
    shared = {name for name, count in Counter(source.name for source in sources).items() if count > 1}
    return {part.key: _name(part, alone=part is model, shared=shared) for part in parts}


def _name(part: ModelPlan, *, alone: bool, shared: set[str]) -> str:
    if isinstance(part.program, EngineProgram):
        return "model.onnx" if alone else f"{part.key}.onnx"
    name = PurePosixPath(source_of(part) or "").name
    # Two stages may have their classes in files of one name, from different folders.
    return f"{part.key}_{name}" if name in shared else name
