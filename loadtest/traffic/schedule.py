"""What is sent when: every arrival of a run, drawn before it starts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    Int64s = np.ndarray[Any, np.dtype[np.int64]]
    UInt32s = np.ndarray[Any, np.dtype[np.uint32]]
    UInt8s = np.ndarray[Any, np.dtype[np.uint8]]


@dataclass(frozen=True)
class Schedule:
    """The arrivals of a run, in the order in which they are due. All arrays are [requests].

    `due_ns` counts from the start of the run and never descends. `pipeline` is an index into the names of the mix,
    `payload` one into the payloads of that pipeline. `drawn` says how it was drawn (kind, rate, seed, mix), so that
    the same words give the same arrivals.
    """

    due_ns: Int64s
    pipeline: UInt8s
    payload: UInt32s
    drawn: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.due_ns)

    @property
    def duration_s(self) -> float:
        """Until the last one is due."""
        return float(self.due_ns[-1]) / 1e9 if len(self.due_ns) else 0.0

    def part(self, number: int, parts: int) -> Schedule:
        """Every `parts`-th arrival from `number` on: what one of several senders sends."""
        mine = slice(number, None, parts)
        drawn = {**self.drawn, "part": [number, parts]}
        return Schedule(self.due_ns[mine], self.pipeline[mine], self.payload[mine], drawn)
