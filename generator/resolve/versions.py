"""The versions of a model: which there are, which are served, and whether all of an engine have the same tensors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from generator.collector import Collector
from generator.collector import Path as FieldPath
from generator.plan import FilesProgram, ModelPlan, OnnxVersion
from generator.project import Project
from generator.resolve.onnx_graph import OnnxGraph, OnnxGraphError, read
from generator.spec.models import EngineModel, FlowStep, Model, onnx_versions
from generator.spec.serving import NEWEST
from generator.write.names import version_number


def read_graphs(
    project: Project, model: EngineModel | Model, path: FieldPath, collect: Collector
) -> OnnxGraph | None:
    """The graph of the newest served version of `model`, with the files of all; None after a problem.

    `path` leads to the model's `onnx`.
    """
    assert model.onnx is not None  # noqa: S101  (for the type checker: callers have looked)
    files = onnx_versions(model.onnx)
    several = not isinstance(model.onnx, str)
    places: dict[int, FieldPath] = {number: (*path, str(number)) if several else path for number in files}
    found = {number: _read(project, file, places[number], collect) for number, file in files.items()}
    graphs = {number: graph for number, graph in found.items() if graph is not None}
    if len(graphs) < len(files):
        return None
    newest = ((model.versions or NEWEST).served(files) or list(files))[-1]
    before = len(collect.problems)
    for number in files:
        for said in _differences(graphs[newest], newest, graphs[number], number):
            hint = "all versions take and give the same tensors; else make it a model of its own"
            collect.error("TK231", places[number], said, hint)
    if len(collect.problems) > before:
        return None
    versions = tuple(OnnxVersion(number, file, graphs[number].sha256) for number, file in files.items())
    return replace(graphs[newest], versions=versions, newest=newest)


def _read(project: Project, onnx: str, path: FieldPath, collect: Collector) -> OnnxGraph | None:
    if project.has_folder(onnx):
        hint = "name the ONNX file in it; a model that is a directory of files goes under `files:`"
        collect.error("TK201", path, f"`{onnx}` is a folder, and no ONNX file", hint)
        return None
    if not project.has_file(onnx):
        collect.error("TK201", path, f"there is no file `{onnx}`", f"paths count from {project.root.name}/")
        return None
    try:
        return project.once(("graph", onnx), lambda: read(project.path(onnx)))
    except OnnxGraphError as error:
        collect.error("TK202", path, f"`{onnx}` {error}")
        return None


def _differences(first: OnnxGraph, number: int, other: OnnxGraph, its_number: int) -> Iterator[str]:
    """A sentence for every tensor in which two versions differ."""
    for word, ours, theirs in (("input", first.inputs, other.inputs), ("output", first.outputs, other.outputs)):
        here, there = {t.name: t for t in ours}, {t.name: t for t in theirs}
        for name, tensor in here.items():
            if name not in there:
                yield f"version {its_number} has no {word} `{name}`, which version {number} has"
            elif there[name] != tensor:
                pair = f"{there[name].describe()} in version {its_number} and {tensor.describe()} in version {number}"
                yield f"{word} `{name}` is {pair}"
        for name in there:
            if name not in here:
                yield f"version {its_number} has an {word} `{name}`, which version {number} does not have"


def _numbers_of(model: ModelPlan, project: Project) -> Sequence[int]:
    """The version directories that a model gets, the oldest first."""
    if isinstance(model.program, FilesProgram):
        root = project.path(model.program.directory)
        numbers = (version_number(path.name) for path in root.iterdir() if path.is_dir())
        return sorted(number for number in numbers if number is not None)
    return model.version_numbers()


def check_step(step: FlowStep, model: ModelPlan, path: FieldPath, project: Project, collect: Collector) -> None:
    """A step of the flow that names a version which its model does not have: the server would refuse the ensemble."""
    there = _numbers_of(model, project)
    if step.version is not None and step.version not in there:
        listed = ", ".join(map(str, there)) or "none"
        message = f"model `{model.key}` has no version {step.version}; it has: {listed}"
        collect.error("TK230", (*path, "version"), message, "name one of those, or leave it out for the newest")


def check_versions(model: ModelPlan, project: Project, collect: Collector) -> None:
    """Versions that are asked for and are not there are problems: Triton only logs them."""
    if model.versions is None or model.versions.specific is None:
        return
    there = _numbers_of(model, project)
    listed = ", ".join(map(str, there)) or "none"
    for index, number in enumerate(model.versions.specific):
        if number not in there:
            collect.error(
                "TK230",
                (*model.source, "versions", "specific", index),
                f"model `{model.key}` has no version {number}; it has: {listed}",
                "name one of those, or give the version its file under `onnx`",
            )
    if not model.versions.specific:
        message = f"no version of model `{model.key}` is named, so none would be served; it has: {listed}"
        collect.error("TK230", (*model.source, "versions", "specific"), message, "name at least one")
