"""FP32 beside the engines that are judged: each batch is run through it once, however many are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from generator.engine.build.gate.pipeline import sha256_of_tensors

if TYPE_CHECKING:
    from generator.engine.runner import Array, OnnxRunner, Tensors


class Reference:
    """A Runner of the FP32 graph (its bytes) on one thread, which is loaded when it is first given a batch that it
    has no answer to, and again when that happens after `close`: the answers stay."""

    def __init__(self, graph: bytes) -> None:
        self._graph = graph
        self._runner: OnnxRunner | None = None
        self._answers: dict[str, dict[str, Array]] = {}

    def run(self, tensors: Tensors) -> dict[str, Array]:
        """All outputs for one batch; raises what the engine raises."""
        from generator.engine.runner import OnnxRunner

        key = sha256_of_tensors([tensors])
        if key not in self._answers:
            self._runner = self._runner or OnnxRunner(self._graph, threads=1)
            self._answers[key] = self._runner.run(tensors)
        return dict(self._answers[key])

    def close(self) -> None:
        """Frees the graph."""
        if self._runner is not None:
            self._runner.close()
            self._runner = None
