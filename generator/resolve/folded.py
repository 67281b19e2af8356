"""Layout `folded`: the arithmetic of the steps next to an engine becomes part of its graph; the rest stays."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from generator.collector import Collector
from generator.engine.cache import key_of
from generator.engine.errors import StageError
from generator.plan import (
    EngineProgram,
    EnsemblePlan,
    EnsembleStep,
    Fold,
    ModelPlan,
    OnnxVersion,
    Steps,
    StepsProgram,
    TargetPlan,
    Tensor,
)
from generator.project import Project
from generator.resolve.folding_places import After, Places
from generator.resolve.fused import layout_path
from generator.spec import Spec, Target
from generator.spec.models import Model, Serving
from generator.spec.serving import Warmup

if TYPE_CHECKING:
    from generator.engine.fold import Folded

# What a model that is wholly in the graph can no longer say of itself.
_OWN = frozenset({"name", "batching", "instances", *Serving.model_fields})


def is_folded(spec: Spec, changes: Target) -> bool:
    """Whether steps go into the engines' graphs on this target."""
    return (changes.layout or spec.layout) == "folded"


def engines_that_fold(written: Mapping[str, Model], target: TargetPlan) -> frozenset[str]:
    """The models, by key, whose `buffers` say `fold`: there are buffers on a GPU alone."""
    said = {key for key, model in written.items() if model.buffers is not None and model.buffers.fold}
    return frozenset(said if target.gpu is not None else ())


@dataclass(frozen=True)
class _Graph:
    """A folded graph: its bytes, what it gives now, the names of what `top_k` or `nms` gives, and the new nodes."""

    data: bytes
    sha256: str
    outputs: Mapping[str, Tensor]
    named: Mapping[str, tuple[str, ...]]
    nodes: tuple[str, ...]


class _Rest:
    """The steps and models of a pipeline while some of them change or go."""

    def __init__(self, steps: Sequence[EnsembleStep], models: Sequence[ModelPlan]) -> None:
        self.steps, self.models = list(steps), {model.name: model for model in models}

    def step_of(self, model: ModelPlan) -> EnsembleStep:
        """The only step that runs it."""
        return next(step for step in self.steps if step.model == model.name)

    def tensors(self) -> set[str]:
        """All names that are taken in the flow."""
        return {tensor for step in self.steps for tensor in (*step.inputs.values(), *step.outputs.values())}

    def put(self, model: ModelPlan) -> None:
        """In the place of the model of its name."""
        self.models[model.name] = model

    def drop(self, model: ModelPlan) -> None:
        """Without it and its step."""
        del self.models[model.name]
        self.steps.remove(self.step_of(model))

    def replace(self, old: EnsembleStep, new: EnsembleStep) -> None:
        """Another step in the same place."""
        self.steps[self.steps.index(old)] = new


class Folder:
    """Folds the steps of one wired pipeline. `written` are its models in the full form, by key.

    `only`: the engines of layout `fused` that say `fold`; without it the layout is `folded`, and all of them do.
    """

    def __init__(
        self, spec: Spec, changes: Target, *, target: TargetPlan, project: Project,
        written: Mapping[str, Model], collect: Collector, only: frozenset[str] | None = None,
    ) -> None:  # fmt: skip
        self.spec, self.project, self.written, self.collect, self.only = spec, project, written, collect, only
        self.layout = layout_path(changes, target)
        self.said, self.instead = "layout `folded`", "`layout: ensemble` renders the same"
        if only is not None:
            self.said, self.instead = "`fold`", "remove it"

    def fold(
        self, ensemble: EnsemblePlan | None, models: Sequence[ModelPlan]
    ) -> tuple[EnsemblePlan | None, tuple[ModelPlan, ...]]:
        """The pipeline with smaller models around its engines; problems are collected."""
        engines = [
            model for model in models
            if isinstance(model.program, EngineProgram) and (self.only is None or model.key in self.only)
        ]  # fmt: skip
        if not engines:
            self.collect.error(
                "TK924", self.layout,
                "layout `folded` puts steps into an engine's graph; the pipeline has no model of `onnx`",
                "say `layout: ensemble`, or `layout: fused` for one process",
            )  # fmt: skip
            return ensemble, tuple(models)
        before, reasons, tried = tuple(models), list[str](), False
        for engine in engines if ensemble is not None else ():
            assert ensemble is not None  # noqa: S101  (for the type checker)
            places = Places(ensemble, models, engine)
            reasons += places.reasons
            if places.before or places.after:
                tried = True
                ensemble, models = self._folded(ensemble, models, engine, places)
            self._note_outside(places)
        if not tried:
            why = f": {'; '.join(dict.fromkeys(reasons))}" if reasons else ""
            self.collect.note(
                "TK920", self.layout, f"{self.said} finds no arithmetic step next to an engine{why}", self.instead
            )  # fmt: skip
        self._note_gone(before, models)
        return ensemble, tuple(models)

    def _folded(
        self, ensemble: EnsemblePlan, models: Sequence[ModelPlan], engine: ModelPlan, places: Places
    ) -> tuple[EnsemblePlan, Sequence[ModelPlan]]:
        """The pipeline with everything of `places` in the graph of `engine`; as it is after a problem."""
        assert isinstance(engine.program, EngineProgram)  # noqa: S101  (for the type checker)
        try:
            graphs = [self._graph(version, engine, places) for version in engine.program.versions]
        except StageError as error:
            for finding in error.findings:
                message = f"{self.said}: {finding.message}"
                self.collect.error(finding.code, (*engine.source, "onnx"), message, finding.hint)
            return ensemble, models
        rest = _Rest(ensemble.steps, models)
        rest.put(self._engine(engine, graphs, places))
        step = rest.step_of(engine)
        inputs, outputs = dict(step.inputs), dict(step.outputs)
        for name, first in places.before.items():
            if first.rest:
                rest.put(_shorter(first.model, first.rest, outputs=(first.tensor,)))
            else:
                rest.drop(first.model)
                inputs[name] = next(iter(first.step.inputs.values()))
        for last in places.after:
            for name in last.takes:
                del outputs[name]
            follower = _follow(last, graphs[0], outputs, rest.tensors())
            if follower is None:
                rest.drop(last.model)
            else:
                rest.put(follower[0])
                rest.replace(last.step, follower[1])
        rest.replace(step, replace(step, inputs=inputs, outputs=outputs))
        return replace(ensemble, steps=tuple(rest.steps)), tuple(rest.models.values())

    def _engine(self, engine: ModelPlan, graphs: Sequence[_Graph], places: Places) -> ModelPlan:
        """The engine with its new graph and tensors."""
        program = engine.program
        assert isinstance(program, EngineProgram)  # noqa: S101  (for the type checker)
        fold = Fold(
            {name: first.folded for name, first in places.before.items()},
            {" ".join(last.takes): last.folded for last in places.after},
            tuple(dict.fromkeys(name for graph in graphs for name in graph.nodes)),
        )
        versions = tuple(
            replace(version, sha256=graph.sha256, data=graph.data)
            for version, graph in zip(program.versions, graphs, strict=True)
        )
        known = {tensor.name: tensor for tensor in engine.outputs}
        taken = {name for last in places.after for name in last.takes}
        return replace(
            engine,
            program=replace(program, versions=versions, fold=fold),
            inputs=tuple(places.before[t.name].tensor if t.name in places.before else t for t in engine.inputs),
            outputs=tuple(
                tensor if name in taken or name not in known else known[name]
                for name, tensor in graphs[0].outputs.items()
            ),
            warmup=tuple(self._warmup(engine, places)),
            comments=(*engine.comments, f"Its graph also does the steps {in_words(fold)}."),
        )

    def _warmup(self, engine: ModelPlan, places: Places) -> Iterator[Warmup]:
        """The warm-ups that also fit the folded inputs."""
        for index, request in enumerate(engine.warmup):
            wrong = [n for n, v in request.inputs.items() if n in places.before and (v.file or v.dims is not None)]
            if not wrong:
                yield request
            for name in wrong:
                self.collect.note(
                    "TK925", (*engine.source, "warmup", index, "inputs", name),
                    f"{self.said} makes input `{name}` {places.before[name].tensor.describe()}: a warm-up with a "
                    "`file` or `dims` of its own is left out there",
                    "use `zero` or `random` without `dims`",
                )  # fmt: skip

    def _graph(self, version: OnnxVersion, engine: ModelPlan, places: Places) -> _Graph:
        """The folded graph of one version, made once a run. Raises StageError."""
        batched = engine.max_batch_size > 0
        recipe = {
            "before": {n: [b.source.dtype, b.source.dims, b.folded] for n, b in places.before.items()},
            "after": [[a.takes, a.inside, a.folded] for a in places.after], "batched": batched,
        }  # fmt: skip
        return self.project.once(
            ("folded", version.onnx, key_of(recipe)),
            lambda: _make(version.contents(self.project), places, batched),
        )

    def _note_outside(self, places: Places) -> None:
        for model, index, message in places.outside:
            path = (*model.source, index) if self.spec.models is None else (*model.source, "steps", index)
            self.collect.note("TK921", path, message, "put it next to the engine, or let it stay")

    def _note_gone(self, before: Sequence[ModelPlan], after: Sequence[ModelPlan]) -> None:
        """A model that is wholly in the graph has no batches and instances of its own."""
        there = {model.name for model in after}
        for model in before if self.spec.models is not None else ():
            for field in sorted(_OWN & self.written[model.key].model_fields_set) if model.name not in there else ():
                self.collect.note(
                    "TK925", (*model.source, field),
                    f"{self.said} puts all of model `{model.key}` into the engine's graph: its `{field}` has no "
                    "effect there",
                    "remove it",
                )  # fmt: skip


def in_words(fold: Fold) -> str:
    """`normalize -> channels_first before pixels, softmax -> top_k after logits`."""
    said = [(" -> ".join(name for name, _ in steps), f"before {n}") for n, steps in fold.before.items()]
    said += [(" -> ".join(name for name, _ in steps), f"after {n}") for n, steps in fold.after.items()]
    return ", ".join(f"{steps} {where}" for steps, where in said)


def _make(data: bytes, places: Places, batched: bool) -> _Graph:
    from onnx import ModelProto

    from generator.engine import fold as stage

    several = [last for last in places.after if len(last.takes) > 1]
    model = ModelProto.FromString(data)
    made: Folded = stage.fold(
        model,
        {n: stage.Before(b.source.dtype, b.source.dims, b.folded) for n, b in places.before.items()},
        {last.takes[0]: last.folded for last in places.after if len(last.takes) == 1},
        nms=several[0].of_the_engine() if several else None,
        batched=batched,
    )
    found = made.model.SerializeToString(deterministic=True)
    outputs = {t.name: t for t in _outputs(made, batched)}
    old = {node.name for node in model.graph.node}
    nodes = tuple(node.name for node in made.model.graph.node if node.name not in old)
    return _Graph(found, hashlib.sha256(found).hexdigest(), outputs, dict(made.outputs), nodes)


def _outputs(made: Folded, batched: bool) -> Iterator[Tensor]:
    from generator.engine.fold.graph import WORDS

    for info in made.model.graph.output:
        tensor = info.type.tensor_type
        dims = tuple(d.dim_value if d.WhichOneof("value") == "dim_value" else -1 for d in tensor.shape.dim)
        yield Tensor(info.name, WORDS.get(tensor.elem_type, ""), dims[1:] if batched else dims)


def _shorter(
    model: ModelPlan, steps: Steps, *, inputs: tuple[Tensor, ...] | None = None,
    outputs: tuple[Tensor, ...] | None = None,
) -> ModelPlan:  # fmt: skip
    """A model of steps with fewer of them; an output keeps its name."""
    assert isinstance(model.program, StepsProgram)  # noqa: S101  (for the type checker)
    if outputs is not None and len(outputs) == len(model.outputs) == 1:
        outputs = (replace(model.outputs[0], dtype=outputs[0].dtype, dims=outputs[0].dims),)
    return replace(
        model,
        program=replace(model.program, steps=steps),
        inputs=model.inputs if inputs is None else inputs,
        outputs=model.outputs if outputs is None else outputs,
        comments=("Steps: " + " -> ".join(name for name, _ in steps) + ".",),
    )


def _follow(
    last: After, graph: _Graph, outputs: dict[str, str], used: set[str]
) -> tuple[ModelPlan, EnsembleStep] | None:
    """What stays of the model behind the engine, and its step; None if nothing does. `outputs` get the engine's."""
    mapping = last.step.outputs
    named = next((graph.named[name] for name in last.takes if name in graph.named), None)
    if named is None:  # the steps that are folded give one tensor
        tensor = graph.outputs[last.takes[0]]
        [(inside, between)] = last.step.inputs.items()
        if not last.rest:
            outputs[tensor.name] = next(iter(mapping.values()))
            return None
        outputs[tensor.name] = between
        return _shorter(last.model, last.rest, inputs=(replace(tensor, name=inside),)), last.step
    label = ""
    for name, own in zip(named, last.gives(), strict=True):
        if own == last.label and last.labels is not None:
            label = name
        elif own in mapping:
            outputs[name] = mapping[own]
    if not label or last.label not in mapping:
        return None
    between = f"{mapping[last.label]}_index"
    while between in used:
        between += "_"
    outputs[label] = between
    rest: Steps = (("labels", {"labels": last.labels}),)
    [answer] = [tensor for tensor in last.model.outputs if tensor.name == last.label]
    model = _shorter(last.model, rest, inputs=(graph.outputs[label],))
    model = replace(model, outputs=(answer,))
    return model, replace(last.step, inputs={label: between}, outputs={last.label: mapping[last.label]})
