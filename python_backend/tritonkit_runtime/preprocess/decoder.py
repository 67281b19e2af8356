"""JPEG files decoded on the GPU: what a decoder there is asked for, and how its images are read turned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from tritonkit_runtime.preprocess.jpeg import Kind
from tritonkit_runtime.steps.image_file import Header

# Decoded images take so much of the GPU's memory at most, for each image of the largest batch, on average: 1600x1300.
# A batch shares what it has, and what finds no room is decoded on the CPU.
DECODED_PIXELS = 1 << 21


@dataclass(frozen=True)
class Decoded:
    """An image in the GPU's memory: UINT8, its channels side by side, `row_bytes` from one row to the next."""

    pointer: int
    height: int
    width: int
    row_bytes: int


@dataclass(frozen=True)
class View:
    """An image as the kernel reads it: its first pixel, its size once it is turned, and bytes to the next pixels."""

    pointer: int
    height: int
    width: int
    row: int
    column: int


class Room(Protocol):
    """What one lane's images are decoded into, batch after batch; they stay until the next batch is decoded."""

    def decode(self, files: Sequence[Header], stream: int) -> list[Decoded | None]:
        """The images, once the stream has got there; None of those that it does not decode. Raises nothing else than
        CudaError of a lost device."""

    def close(self) -> None:
        """Gives the memory back; nothing reads it any more, and the stream is still there."""


class Decoder(Protocol):
    """Decodes JPEG files of these `kinds` alone."""

    kinds: frozenset[Kind]

    def room(self, largest: int, stream: int) -> Room:
        """For batches of up to `largest` images, decoded in this stream."""

    def close(self) -> None:
        """Ends it; its rooms are closed before."""


def turned(image: Decoded, orientation: int, channels: int) -> View:
    """The image as EXIF's `orientation` wants it seen, 1 to 8, without moving a pixel."""
    row, column = image.row_bytes, channels
    lower, right = (image.height - 1) * row, (image.width - 1) * column
    start, down, along = {
        1: (0, row, column), 2: (right, row, -column), 3: (lower + right, -row, -column), 4: (lower, -row, column),
        5: (0, column, row), 6: (lower, column, -row), 7: (lower + right, -column, -row), 8: (right, -column, row),
    }[orientation]  # fmt: skip
    height, width = (image.height, image.width) if orientation < 5 else (image.width, image.height)
    return View(image.pointer + start, height, width, down, along)
