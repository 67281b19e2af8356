"""The pipeline run in this process, without a server: what the gate and the tests compare the server with.

It is the same code as in the server: what is decoded, resized and normalised here is so there.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generator.plan import EnsembleStep, ModelPlan, Plan

if TYPE_CHECKING:
    import numpy as np

    from generator.engine.runner import Runner, Tensors
    from tritonkit_runtime.programs import Program


@dataclass(frozen=True)
class AnswerAlone:
    """Outputs for a whole batch (leading axis: items); `failed` says why an item's values mean nothing.

    Without a batch axis there is one item, 0.
    """

    outputs: Mapping[str, np.ndarray[Any, Any]]
    failed: Mapping[int, str] = field(default_factory=dict)


class Alone:
    """All models of a Plan, loaded from its rendered files: of each the newest version served. A context manager.

    Only models of the Python backend can be run so. `instead` runs in the place of the models that it names, and
    `seen` is told what every model was given. Raises tritonkit_runtime's ParameterError when a model cannot be
    loaded.
    """

    def __init__(
        self, plan: Plan, files: Mapping[str, bytes], instead: Mapping[str, Runner] | None = None,
        seen: Callable[[str, Tensors], None] | None = None,
    ) -> None:  # fmt: skip
        from tritonkit_runtime.parameters import load
        from tritonkit_runtime.programs import Program

        self.plan = plan
        self._instead, self._seen = dict(instead or {}), seen
        self._folder = tempfile.TemporaryDirectory(prefix="tritonkit-alone-")
        root = Path(self._folder.name)
        for path, data in files.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(data)
        self._batched = {m.name for m in plan.models if m.max_batch_size > 0}
        self._programs: dict[str, Program] = {
            m.name: Program(load(root / m.name / str(m.newest())), root / m.name / str(m.newest()), _to_stderr)
            for m in plan.models
            if m.name not in self._instead
        }

    def __enter__(self) -> Alone:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            for program in self._programs.values():
                program.close()
            self._folder.cleanup()
        finally:  # an interrupt in the midst of it leaves nothing either
            shutil.rmtree(self._folder.name, ignore_errors=True)

    def run(self, tensors: Mapping[str, np.ndarray[Any, Any]]) -> AnswerAlone:
        """The pipeline's outputs for one batch (max_batch_size 0: for one item, without a batch axis).

        Text and encoded bytes are object arrays of bytes.
        """
        known = dict(tensors)
        failed: dict[int, str] = {}
        for step in self._steps():
            outputs, bad = self._run(step.model, {name: known[source] for name, source in step.inputs.items()})
            known.update({step.outputs[name]: value for name, value in outputs.items() if name in step.outputs})
            failed = {**bad, **failed}
        return AnswerAlone({t.name: known[t.name] for t in self.plan.outputs}, failed)

    def _steps(self) -> tuple[EnsembleStep, ...]:
        if self.plan.ensemble is not None:
            return self.plan.ensemble.steps
        model: ModelPlan = self.plan.models[0]
        return (
            EnsembleStep(model.name, {t.name: t.name for t in model.inputs}, {t.name: t.name for t in model.outputs}),
        )

    def _run(self, model: str, tensors: Mapping[str, np.ndarray[Any, Any]]) -> tuple[dict[str, Any], dict[int, str]]:
        from tritonkit_runtime.batch import concatenate, single

        if self._seen is not None:
            self._seen(model, tensors)
        if model in self._instead:
            return dict(self._instead[model].run(tensors)), {}
        batch = concatenate([tensors]) if model in self._batched else single(tensors)
        outputs = self._programs[model].run(batch)
        return dict(outputs), dict(batch.failed)


def _to_stderr(text: str) -> None:
    sys.stderr.write(text + "\n")
