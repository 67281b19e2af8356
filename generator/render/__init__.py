"""Plan → the files of the model repository, in memory. Nothing is written here."""

from __future__ import annotations

from functools import lru_cache
from pathlib import PurePosixPath
from typing import Any

from generator.config import model_configs
from generator.config.tensors import model_files
from generator.copied import files_of
from generator.engine.install.request import request_of
from generator.engine.install.store import MANIFEST, Installed
from generator.plan import EngineProgram, EnsemblePlan, FilesProgram, ModelPlan, Plan
from generator.project import Project
from generator.render.beside import file_names, source_of
from generator.render.engines import Engines, engines_of
from generator.render.parameters import as_json, ensemble_json, model_json
from generator.render.templates import template

__all__ = ["Files", "render"]

Files = dict[str, bytes]
ENSEMBLE_VERSION = 1  # its steps say which versions of their models run


def render(plan: Plan, project: Project, *, self_contained: bool = False) -> Files:
    """Every file of the pipeline's models by its path in the repository (`digits_engine/config.pbtxt`).

    With `self_contained` each Python model brings the runtime along, for a server that has only the named packages.
    Raises ProblemsError when a model's configuration cannot be expressed for the target, and when an engine that is
    served has not been built, or for something else.
    """
    files: Files = {}
    engines = engines_of(plan, project)
    for name, (_, text) in model_configs(plan).items():
        files[f"{name}/config.pbtxt"] = text.encode()
    for model in plan.models:
        own = {**_model_files(plan, model, project, engines), **_named_files(model, project)}
        files.update({f"{model.name}/{path}": data for path, data in own.items()})
        if model.backend == "python":
            code = {"model.py": _model_py(plan.spec_file, plan.target.name, self_contained)}
            if self_contained:
                from generator.engine import runtime_sources

                code.update(runtime_sources(model))
            for version in model.version_numbers():
                files.update({f"{model.name}/{version}/{path}": data for path, data in code.items()})
    if plan.ensemble is not None:
        # Triton wants a version directory of an ensemble too, and an empty one cannot be kept in git.
        named = _named_files(plan.ensemble, project)
        files.update({f"{plan.ensemble.name}/{path}": data for path, data in named.items()})
        files[f"{plan.ensemble.name}/{ENSEMBLE_VERSION}/tritonkit.json"] = as_json(ensemble_json(plan, plan.ensemble))
    return files


@lru_cache(maxsize=16)
def _model_py(spec_file: str, target: str, self_contained: bool) -> bytes:
    """The same for all models of a pipeline."""
    text = template("model.py.j2").render(spec_file=spec_file, target=target, self_contained=self_contained)
    return text.encode()


def _model_files(plan: Plan, model: ModelPlan, project: Project, engines: Engines) -> Files:
    """What the model needs beside its config.pbtxt and model.py."""
    if isinstance(model.program, FilesProgram):
        return _directory(model.program, project)
    files: Files = {}
    names = file_names(model)
    for version in model.version_numbers():
        if model.backend == "python":
            files[f"{version}/tritonkit.json"] = as_json(model_json(plan, model))
        for part in model.parts():
            inside: Files = {}
            if (part.name, version) in engines:
                engine = engines[part.name, version]
                request = {} if engine is not None else request_of(plan, part, version, project)
                inside = _engine(engine, request, names[part.key])
            elif isinstance(part.program, EngineProgram):
                inside = {names[part.key]: part.program.file_of(version).contents(project)}
            elif (source := source_of(part, version)) is not None:
                inside = {names[part.key]: project.read(source)}
            files.update({f"{version}/{name}": data for name, data in inside.items()})
    return files


def _engine(engine: Installed | None, request: dict[str, Any], name: str) -> Files:
    """A built engine and what is known of it; where it is still to be built, the request for it."""
    stem = PurePosixPath(name).stem
    beside = "engine" if stem == "model" else f"{stem}.engine"
    if engine is None:
        return {f"{beside}.request.json": as_json(request)}
    files = {f"{beside}.json": (engine.folder / MANIFEST).read_bytes()}
    if engine.file is not None:
        files[name] = (engine.folder / engine.file).read_bytes()
    return files


def _named_files(model: ModelPlan | EnsemblePlan, project: Project) -> Files:
    """Label and warm-up files, where Triton looks for them."""
    return {inside: project.read(outside) for inside, outside in model_files(model).items()}


def _directory(program: FilesProgram, project: Project) -> Files:
    """The user's directory as it is."""
    found = files_of(project.path(program.directory))
    return {path: b"" if file is None else file.read_bytes() for path, file in found.items()}
