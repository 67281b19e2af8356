"""Spec and target → Plan. Pure but for reading the files that the spec names."""

from __future__ import annotations

from dataclasses import dataclass

from generator.collector import Collector, Path, names
from generator.plan import EnsemblePlan, FilesProgram, ModelPlan, Places, Plan
from generator.problems import Problem
from generator.project import Project
from generator.resolve.branches import warn_of_branches
from generator.resolve.expand import Expanded, expand, tensor_of
from generator.resolve.flow import FlowWiring, meets
from generator.resolve.folded import Folder, engines_that_fold, is_folded
from generator.resolve.fused import Fuser, check_flow, is_fused
from generator.resolve.histogram import with_histogram
from generator.resolve.models import ModelResolver
from generator.resolve.python_model import check_labels
from generator.resolve.starting import note_flags
from generator.resolve.suppression import check_nms
from generator.resolve.targets import merged_batching, target_plan
from generator.resolve.versions import check_step
from generator.spec import Spec, Target

__all__ = ["Resolved", "resolve"]


@dataclass(frozen=True)
class Resolved:
    """A Plan and what is worth knowing about how it came to be (notes)."""

    spec: Spec
    plan: Plan
    expanded: Expanded
    notes: tuple[Problem, ...]


def resolve(spec: Spec, target: str, project: Project, places: Places, spec_file: str) -> Resolved:
    """The Plan of `spec` on `target`. `spec_file` is how rendered files name their source.

    Raises ProblemsError with every problem there is.
    """
    collect = Collector(places)
    where, changes = target_plan(spec, target, collect)
    expanded = expand(spec, project, collect)
    if expanded is None:
        collect.stop_on_errors()
        raise AssertionError("no expansion and no error")
    check_flow(spec, changes, where, collect)
    resolver = ModelResolver(spec, changes, target=where, project=project, graphs=expanded.graphs, collect=collect)
    models = {key: resolver.resolve(key, m, expanded.origins[key]) for key, m in expanded.models.items()}
    good = {key: plan for key, plan in models.items() if plan is not None}
    fused = is_fused(spec, changes) and expanded.flow is not None
    if not fused:
        _check_names(spec, good, collect)
    wiring = FlowWiring(
        spec, good, frozenset(models) - set(good), collect,
        max_batch_size=merged_batching(spec.batching, changes.batching).max_batch_size,
    )  # fmt: skip
    ensemble = _ensemble(spec, expanded, wiring, project, collect)
    if ensemble is None and good:
        _check_alone(spec, next(iter(good.values())), collect)
        if len(good) == len(models):
            _check_batching(spec, target, changes, good, collect)
    collect.stop_on_errors()
    accuracy = _accuracy(project, expanded, collect)
    collect.stop_on_errors()
    rendered = tuple(good.values())
    if fused and ensemble is not None:
        if folding := engines_that_fold(expanded.models, where):
            folder = Folder(
                spec, changes, target=where, project=project, written=expanded.models, collect=collect, only=folding
            )
            shorter, rendered = folder.fold(ensemble, rendered)
            ensemble = shorter or ensemble
            collect.stop_on_errors()
        fuser = Fuser(spec, changes, target=where, project=project, written=expanded.models, collect=collect)
        rendered, ensemble = (fuser.fuse(ensemble, rendered),), None
        collect.stop_on_errors()
    elif is_folded(spec, changes):
        folder = Folder(spec, changes, target=where, project=project, written=expanded.models, collect=collect)
        ensemble, rendered = folder.fold(ensemble, rendered)
        collect.stop_on_errors()
    check_nms(spec, target, changes, models=rendered, written=expanded.models, collect=collect)
    collect.stop_on_errors()
    if ensemble is not None:
        warn_of_branches(ensemble, collect)
    plan = Plan(
        name=spec.name, target=where, spec_file=spec_file, objective=spec.objective, limits=spec.limits,
        models=rendered, ensemble=ensemble,
        accuracy_data=accuracy[0], accuracy_floor=accuracy[1], places=places,
    )  # fmt: skip
    plan = with_histogram(plan)
    note_flags(plan, collect)
    return Resolved(spec, plan, expanded, tuple(collect.problems))


def _check_names(spec: Spec, models: dict[str, ModelPlan], collect: Collector) -> None:
    taken = {spec.name: "the pipeline"} if spec.models is None or spec.flow is not None else {}
    for key, model in models.items():
        if model.name in taken:
            collect.error(
                "TK217", (*model.source, "name"), f"`{model.name}` is already the name of {taken[model.name]}",
                "give it another `name`",
            )  # fmt: skip
        taken[model.name] = f"model `{key}`"


def _ensemble(
    spec: Spec, expanded: Expanded, wiring: FlowWiring, project: Project, collect: Collector
) -> EnsemblePlan | None:
    if expanded.flow is None:
        return None
    wired = wiring.wire(expanded.flow)
    for index, step in enumerate(expanded.flow):
        if step.model in wiring.by_key:
            check_step(step, wiring.by_key[step.model], ("flow", index), project, collect)
    check_labels(wired.outputs, ("outputs",), project, collect)
    unused = [key for key in expanded.models if key not in {step.model for step in expanded.flow}]
    for key in unused:
        collect.error("TK210", ("models", key), f"model `{key}` is not in the flow", "remove it, or add it to `flow`")
    return EnsemblePlan(
        name=spec.name, inputs=wired.inputs, outputs=wired.outputs, steps=wired.steps,
        max_batch_size=wiring.max_batch_size,
        response_cache=spec.response_cache, metrics=spec.metrics, config=spec.config,
        comments=(spec.description,) if spec.description else (),
    )  # fmt: skip


def _check_alone(spec: Spec, model: ModelPlan, collect: Collector) -> None:
    """One model and no flow: the pipeline's tensors are the model's own."""
    for word, declared, found in (("inputs", spec.inputs, model.inputs), ("outputs", spec.outputs, model.outputs)):
        by_name = {t.name: t for t in found}
        for name, tensor in declared.items():
            wanted = tensor_of(name, tensor)
            if name not in by_name:
                collect.error(
                    "TK203", (word, name), f"model `{model.key}` has no `{name}` there; it has {names(by_name)}"
                )
            elif not meets(by_name[name], wanted):
                collect.error(
                    "TK207", (word, name),
                    f"`{name}` is declared {wanted.describe()}; model `{model.key}` has {by_name[name].describe()}",
                )  # fmt: skip
        for name in [n for n in by_name if n not in declared and not by_name[n].optional]:
            collect.error("TK207", (word,), f"`{name}` of model `{model.key}` is not declared", f"add `{name}`")
    for field in ("config", "metrics", "response_cache"):
        if getattr(spec, field):
            collect.error(
                "TK223", (field,), f"`{field}` at the top is of a pipeline with a flow; there is one model and none",
                f"move it into `models: {{{model.key}: …}}`",
            )  # fmt: skip


def _check_batching(
    spec: Spec, target: str, changes: Target, models: dict[str, ModelPlan], collect: Collector
) -> None:
    """Where `config` says all of every model, batching of the pipeline has no effect."""
    if not all(isinstance(model.program, FilesProgram) and model.program.whole for model in models.values()):
        return
    paths: dict[Path, bool] = {
        ("batching",): "batching" in spec.model_fields_set,
        ("targets", target, "batching"): changes.batching is not None,
    }
    for path in [path for path, written in paths.items() if written]:
        collect.error(
            "TK223", path,
            "a model without `inputs` and `outputs` says all in `config`; found `batching` of the pipeline",
            "declare its tensors, or say it in Triton's own words under `config`",
        )  # fmt: skip


def _accuracy(project: Project, expanded: Expanded, collect: Collector) -> tuple[str | None, float | None]:
    """The gate set of the pipeline: of the first model that names one."""
    for key, model in expanded.models.items():
        calibration = None if model.build is None else model.build.calibration
        if calibration is not None and not project.has_file(calibration.data):
            path = (*expanded.origins[key], "build", "calibration", "data")
            collect.error("TK201", path, f"there is no file `{calibration.data}`", "paths count from the root")
        factory = (None if model.build is None else model.build.factory) or ""
        if factory and not project.has_file(file := factory.rpartition(":")[0]):
            path = (*expanded.origins[key], "build", "factory")
            collect.error("TK201", path, f"there is no file `{file}`", "paths count from the root")
        for index, plugin in enumerate([] if model.build is None else model.build.plugins):
            if not project.has_file(plugin):
                path = (*expanded.origins[key], "build", "plugins", index)
                collect.error("TK201", path, f"there is no file `{plugin}`", "paths count from the root")
    for key, model in expanded.models.items():
        if model.accuracy is not None:
            path = (*expanded.origins[key], "accuracy", "data")
            if not project.has_file(model.accuracy.data):
                collect.error("TK201", path, f"there is no file `{model.accuracy.data}`", "paths count from the root")
            return model.accuracy.data, model.accuracy.floor
    return None, None
