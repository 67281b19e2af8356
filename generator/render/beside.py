"""The files that lie beside a rendered model.py: what they are called there, and where they come from."""

from __future__ import annotations

from collections import Counter
from pathlib import PurePosixPath

from generator.engine.install.request import FILE_OF
from generator.plan import EngineProgram, ModelPlan, PythonProgram, StepsProgram

TAKEN = ("model.py", "tritonkit.json")


def source_of(part: ModelPlan, version: int) -> str | None:
    """The file of the project that the program of `part` needs in a version directory, a path from the root."""
    if isinstance(part.program, EngineProgram):
        return part.program.file_of(version).onnx
    return part.program.file if isinstance(part.program, PythonProgram | StepsProgram) else None


def file_names(model: ModelPlan) -> dict[str, str]:
    """What the file of each part is called beside model.py, in every version, by the part's key."""
    newest = model.newest()
    parts = [part for part in model.parts() if source_of(part, newest) is not None]
    sources = {PurePosixPath(source_of(part, newest) or "") for part in parts}
    shared = {name for name, count in Counter(source.name for source in sources).items() if count > 1}
    return {part.key: _name(part, newest, alone=part is model, shared=shared) for part in parts}


def _name(part: ModelPlan, version: int, *, alone: bool, shared: set[str]) -> str:
    if isinstance(part.program, EngineProgram):
        name = FILE_OF[part.program.engine]
        return name if alone else f"{part.key}{PurePosixPath(name).suffix}"
    name = PurePosixPath(source_of(part, version) or "").name
    # Two stages may have their classes in files of one name, from different folders; and one is taken already.
    return f"{part.key}_{name}" if name in shared or name in TAKEN else name
