"""What a step is, and the kinds of value that pass from one step to the next."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, ClassVar, Literal, Protocol

import numpy.typing as npt

from tritonkit_runtime.batch import Array, Batch

Pixels = npt.NDArray[Any]  # UINT8 [H, W, C]; OpenCV's annotations know no more of the type

# bytes: object array [N, 1]; images: an `Images`; array: [N, ...]; tensors: name -> [N, ...]
Kind = Literal["bytes", "images", "array", "tensors"]


class Images:
    """Decoded images of unequal size: UINT8 [H, W, channels] each, or None for an item that has failed.

    They are produced while they are consumed, once: a batch of large images never lies in memory whole.
    """

    def __init__(self, items: Iterable[Pixels | None], channels: int) -> None:
        self._items = items
        self.channels = channels

    def __iter__(self) -> Iterator[Pixels | None]:
        return iter(self._items)


class Step(Protocol):
    """One step of a chain: built once with its parameters (ValueError when they are wrong), called per batch.

    A call raises ValueError when the value does not suit the step; a bad *item* goes to `batch.fail`.
    """

    takes: ClassVar[tuple[Kind, ...]]
    gives: ClassVar[Kind]

    def __call__(self, batch: Batch, value: Any, /) -> Any:
        """The value of the next step, for the whole batch."""


def one_of(what: str, value: object, valid: Iterable[str]) -> str:
    """`value` if it is one of `valid`, else ValueError."""
    names = tuple(valid)
    if value not in names:
        raise ValueError(f"{what} is {value!r}; valid are {', '.join(names)}")
    return str(value)


def shape_of(array: Array) -> str:
    """An array's shape as people write it: [2, 8, 8]."""
    return f"[{', '.join(map(str, array.shape))}]"
