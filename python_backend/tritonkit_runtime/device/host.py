"""Plain memory as a device, for engines that run on the CPU: what is put into a stream is done at once."""

from __future__ import annotations

import ctypes
import itertools
import time

_ALIGNMENT_BYTES = 64  # a cache line, as CPU engines like their tensors


class Host:
    """This machine's memory; a Device. It has no recordings: an engine on it runs when it is told to."""

    unified = True

    def __init__(self) -> None:
        self._blocks: dict[int, ctypes.Array[ctypes.c_char]] = {}
        self._numbers = itertools.count(1)
        self._events: dict[int, float] = {}

    def facts(self) -> dict[str, str]:
        """That there is no GPU."""
        return {"gpu": "none"}

    def use(self) -> None:
        """Nothing: every thread has it."""

    def memory(self) -> tuple[int, int]:
        """Bytes that are free, and all, as the kernel says."""
        with open("/proc/meminfo", encoding="ascii") as file:  # noqa: PTH123 — no path that anybody chose
            lines = dict(line.split(":", 1) for line in file)
        free, total = (int(lines[name].split()[0]) * 1024 for name in ("MemAvailable", "MemTotal"))
        return free, total

    def allocate(self, size_bytes: int) -> int:
        """Memory at the beginning of a cache line."""
        block = ctypes.create_string_buffer(max(1, size_bytes) + _ALIGNMENT_BYTES)
        start = -(-ctypes.addressof(block) // _ALIGNMENT_BYTES) * _ALIGNMENT_BYTES
        self._blocks[start] = block
        return start

    def free(self, pointer: int) -> None:
        """Gives memory back."""
        del self._blocks[pointer]

    def pinned(self, size_bytes: int) -> int:
        """The same: all of it is this machine's."""
        return self.allocate(size_bytes)

    def free_pinned(self, pointer: int) -> None:
        """Gives memory back."""
        self.free(pointer)

    def register(self, host: int, size_bytes: int) -> None:
        """Nothing: it is copied by this process."""

    def unregister(self, host: int) -> None:
        """Nothing."""

    def copy_in(self, pointer: int, host: int, size_bytes: int, stream: int) -> None:  # noqa: ARG002
        """From one place to the other; nothing where they are one."""
        if pointer != host:
            ctypes.memmove(pointer, host, size_bytes)

    def copy_out(self, host: int, pointer: int, size_bytes: int, stream: int) -> None:
        """From one place to the other; nothing where they are one."""
        self.copy_in(host, pointer, size_bytes, stream)

    def copy_within(self, pointer: int, source: int, size_bytes: int, stream: int) -> None:
        """From one place to the other."""
        self.copy_in(pointer, source, size_bytes, stream)

    def zero(self, pointer: int, size_bytes: int, stream: int) -> None:  # noqa: ARG002
        """Makes memory all zeros."""
        ctypes.memset(pointer, 0, size_bytes)

    def stream(self) -> int:
        """A number."""
        return next(self._numbers)

    def free_stream(self, stream: int) -> None:
        """Nothing to give back."""

    def wait(self, stream: int) -> None:
        """Nothing to wait for."""

    def event(self, timed: bool = True) -> int:  # noqa: ARG002 — all of them are
        """A number."""
        return next(self._numbers)

    def free_event(self, event: int) -> None:
        """Forgets when it was."""
        self._events.pop(event, None)

    def record(self, event: int, stream: int, outside: bool = False) -> None:  # noqa: ARG002
        """The event is now."""
        self._events[event] = time.perf_counter()

    def wait_in(self, stream: int, event: int) -> None:
        """Nothing to wait for."""

    def wait_for(self, event: int, awake_us: float = 0.0) -> None:
        """Nothing to wait for."""

    def between_us(self, start: int, end: int) -> float:
        """Microseconds between two events."""
        return (self._events[end] - self._events[start]) * 1e6

    def begin_capture(self, stream: int) -> None:
        """Refused: plain memory runs nothing by itself."""
        raise NotImplementedError("plain memory has no recordings")

    def end_capture(self, stream: int) -> int:
        """Refused."""
        raise NotImplementedError("plain memory has no recordings")

    def launch(self, graph: int, stream: int) -> None:
        """Refused."""
        raise NotImplementedError("plain memory has no recordings")

    def free_graph(self, graph: int) -> None:
        """Refused."""
        raise NotImplementedError("plain memory has no recordings")
