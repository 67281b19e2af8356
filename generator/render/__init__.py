"""Plan → the files of the model repository, in memory. Nothing is written here."""

from __future__ import annotations

from generator.config import model_configs
from generator.config.tensors import model_files
from generator.plan import EngineProgram, EnsemblePlan, FilesProgram, ModelPlan, Plan
from generator.project import Project
from generator.render.beside import file_names, parts_of, source_of
from generator.render.parameters import as_json, engine_request, ensemble_json, model_json
from generator.render.templates import template

__all__ = ["Files", "render"]

Files = dict[str, bytes]
VERSION = "1"


def render(plan: Plan, project: Project, *, self_contained: bool = False) -> Files:
    """Every file of the pipeline's models by its path in the repository (`digits_engine/config.pbtxt`).

    With `self_contained` each Python model brings the runtime along, for a server that has only the named packages.
    Raises ProblemsError when a model's configuration cannot be expressed for the target.
    """
    files: Files = {}
    for name, (_, text) in model_configs(plan).items():
        files[f"{name}/config.pbtxt"] = text.encode()
    for model in plan.models:
        own = {**_model_files(plan, model, project), **_named_files(model, project)}
        files.update({f"{model.name}/{path}": data for path, data in own.items()})
        if model.backend == "python":
            source = template("model.py.j2").render(
                spec_file=plan.spec_file, target=plan.target.name, self_contained=self_contained
            )
            files[f"{model.name}/{VERSION}/model.py"] = source.encode()
            if self_contained:
                from generator.engine import runtime_sources

                for path, data in runtime_sources(model).items():
                    files[f"{model.name}/{VERSION}/{path}"] = data
    if plan.ensemble is not None:
        # Triton wants a version directory of an ensemble too, and an empty one cannot be kept in git.
        named = _named_files(plan.ensemble, project)
        files.update({f"{plan.ensemble.name}/{path}": data for path, data in named.items()})
        files[f"{plan.ensemble.name}/{VERSION}/tritonkit.json"] = as_json(ensemble_json(plan, plan.ensemble))
    return files


def _model_files(plan: Plan, model: ModelPlan, project: Project) -> Files:
    """What the model needs beside its config.pbtxt and model.py."""
    if isinstance(model.program, FilesProgram):
        return _directory(model.program, project)
    files: Files = {}
    if model.backend == "python":
        files[f"{VERSION}/tritonkit.json"] = as_json(model_json(plan, model))
    if isinstance(model.program, EngineProgram) and model.backend == "tensorrt":
        return files | {f"{VERSION}/engine.request.json": as_json(engine_request(plan, model, model.program))}
    names = file_names(model)
    for part in parts_of(model):
        source = source_of(part)
        if source is not None:
            files[f"{VERSION}/{names[part.key]}"] = project.path(source).read_bytes()
    return files


def _named_files(model: ModelPlan | EnsemblePlan, project: Project) -> Files:
    """Label and warm-up files, where Triton looks for them."""
    return {inside: project.path(outside).read_bytes() for inside, outside in model_files(model).items()}


def _directory(program: FilesProgram, project: Project) -> Files:
    """The user's directory as it is, but for its config.pbtxt, which is rendered."""
    root = project.path(program.directory)
    files = (path for path in sorted(root.rglob("*")) if path.is_file())
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files if path != root / "config.pbtxt"}
