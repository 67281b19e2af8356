"""The flow of a pipeline: every tensor, type and shape checked at each hop, and made into an ensemble."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from generator.collector import Collector, did_you_mean, names
from generator.collector import Path as FieldPath
from generator.plan import EnsembleStep, ModelPlan, Tensor
from generator.resolve.expand import tensor_of
from generator.spec import Spec
from generator.spec.models import FlowStep


@dataclass(frozen=True)
class _Source:
    """Who produces an ensemble tensor, for messages, and what it is."""

    tensor: Tensor
    who: str
    step: int | None


@dataclass(frozen=True)
class Wired:
    """The ensemble's tensors and steps, in an order in which each step's inputs come before it."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    steps: tuple[EnsembleStep, ...]


class FlowWiring:
    """Wires one flow. `by_key` are the resolved models; a key in `broken` had problems of its own."""

    def __init__(
        self, spec: Spec, by_key: Mapping[str, ModelPlan], broken: frozenset[str], collect: Collector, *,
        max_batch_size: int,
    ) -> None:  # fmt: skip
        self.by_key, self.broken, self.collect = by_key, broken, collect
        self.short, self.max_batch_size = spec.models is None, max_batch_size
        # A reshape is between a model and its backend. Triton would compare an ensemble's with the dims of its steps.
        self.inputs = {n: replace(tensor_of(n, t), reshape=None) for n, t in spec.inputs.items()}
        self.outputs = {n: replace(tensor_of(n, t), reshape=None) for n, t in spec.outputs.items()}
        self.sources: dict[str, _Source] = {
            n: _Source(t, "the pipeline's inputs", None) for n, t in self.inputs.items()
        }
        self.used: set[str] = set()
        self.flow: Sequence[FlowStep] = ()

    def wire(self, flow: Sequence[FlowStep]) -> Wired:
        """The ensemble; problems are collected."""
        self.flow = flow
        steps: list[tuple[int, EnsembleStep, ModelPlan]] = []
        for index, step in enumerate(flow):
            model = self._model(step, index)
            if model is not None:
                inputs, outputs = self._inputs(step, model, index), self._outputs(step, model, index)
                made = EnsembleStep(model.name, inputs, outputs, step.version)
                steps.append((index, made, model))
        known_all = len(steps) == len(flow)
        for index, made, model in steps:
            self._check_inputs(made, model, index, known_all)
        self._check_ends(known_all)
        ordered = self._order([(index, made) for index, made, _ in steps])
        self._check_batch()
        return Wired(tuple(self.inputs.values()), tuple(self.outputs.values()), tuple(ordered))

    def _where(self, index: int, *path: str | int) -> FieldPath:
        """In the short form nobody wrote the flow: its problems stand at the model."""
        if not self.short:
            return ("flow", index, *path)
        return ("model",) if path and path[0] == "inputs" else ("outputs", *path[1:])

    def _model(self, step: FlowStep, index: int) -> ModelPlan | None:
        if step.model in self.by_key:
            return self.by_key[step.model]
        if step.model not in self.broken:
            known = [*self.by_key, *self.broken]
            self.collect.error(
                "TK208",
                self._where(index, "model"),
                f"there is no model `{step.model}`; models: {names(known)}",
                did_you_mean(step.model, known),
            )
        return None

    def _inputs(self, step: FlowStep, model: ModelPlan, index: int) -> dict[str, str]:
        required = [t.name for t in model.inputs if not t.optional]
        mapping = dict(step.inputs) if step.inputs is not None else {name: name for name in required}
        known = [t.name for t in model.inputs]
        for name in mapping:
            if name not in known:
                self._unknown(self._where(index, "inputs", name), model, "input", name, known)
        for name in [n for n in required if n not in mapping]:
            self.collect.error(
                "TK203", self._where(index, "inputs"), f"input `{name}` of model `{step.model}` is not mapped",
                f"add `{name}: TENSOR`",
            )  # fmt: skip
        return {n: t for n, t in mapping.items() if n in known}

    def _outputs(self, step: FlowStep, model: ModelPlan, index: int) -> dict[str, str]:
        known = {t.name: t for t in model.outputs}
        mapping = dict(step.outputs) if step.outputs is not None else {name: name for name in known}
        for name, tensor in mapping.items():
            here = self._where(index, "outputs", name)
            if name not in known:
                self._unknown(here, model, "output", name, known)
            elif tensor in self.sources:
                self.collect.error(
                    "TK209", here, f"tensor `{tensor}` already comes from {self.sources[tensor].who}",
                    "give this one a name of its own",
                )  # fmt: skip
            else:
                self.sources[tensor] = _Source(replace(known[name], name=tensor), f"model `{model.key}`", index)
        return {n: t for n, t in mapping.items() if n in known}

    def _unknown(self, path: FieldPath, model: ModelPlan, word: str, name: str, known: Iterable[str]) -> None:
        self.collect.error(
            "TK203", path, f"model `{model.key}` has no {word} `{name}`; {word}s: {names(known)}",
            did_you_mean(name, known),
        )  # fmt: skip

    def _check_inputs(self, step: EnsembleStep, model: ModelPlan, index: int, known_all: bool) -> None:
        tensors = {t.name: t for t in model.inputs}
        for name, source in step.inputs.items():
            here = self._where(index, "inputs", name)
            self.used.add(source)
            if source not in self.sources:
                if known_all:
                    self.collect.error(
                        "TK203", here, f"nothing produces tensor `{source}`; there are {names(self.sources)}",
                        did_you_mean(source, self.sources),
                    )  # fmt: skip
                continue
            given = self.sources[source]
            if self.short and given.step is not None:
                continue  # the expansion has compared what it put between the models
            if not meets(given.tensor, tensors[name]):
                self.collect.error(
                    "TK204",
                    here,
                    f"`{source}` is {given.tensor.describe()} (from {given.who}); "
                    f"input `{name}` of model `{model.key}` is {tensors[name].describe()}",
                )

    def _check_ends(self, known_all: bool) -> None:
        for name in self.inputs:
            if name not in self.used and known_all:
                self.collect.error("TK210", ("inputs", name), f"no model uses input `{name}`", "remove it, or map it")
        for name, wanted in self.outputs.items():
            if name not in self.sources:
                if known_all:
                    produced = [n for n, s in self.sources.items() if s.step is not None]
                    self.collect.error(
                        "TK210", ("outputs", name), f"nothing produces output `{name}`; there are {names(produced)}",
                        did_you_mean(name, produced),
                    )  # fmt: skip
            elif not meets(self.sources[name].tensor, wanted):
                given = self.sources[name]
                self.collect.error(
                    "TK207",
                    ("outputs", name),
                    f"`{name}` is declared {wanted.describe()}; {given.who} gives {given.tensor.describe()}",
                )
        for name, source in self.sources.items():
            if source.step is not None and name not in self.used and name not in self.outputs and known_all:
                self.collect.error(
                    "TK210",
                    self._where(source.step, "outputs"),
                    f"tensor `{name}` (from {source.who}) is used by no model and is no output; Triton refuses that",
                    "remove it from the step's `outputs`, or add it to the pipeline's"
                    if self.flow[source.step].outputs is not None
                    else "give the step `outputs` with the ones that are used, such as `outputs: {y: y}`",
                )

    def _order(self, steps: list[tuple[int, EnsembleStep]]) -> list[EnsembleStep]:
        ready = set(self.inputs)
        ordered: list[EnsembleStep] = []
        left = list(steps)
        while left:
            # Each at the first place that it can have: a flow that is written in an order that works keeps it.
            waits = self.sources.keys() - ready  # what comes from a step that is not there yet
            now = next((item for item in left if waits.isdisjoint(item[1].inputs.values())), None)
            if now is None:
                circle = _without_followers(left)
                through = names(sorted({step.model for _, step in circle}))
                self.collect.error(
                    "TK218", self._where(circle[0][0], "inputs"), f"the flow runs in a circle through {through}",
                    "one of them has to take its input from elsewhere",
                )  # fmt: skip
                return ordered
            ordered.append(now[1])
            ready.update(now[1].outputs.values())
            left.remove(now)
        return ordered

    def _check_batch(self) -> None:
        wanted = self.max_batch_size
        for model in self.by_key.values():
            if model.max_batch_size != 0 and model.max_batch_size < wanted:
                self.collect.error(
                    "TK211",
                    (*model.source, "batching"),
                    f"model `{model.key}` takes batches of {model.max_batch_size}, the pipeline of {wanted}",
                    f"raise the model's max_batch_size to {wanted}, or lower the pipeline's",
                )


def _without_followers(left: list[tuple[int, EnsembleStep]]) -> list[tuple[int, EnsembleStep]]:
    """The steps of a circle, less those that only wait for it."""
    while True:
        wanted = {tensor for _, step in left for tensor in step.inputs.values()}
        circle = [item for item in left if wanted & set(item[1].outputs.values())]
        if circle == left:
            return circle
        left = circle


def meets(a: Tensor, b: Tensor) -> bool:
    """Whether Triton lets the tensors meet: equal types, equal ranks, each axis equal or -1 on a side."""
    return a.dtype == b.dtype and len(a.dims) == len(b.dims) and all(
        x in (y, -1) or y == -1 for x, y in zip(a.dims, b.dims, strict=True)
    )  # fmt: skip
