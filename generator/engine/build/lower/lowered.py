"""A graph in the precision that was asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from generator.engine.runner import Tensors

IN_GRAPH = frozenset({"fp16", "bf16"})
QUANTISED = frozenset({"int8", "fp8"})


@dataclass(frozen=True)
class Lowered:
    """The graph's bytes, the ranges that they were made with (of int8), and what the manifest says of both.

    `compiled` is what the compiler is given instead, where that is a graph which ONNX Runtime cannot run. `batches`
    are what TensorRT finds its ranges with itself.
    """

    graph: bytes
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    compiled: bytes | None = None
    batches: Sequence[Tensors] = ()

    @property
    def given(self) -> bytes:
        """What the compiler is given."""
        return self.graph if self.compiled is None else self.compiled
