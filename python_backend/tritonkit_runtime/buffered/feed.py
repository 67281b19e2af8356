"""What fills an input of an engine on the device itself, from memory of its own, instead of from a slot's staging."""

from __future__ import annotations

from typing import Protocol


class Fed(Protocol):
    """Of one lane. What the next batch needs is put into it between taking the lane and starting the batch."""

    def copy_in(self, stream: int) -> None:
        """Puts the copy of what was given to the device into the stream."""

    def put(self, size: int, stream: int) -> None:
        """Puts the making of the input's first `size` rows into the stream, those of padding included."""

    def close(self) -> None:
        """Frees what it holds; nothing is under way."""


class Feeder(Protocol):
    """Makes a Fed for every lane. `input` is the name of the input that it fills."""

    input: str

    def lane(self, address: int, largest: int, number: int) -> Fed:
        """For the lane of this number, whose input is at `address` and has `largest` rows. Raises CudaError."""

    def close(self) -> None:
        """Frees what all of them share; the lanes are closed before."""
