"""A loaded engine as the stages see it: whole batches in, whole batches out, whatever runs it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]
    Tensors = Mapping[str, Array]


class Runner(Protocol):
    """An engine that has been loaded. Tensors have their batch axis, where the model has one."""

    def run(self, tensors: Tensors) -> dict[str, Array]:
        """All outputs for one batch of all inputs; raises what the engine raises."""

    def close(self) -> None:
        """Frees it; `run` must not be called again."""


@dataclass(frozen=True)
class Samples:
    """What an engine is given, batch by batch, as its model in the pipeline would receive it.

    Each of `batches` is one mapping input name → array [items, …]; items of unlike shapes are in unlike batches.
    Of a model without a batch axis (`batched` is False) each is one item. `items` counts all of them. `sha256` is
    that of the data that they were made of.
    """

    batches: tuple[Tensors, ...]
    sha256: str
    batched: bool = True

    @property
    def items(self) -> int:
        """Items in all batches."""
        if not self.batched:
            return len(self.batches)
        return sum(len(next(iter(batch.values()))) for batch in self.batches)


class Lifted:
    """A runner without a batch axis, whose answers get one: each is one item."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def run(self, tensors: Tensors) -> dict[str, Array]:
        """The answers, [1, …]."""
        return {name: value[None] for name, value in self._runner.run(tensors).items()}

    def close(self) -> None:
        """Frees it."""
        self._runner.close()


class OnnxRunner:
    """An ONNX model (its bytes) in ONNX Runtime, on the CPU unless `providers` say otherwise.

    `optimise=False` runs the graph as it is written. `outputs` names what is wanted; default: all outputs.
    Raises onnxruntime's own errors when the model cannot be loaded.
    """

    def __init__(
        self, model: bytes, *, optimise: bool = True, threads: int = 0, outputs: Sequence[str] | None = None,
        providers: Sequence[Any] = ("CPUExecutionProvider",),
    ) -> None:  # fmt: skip
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        if not optimise:
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        self._session: Any = onnxruntime.InferenceSession(model, options, providers=list(providers))
        self.names = list(outputs) if outputs is not None else [node.name for node in self._session.get_outputs()]

    def run(self, tensors: Tensors) -> dict[str, Array]:
        """The outputs by name."""
        return dict(zip(self.names, self._session.run(self.names, dict(tensors)), strict=True))

    def close(self) -> None:
        """Frees the session."""
        self._session = None
