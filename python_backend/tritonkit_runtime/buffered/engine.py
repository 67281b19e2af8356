"""What every engine looks like that works on tensors which already lie in buffers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from tritonkit_runtime.buffered.shapes import Fixed, Size


class Session(Protocol):
    """What an engine needs once for every slot of a ring, so that two slots may run at the same time."""

    def warm(self, size: Size, addresses: Mapping[str, int], stream: int) -> None:
        """Runs a batch of `size` for the first time: whatever is searched, allocated or compiled for it, is now.

        `addresses`: every input and output -> where it begins; a later `run` of this size has the same. The batch
        is done when the stream has got there. Raises ParameterError when the engine takes no such batch.
        """

    def run(self, size: Size, stream: int) -> None:
        """Puts a batch of a size that is warm into the stream, as it lies in the buffers. Allocates nothing.

        Raises BatchError when the engine refuses; what goes wrong later shows when the stream is waited for.
        """

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape that an output whose shape depends on the data had last, when the stream has been waited for."""

    def close(self) -> None:
        """Frees what the session holds."""


class BufferedEngine(Protocol):
    """A loaded model. `inputs` and `outputs` are the declared ones, which the file was checked against.

    `recordable`: whether what `Session.run` puts into a stream may be recorded as a CUDA graph and replayed.
    `batched`: whether tensors have a batch axis. `about` names it for messages: `the plan model.plan`.
    """

    inputs: tuple[Fixed, ...]
    outputs: tuple[Fixed, ...]
    recordable: bool
    batched: bool
    about: str

    def session(self, stream: int) -> Session:
        """One more session; `stream` is the one that it will be given (an engine may be bound to it)."""

    def close(self) -> None:
        """Frees the model; every session must be closed before."""
