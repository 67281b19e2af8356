"""Which steps of a wired pipeline can become part of one engine's graph: the longest run on each of its sides."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from generator.plan import EnsemblePlan, EnsembleStep, ModelPlan, Steps, StepsProgram, Tensor
from generator.resolve.steps import RULES, Value
from generator.spec.steps import StepChoice


@dataclass(frozen=True)
class Before:
    """Steps in front of an input: `folded` go into the graph, `rest` stays in `model`.

    `source` is what the first folded step takes; `tensor` is the engine's input then, under its own name.
    """

    model: ModelPlan
    step: EnsembleStep
    rest: Steps
    folded: Steps
    source: Tensor
    tensor: Tensor


@dataclass(frozen=True)
class After:
    """Steps behind the outputs `takes`: `folded` go into the graph, `rest` stays in `model`.

    `inside` names what `model` calls each of them.
    """

    model: ModelPlan
    step: EnsembleStep
    takes: tuple[str, ...]
    inside: tuple[str, ...]
    folded: Steps
    rest: Steps

    @property
    def last(self) -> Mapping[str, Any]:
        """The parameters of the last folded step."""
        return self.folded[-1][1]

    @property
    def label(self) -> str:
        """The output of class numbers or labels, where the last folded step has one."""
        return str(self.last.get("label_output", ""))

    @property
    def labels(self) -> Sequence[str] | None:
        """The labels that a step outside the graph puts in the place of class numbers."""
        found: Sequence[str] | None = self.last.get("labels")
        return found

    def gives(self) -> tuple[str, ...]:
        """The names of the outputs of `top_k` or `nms`, in order."""
        words = ("boxes_output", "label_output", "score_output", "count_output")
        return tuple(str(self.last[word]) for word in words if word in self.last)

    def of_the_engine(self) -> dict[str, Any]:
        """The parameters of `nms` with the engine's names for the two tensors."""
        own = dict(zip(self.inside, self.takes, strict=True))
        return {**self.last, "boxes": own[self.last["boxes"]], "scores": own[self.last["scores"]]}


class Places:
    """What can be folded into `engine`: `before` by input, `after`.

    `outside` are steps that could be in the graph, were there no other between them and the engine: model, index of
    the step, and a sentence. `reasons` say in words why a model of steps beside the engine stays whole.
    """

    def __init__(self, ensemble: EnsemblePlan, models: Sequence[ModelPlan], engine: ModelPlan) -> None:
        self.ensemble, self.engine = ensemble, engine
        self.by_name = {model.name: model for model in models}
        self.times = Counter(step.model for step in ensemble.steps)
        self.before: dict[str, Before] = {}
        self.after: list[After] = []
        self.outside: list[tuple[ModelPlan, int, str]] = []
        self.reasons: list[str] = []
        if self.times[engine.name] > 1:
            self.reasons.append(f"`{engine.key}` is in the flow several times")
        for step in [step for step in ensemble.steps if step.model == engine.name and self.times[step.model] == 1]:
            for tensor in engine.inputs:
                if tensor.name in step.inputs:
                    self._look_before(tensor, step.inputs[tensor.name])
            for other in ensemble.steps:
                between = set(step.outputs.values()) & set(other.inputs.values())
                if between and isinstance(self.by_name[other.model].program, StepsProgram):
                    self._look_after(step, other)

    def _look_before(self, tensor: Tensor, between: str) -> None:
        makers = [step for step in self.ensemble.steps if between in step.outputs.values()]
        model = self.by_name[makers[0].model] if makers else None
        if model is None or not isinstance(model.program, StepsProgram) or not self._alone(model, {between}):
            return
        steps, values = model.program.steps, self._values(model)
        cut = len(steps)
        if len(values) <= cut or not _is_plain(tensor):
            return
        while cut and not self._why_not(steps[cut - 1], values[cut - 1]):
            cut -= 1
        if cut == 0 and not _is_plain(model.inputs[0]):
            cut = 1
        self._note(model, values, cut - 1, range(cut - 1))
        if cut < len(steps):
            source = Tensor(tensor.name, values[cut].dtype, values[cut].dims)
            self.before[tensor.name] = Before(model, makers[0], steps[:cut], steps[cut:], source, source)

    def _look_after(self, step: EnsembleStep, follower: EnsembleStep) -> None:
        model = self.by_name[follower.model]
        assert isinstance(model.program, StepsProgram)  # noqa: S101  (for the type checker: the caller has looked)
        own = {tensor: name for name, tensor in step.outputs.items()}
        sources = list(follower.inputs.items())
        known = {tensor.name: tensor for tensor in self.engine.outputs}
        if not all(between in own and _is_plain(known[own[between]]) for _, between in sources):
            return
        if not self._alone(model, {between for _, between in sources}):
            return
        takes, inside = tuple(own[between] for _, between in sources), tuple(name for name, _ in sources)
        steps = model.program.steps
        if len(takes) > 1:
            if self._fits_nms(model, [known[name] for name in takes]) and not any(
                len(a.takes) > 1 for a in self.after
            ):
                self.after.append(After(model, follower, takes, inside, steps, ()))
            return
        values, cut = self._values(model), 0
        while cut < min(len(steps), len(values)) and not self._why_not(steps[cut], values[cut]):
            cut += 1
        self._note(model, values, cut, range(cut + 1, len(steps)))
        if cut:
            self.after.append(After(model, follower, takes, inside, steps[:cut], steps[cut:]))

    def _fits_nms(self, model: ModelPlan, tensors: Sequence[Tensor]) -> bool:
        """Whether the suppression's operator can stand there: it has to know how many boxes there are."""
        assert isinstance(model.program, StepsProgram)  # noqa: S101  (for the type checker)
        known = all(t.dtype == "FP32" and len(t.dims) == 2 and min(t.dims) > 0 for t in tensors)
        if not known or self.engine.max_batch_size == 0:
            self.reasons.append(
                "`nms` goes into a graph of fp32 boxes and scores of known numbers, with a batch axis"
            )
            return False
        return [name for name, _ in model.program.steps] == ["nms"]

    def _alone(self, model: ModelPlan, between: set[str]) -> bool:
        """Whether the model of steps has only the engine beside it, and nobody else sees what passes."""
        seen = dict.fromkeys(between, 0)
        for step in self.ensemble.steps:
            for tensor in step.inputs.values():
                seen[tensor] = seen.get(tensor, 0) + 1
        if any(seen[tensor] > 1 for tensor in between) or between & {t.name for t in self.ensemble.outputs}:
            self.reasons.append(f"what passes between `{model.key}` and `{self.engine.key}` is also used elsewhere")
        elif self.times[model.name] > 1:
            self.reasons.append(f"`{model.key}` is in the flow several times")
        elif (model.max_batch_size > 0) != (self.engine.max_batch_size > 0):
            self.reasons.append(
                f"one of `{model.key}` and `{self.engine.key}` has a batch axis, and the other has none"
            )
        else:
            return True
        return False

    def _values(self, model: ModelPlan) -> list[Value]:
        """What each step is given, and what the last one gives; shorter where a step gives several tensors."""
        assert isinstance(model.program, StepsProgram)  # noqa: S101  (for the type checker)
        values = [Value(model.inputs[0].dtype, model.inputs[0].dims)]
        for name, parameters in model.program.steps:
            if name not in RULES:
                break
            step = StepChoice.model_validate({name: parameters})
            values.append(RULES[name](step.parameters, values[-1]))
        return values

    def _why_not(self, step: tuple[str, Mapping[str, Any]], value: Value) -> str:
        from generator.engine.fold import why_not

        if value.ragged():
            return "is given images of any size"
        return why_not(*step, value.dtype)

    def _note(self, model: ModelPlan, values: Sequence[Value], stop: int, others: Sequence[int]) -> None:
        """Says of the steps beyond the one that `stop`s the run which of them could be folded, too."""
        assert isinstance(model.program, StepsProgram)  # noqa: S101  (for the type checker)
        steps = model.program.steps
        for index in others:
            if index < len(values) and not self._why_not(steps[index], values[index]):
                name, between = steps[index][0], steps[stop][0]
                reason = self._why_not(steps[stop], values[stop])
                message = f"`{name}` stays outside the graph of `{self.engine.key}`, behind `{between}`, which"
                self.outside.append((model, index, f"{message} {reason}"))


def _is_plain(tensor: Tensor) -> bool:
    """Whether nothing but type and dims is said of it: a folded step would change what the rest means."""
    return tensor == replace(Tensor(tensor.name, tensor.dtype, tensor.dims), encoded=tensor.encoded)
