"""Layout `fused`: all models of a flow in one Python model, which runs them in one process, a batch whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from generator.collector import Collector, names
from generator.plan import (
    EngineProgram,
    EnsemblePlan,
    FilesProgram,
    FlowProgram,
    ModelPlan,
    Stage,
    StepsProgram,
    TargetPlan,
)
from generator.project import Project
from generator.resolve.buffered import Buffering
from generator.resolve.direct import FORCE_CPU, buffers_of, check_direct, on_one_gpu, takes_from_gpu
from generator.resolve.preprocessed import Preprocessing
from generator.resolve.python_model import check_python_model
from generator.resolve.targets import dynamic, instances_on, merged_batching
from generator.resolve.warmup import check_warmup
from generator.spec import Spec, Target
from generator.spec.models import Model, Serving
from generator.spec.serving import Batching, InstanceGroup

# What the only engine says of how it is served holds for the whole: it is why there are versions and warm-ups.
_SERVING = frozenset(Serving.model_fields)


def is_fused(spec: Spec, changes: Target) -> bool:
    """Whether the pipeline is one Python model on this target."""
    return (changes.layout or spec.layout) == "fused"


def check_flow(spec: Spec, changes: Target, target: TargetPlan, collect: Collector) -> None:
    """Without a flow there is nothing to fuse: models of `files` beside each other stay what they are."""
    if is_fused(spec, changes) and spec.flow is None and spec.models is not None and len(spec.models) > 1:
        collect.error(
            "TK229", layout_path(changes, target),
            "layout `fused` runs the models of a flow in one process; there are models of `files` and no flow",
            "remove it",
        )  # fmt: skip


def layout_path(changes: Target, target: TargetPlan) -> tuple[str, ...]:
    """Where the layout is written."""
    return ("targets", target.name, "layout") if changes.layout else ("layout",)


class Fuser:
    """Makes one model of a wired flow. `written` are the models of the full form, by key."""

    def __init__(
        self, spec: Spec, changes: Target, *, target: TargetPlan, project: Project,
        written: Mapping[str, Model], collect: Collector,
    ) -> None:  # fmt: skip
        self.spec, self.changes, self.target = spec, changes, target
        self.project, self.written, self.collect = project, written, collect

    def fuse(self, ensemble: EnsemblePlan, models: Sequence[ModelPlan]) -> ModelPlan:
        """The model; problems are collected."""
        engines = [model for model in models if isinstance(model.program, EngineProgram)]
        engine = engines[0] if len(engines) == 1 else None
        self._check_versions(engines)
        self._check_steps()
        for model in models:
            self._check_model(model, ensemble.max_batch_size)
            self._note_unused(model, engine)
        batching = merged_batching(self.spec.batching, self.changes.batching)
        config = ensemble.config or (engine.config if engine else {})
        instances = self._instances(config, on_gpu=bool(engines) and self.target.gpu is not None)
        stages = self._stages(ensemble, models, batching, instances, config)
        fused = ModelPlan(
            name=ensemble.name, key=ensemble.name, backend="python", program=FlowProgram(stages),
            inputs=ensemble.inputs, outputs=ensemble.outputs,
            max_batch_size=ensemble.max_batch_size, batching=dynamic(batching),
            instances=instances,
            response_cache=ensemble.response_cache, metrics=ensemble.metrics, config=ensemble.config,
            comments=(*ensemble.comments, *_comments(stages)),
        )  # fmt: skip
        fused = self._as_the_engine(fused, engine)
        if takes_from_gpu(fused):
            fused = replace(fused, parameters={FORCE_CPU: "no", **fused.parameters})
        check_python_model(fused, self.collect)
        check_warmup(fused, self.project, self.collect)
        return fused

    def _stages(
        self, ensemble: EnsemblePlan, models: Sequence[ModelPlan], batching: Batching,
        instances: Sequence[InstanceGroup], config: Mapping[str, Any],
    ) -> tuple[Stage, ...]:  # fmt: skip
        """The models in order, engines on a GPU with their buffers."""
        where = layout_path(self.changes, self.target)
        buffering = Buffering(self.target, batching, instances, config, where=where, collect=self.collect)
        by_name = {model.name: model for model in models}
        there = {tensor.name: tensor for tensor in ensemble.inputs}
        widths: dict[str, tuple[int, ...]] = {}  # of texts: to which lengths a tensor is padded
        stages = []
        for step in ensemble.steps:
            model = by_name[step.model]
            fed = {inside: there[name] for inside, name in step.inputs.items() if name in there}
            there |= {step.outputs[t.name]: t for t in model.outputs if t.name in step.outputs}
            texts = {inside: widths[name] for inside, name in step.inputs.items() if name in widths}
            if padded := _widths(model):
                widths |= {step.outputs[t.name]: padded for t in model.outputs if t.name in step.outputs}
            model = buffering.given(model, self.written[model.key], fed, texts)
            stages.append(Stage(model, step.inputs, step.outputs))
        answers = [tensor.name for tensor in ensemble.outputs]
        found = Preprocessing(self.target, where, self.collect).placed(stages, answers)
        one_gpu = on_one_gpu(instances, config)
        check_direct(found, ensemble, self._parameters(models), self.collect, one_gpu=one_gpu)
        return tuple(found)

    def _parameters(self, models: Sequence[ModelPlan]) -> Mapping[str, str]:
        """What the spec says of the only engine's parameters, which are the pipeline's."""
        engines = [model for model in models if isinstance(model.program, EngineProgram)]
        return engines[0].parameters if len(engines) == 1 else {}

    def _check_versions(self, engines: Sequence[ModelPlan]) -> None:
        several = [e for e in engines if isinstance(e.program, EngineProgram) and len(e.program.versions) > 1]
        if several and len(engines) > 1:
            self.collect.error(
                "TK229",
                (*several[0].source, "onnx"),
                "layout `fused` makes the pipeline one model, whose versions are those of its only engine; "
                f"there are {names(model.key for model in engines)}, and `{several[0].key}` has versions",
                "use `layout: ensemble`, or one file for each engine",
            )

    def _check_steps(self) -> None:
        for index, step in enumerate(self.spec.flow or ()):
            if step.version is not None:
                self.collect.error(
                    "TK229", ("flow", index, "version"),
                    f"layout `fused` makes the pipeline one model, which has no step of version {step.version}",
                    "remove it, or use `layout: ensemble`",
                )  # fmt: skip

    def _check_model(self, model: ModelPlan, max_batch_size: int) -> None:
        if isinstance(model.program, FilesProgram):
            self.collect.error(
                "TK229", (*model.source, "files"),
                f"layout `fused` runs `onnx`, `steps` and `python` models; `{model.key}` is a directory of files",
                "use `layout: ensemble`",
            )  # fmt: skip
        elif (model.max_batch_size > 0) != (max_batch_size > 0):
            self.collect.error(
                "TK229",
                (*model.source, "batching"),
                f"layout `fused` passes batches on as they are: model `{model.key}` has max_batch_size "
                f"{model.max_batch_size}, the pipeline {max_batch_size}",
                "give both a batch axis, or neither",
            )

    def _note_unused(self, model: ModelPlan, engine: ModelPlan | None) -> None:
        """The pipeline is one model, so what its parts say of their own batches and instances has no effect."""
        if self.spec.models is None:
            return
        written = self.written[model.key]
        ignored = {"name", "batching", "instances", *(() if model is engine else _SERVING)}
        for field in sorted(ignored & written.model_fields_set):
            self.collect.note(
                "TK228",
                (*model.source, field),
                f"layout `fused` makes the pipeline one model: `{field}` of model `{model.key}` has no effect there",
                f"say `{field}` at the top of the spec" if field in {"batching", "instances"} else "remove it",
            )

    def _instances(self, config: Mapping[str, Any], *, on_gpu: bool) -> tuple[InstanceGroup, ...]:
        """Of the pipeline: what the target says, else the spec; none where Triton's own words say it."""
        if "instance_group" in config:
            return ()
        if self.changes.instances is not None:
            where = ("targets", self.target.name, "instances")
            return instances_on(self.changes.instances, self.target, where, self.collect)
        if self.spec.instances is not None:
            return instances_on(self.spec.instances, self.target, ("instances",), self.collect)
        return (InstanceGroup(kind="gpu" if on_gpu else "cpu"),)

    def _as_the_engine(self, fused: ModelPlan, engine: ModelPlan | None) -> ModelPlan:
        """With what the only engine says of how it is served."""
        if engine is None:
            return fused
        if fused.config and engine.config:
            self.collect.error(
                "TK229", ("config",),
                "layout `fused` makes the pipeline one model, and its `config` is given twice: here and "
                f"in model `{engine.key}`",
                "keep one of them",
            )  # fmt: skip
        # Warm-ups name the tensors of the model they were written for; those of an engine are inside now.
        outside, inside = ({tensor.name for tensor in model.inputs} for model in (fused, engine))
        warmup = tuple(w for w in engine.warmup if set(w.inputs) <= outside or not set(w.inputs) <= inside)
        if len(warmup) < len(engine.warmup):
            self.collect.note(
                "TK228",
                (*engine.source, "warmup"),
                "layout `fused` makes the pipeline one model: warm-ups of the engine's tensors are not sent there",
                f"write them for {names(outside)}",
            )
        return replace(
            fused,
            versions=engine.versions,
            warmup=warmup,
            parameters=engine.parameters,
            metrics=fused.metrics or engine.metrics,
            response_cache=fused.response_cache or engine.response_cache,
            config=fused.config or engine.config,
            # Where its problems are looked for: in what was written for the pipeline, else for the engine.
            source=() if fused.config or fused.response_cache else engine.source,
        )


def _widths(model: ModelPlan) -> tuple[int, ...]:
    """To which lengths a model of texts pads what it gives; none of any other."""
    steps = model.program.steps if isinstance(model.program, StepsProgram) else ()
    return next((tuple(parameters["buckets"]) for name, parameters in steps if name == "tokenize"), ())


def _comments(stages: Sequence[Stage]) -> tuple[str, ...]:
    order = " -> ".join(stage.model.key for stage in stages)
    inside = [f"{stage.model.key}: {line}" for stage in stages for line in stage.model.comments]
    shared = [stage.model.key for stage in stages if (buffers := buffers_of(stage)) is not None and buffers.is_shared]
    apart = f", but for {', '.join(shared)}" if shared else ""
    return (f"Runs {order} in one process{apart}, a batch whole.", *inside)
