"""Where an engine's buffers are, and how they are filled: one interface for a GPU and for plain memory.

Addresses, streams, events and recordings are numbers, as engines take them. What is put into a stream runs in its
order, some time later; only `wait` and `wait_for` make the host wait.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Device(Protocol):
    """Memory, streams, events and recordings (CUDA graphs). Every call may raise CudaError."""

    unified: bool
    """Whether pinned memory is the engine's own: nothing has to be copied, and every stream is done at once."""

    def facts(self) -> dict[str, str]:
        """What it is: `gpu` is its name."""

    def use(self) -> None:
        """Makes it the device of this thread; nothing but time is lost by saying it twice."""

    def memory(self) -> tuple[int, int]:
        """Bytes that are free, and all bytes."""

    def allocate(self, size_bytes: int) -> int:
        """Device memory of at least one byte."""

    def free(self, pointer: int) -> None:
        """Gives device memory back."""

    def pinned(self, size_bytes: int) -> int:
        """Host memory that the device copies from and to by itself."""

    def free_pinned(self, pointer: int) -> None:
        """Gives pinned memory back."""

    def register(self, host: int, size_bytes: int) -> None:
        """Makes ordinary host memory such that the device copies from and to it by itself."""

    def unregister(self, host: int) -> None:
        """Makes it ordinary memory again, before it is given back."""

    def copy_in(self, pointer: int, host: int, size_bytes: int, stream: int) -> None:
        """From host to device memory."""

    def copy_out(self, host: int, pointer: int, size_bytes: int, stream: int) -> None:
        """From device to host memory."""

    def copy_within(self, pointer: int, source: int, size_bytes: int, stream: int) -> None:
        """From device memory to other device memory, `source`."""

    def zero(self, pointer: int, size_bytes: int, stream: int) -> None:
        """Makes device memory all zeros."""

    def stream(self) -> int:
        """A stream that waits for no other."""

    def free_stream(self, stream: int) -> None:
        """Ends a stream."""

    def wait(self, stream: int) -> None:
        """The host waits until everything in the stream is done; raises what went wrong in it."""

    def event(self, timed: bool = True) -> int:
        """A point in a stream; one that is not `timed` costs less. The host sleeps while it waits for it."""

    def free_event(self, event: int) -> None:
        """Gives an event back."""

    def record(self, event: int, stream: int, outside: bool = False) -> None:
        """The event is when everything before it in the stream is done.

        `outside`: while a recording is made, the event is one that others wait for each time it is launched.
        """

    def wait_in(self, stream: int, event: int) -> None:
        """What is put into the stream from now on waits for the event; the host does not."""

    def wait_for(self, event: int, awake_us: float = 0.0) -> None:
        """The host waits for the event; raises what went wrong before it.

        It asks again and again for up to `awake_us`, which takes a core and tells at once, and then sleeps.
        """

    def between_us(self, start: int, end: int) -> float:
        """Microseconds between two timed events that have passed."""

    def begin_capture(self, stream: int) -> None:
        """What is put into the stream from now on is recorded and not run."""

    def end_capture(self, stream: int) -> int:
        """What was recorded, ready to be launched."""

    def launch(self, graph: int, stream: int) -> None:
        """Runs what was recorded."""

    def free_graph(self, graph: int) -> None:
        """Gives a recording back."""


class Kernels(Device, Protocol):
    """A device that runs kernels of ours."""

    def module(self, image: bytes) -> int:
        """Compiled code, loaded."""

    def free_module(self, module: int) -> None:
        """Unloads it."""

    def function(self, module: int, name: str) -> int:
        """A kernel of a loaded module."""

    def run(
        self, function: int, grid: tuple[int, int, int], block: tuple[int, int, int], pointers: Sequence[int],
        stream: int,
    ) -> None:  # fmt: skip
        """Puts a kernel whose arguments are all pointers into the stream: `grid` blocks of `block` threads."""
