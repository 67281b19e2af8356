"""The answer to one item."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tritonkit.client.errors import ItemError, ItemFailedError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Answer:
    """The outputs of one item, or its error.

    `outputs` maps names to arrays without the batch axis; STRING outputs hold `str` (`bytes` where the tensor is
    not UTF-8). `answer.label` is short for `answer.outputs["label"]`. `source` is the item's file, or empty.
    `latency_us` runs from sending to the answer, pauses between attempts included, and `attempts` counts how often it
    was sent; both are 0 if it never was.
    """

    index: int
    source: str = ""
    outputs: dict[str, NDArray[np.generic]] = field(default_factory=dict)
    error: ItemError | None = None
    latency_us: int = 0
    attempts: int = 0

    @property
    def ok(self) -> bool:
        """Whether there are outputs."""
        return self.error is None

    @property
    def title(self) -> str:
        """`item 3 (seven.png)`."""
        return f"item {self.index} ({self.source})" if self.source else f"item {self.index}"

    def raise_for_error(self) -> None:
        """Raises ItemFailedError if the item has no outputs."""
        if self.error is not None:
            raise ItemFailedError(self)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # copy and pickle ask for these before there are fields
            raise AttributeError(name)
        if name in self.outputs:
            return self.outputs[name]
        if self.error is not None:
            raise AttributeError(f"no {name!r}: {self.title} failed: {self.error}")
        raise AttributeError(f"no output {name!r}; outputs: {', '.join(map(repr, self.outputs))}")
