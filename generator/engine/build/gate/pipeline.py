"""The pipeline in FP32 and without a server: what it gives an engine, and what comes of the engine's answers."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from generator.engine.alone import Alone
from generator.engine.errors import Finding, StageError
from generator.engine.runner import Runner, Samples
from generator.plan import EngineProgram, EnsemblePlan, EnsembleStep, FilesProgram, FlowProgram, ModelPlan, Plan
from generator.project import Project
from generator.render import render

if TYPE_CHECKING:
    from generator.engine.runner import Array, Tensors


@dataclass
class Passed:
    """What went through the pipeline: the answers by item, and what one engine took and gave, batch by batch."""

    answers: list[dict[str, Array] | None] = field(default_factory=list)
    taken: list[Tensors] = field(default_factory=list)
    given: list[dict[str, Array]] = field(default_factory=list)


def in_fp32(plan: Plan, version: Mapping[str, int] | None = None) -> Plan:
    """The same pipeline as models of its own, every engine its ONNX file in ONNX Runtime.

    `version` is the one that a model runs in, for those that do not run their newest.
    """
    models, ensemble = plan.models, plan.ensemble
    program = models[0].program
    if isinstance(program, FlowProgram):
        fused = models[0]
        steps = tuple(EnsembleStep(s.model.name, s.inputs, s.outputs) for s in program.stages)
        ensemble = EnsemblePlan(plan.name, fused.inputs, fused.outputs, fused.max_batch_size, steps)
        models = tuple(stage.model for stage in program.stages)
    plain = tuple(_plain(model, (version or {}).get(model.name)) for model in models)
    return replace(plan, models=plain, ensemble=ensemble)


def _plain(model: ModelPlan, version: int | None) -> ModelPlan:
    if not isinstance(model.program, EngineProgram):
        return model
    program = replace(model.program, engine="onnxruntime", precision="fp32", asked="onnxruntime", buffers=None)
    if version is not None:
        one = replace(program.file_of(version), number=1)
        program, model = replace(program, versions=(one,), newest=1), replace(model, versions=None)
    return replace(model, program=program, backend="python", cuda_graphs=None)


class Pipeline:
    """A plan's pipeline around one of its engines, `model` in `version`.

    Raises StageError (TK988) when it has models that only a server can run.
    """

    def __init__(self, plan: Plan, model: str, version: int, project: Project) -> None:
        copied = [m.name for m in plan.models if isinstance(m.program, FilesProgram)]
        if copied:
            raise StageError(
                Finding("TK988", f"`{copied[0]}` is a directory of files, which only a server runs", "", "accuracy")
            )
        self.model, self.plan = model, in_fp32(plan, {model: version})
        self._files = render(self.plan, project)
        self.batched = next(m for m in self.plan.models if m.name == model).max_batch_size > 0

    def run(
        self, items: Sequence[Mapping[str, Any]], engine: Runner | None = None,
        others: Mapping[str, Runner] | None = None,
    ) -> Passed:  # fmt: skip
        """The items, in batches of the largest size, with `engine` in the place of the model (default: FP32).

        `others` run in the places of other models, by their names.
        """
        passed = Passed()
        inner = engine if engine is not None else self._fp32()
        size = max(1, self.plan.max_batch_size)
        batched = self.plan.max_batch_size > 0
        recorder = _Recorder(inner, passed, batched=self.batched)
        with Alone(self.plan, self._files, {**(others or {}), self.model: recorder}) as alone:
            for start in range(0, len(items), size):
                some = items[start : start + size]
                tensors = {t.name: _stack([item[t.name] for item in some]) for t in self.plan.inputs}
                answer = alone.run(tensors if batched else {name: value[0] for name, value in tensors.items()})
                for index in range(len(some)):
                    outputs = {name: value[index] if batched else value for name, value in answer.outputs.items()}
                    passed.answers.append(None if index in answer.failed else outputs)
        if engine is None:
            inner.close()
        return passed

    def _fp32(self) -> Runner:
        from generator.engine.runner import OnnxRunner

        model = next(model for model in self.plan.models if model.name == self.model)
        return OnnxRunner(self._files[f"{self.model}/{model.newest()}/model.onnx"], threads=1)


class _Recorder:
    """Keeps what an engine takes and gives; answers without a batch axis as one item."""

    def __init__(self, runner: Runner, passed: Passed, *, batched: bool) -> None:
        self._runner, self._passed, self._batched = runner, passed, batched

    def run(self, tensors: Tensors) -> dict[str, Array]:
        outputs = self._runner.run(tensors)
        self._passed.taken.append(tensors)
        self._passed.given.append(
            outputs if self._batched else {name: value[None] for name, value in outputs.items()}
        )
        return outputs

    def close(self) -> None:
        """The owner closes it."""


def samples_of(passed: Passed, sha256: str, *, batched: bool) -> Samples:
    """What the engine was given, as samples. Without a batch axis each is one item."""
    return Samples(tuple(passed.taken), sha256, batched)


def sha256_of_tensors(batches: Sequence[Tensors]) -> str:
    """Of what an engine is given: the steps before it decide that as much as the data."""
    digest = hashlib.sha256()
    for batch in batches:
        for name, value in sorted(batch.items()):
            digest.update(f"{name}:{value.dtype}{value.shape}:".encode())
            for part in map(bytes, value.reshape(-1)) if value.dtype == object else [value.tobytes()]:
                digest.update(f"{len(part)}:".encode() + part)
    return digest.hexdigest()


def sha256_of(items: Sequence[Mapping[str, Any]]) -> str:
    """Of items as a client would send them."""
    digest = hashlib.sha256()
    for item in items:
        for name, value in sorted(item.items()):
            data = value if isinstance(value, bytes) else f"{value.dtype}{value.shape}".encode() + value.tobytes()
            digest.update(f"{name}:{len(data)}:".encode() + data)
    return digest.hexdigest()


def _stack(values: Sequence[Any]) -> Array:
    import numpy as np

    if isinstance(values[0], bytes):
        return np.array([[value] for value in values], dtype=np.object_)
    return np.stack(values)
