"""An instance, as the engine process sees it: a connection, and memory that both map."""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tritonkit_runtime.batch import Tensors
from tritonkit_runtime.buffered.placing import Placed
from tritonkit_runtime.buffered.shapes import Fixed
from tritonkit_runtime.device import Device
from tritonkit_runtime.device.errors import CudaError
from tritonkit_runtime.engine_process import wire
from tritonkit_runtime.engine_process.memory import ALIGNMENT_BYTES, Mapped, is_sealed
from tritonkit_runtime.placed import OnDevice

if TYPE_CHECKING:
    from tritonkit_runtime.preprocess.parcel import Packed

_HELLO_S = 10.0  # an instance says it at once, before the engine is ready to listen


class Member:
    """One instance. Its memory stays mapped until it has left and none of its batches is under way.

    The connection is the caller's to close. EOFError, OSError, ValueError when the other side is none of ours.
    """

    def __init__(self, connection: socket.socket, device: Device) -> None:
        self.connection, self._device = connection, device
        if wire.user_of(connection) != os.getuid():
            raise ValueError("another user's process is no instance")
        connection.settimeout(_HELLO_S)
        descriptor, size = wire.receive_hello(connection)
        connection.settimeout(None)
        try:
            if os.fstat(descriptor).st_size != size:
                raise ValueError("the memory has another size than the hello says")
            if not is_sealed(descriptor):  # to read what was cut off ends a process
                raise ValueError("the memory may be made smaller")
            self.memory = Mapped(descriptor, size)
        finally:
            os.close(descriptor)
        self._lock = threading.Lock()
        self._holders = 1  # the one who listens to it, and every batch under way
        self._registered = False
        try:
            device.use()
            device.register(self.memory.address, size)
            self._registered = True
        except CudaError as error:
            sys.stderr.write(
                f"tritonkit: engine process: {size:,} bytes that an instance shares cannot be page-locked ({error}): "
                "its batches are copied through memory of the driver's, slower\n"
            )
            sys.stderr.flush()

    @property
    def registered(self) -> bool:
        """Whether the device copies from and to the memory by itself."""
        return self._registered

    def hold(self) -> None:
        """The memory is needed once more."""
        with self._lock:
            self._holders += 1

    def release(self) -> None:
        """And once less; the last one frees it."""
        with self._lock:
            self._holders -= 1
            if self._holders:
                return
        if self._registered:
            with contextlib.suppress(CudaError):
                self._device.use()
                self._device.unregister(self.memory.address)
        self.memory.close()

    def tell(self, words: str) -> None:
        """What became of its batch; nothing where the instance is gone."""
        with contextlib.suppress(OSError):
            wire.send_words(self.connection, words)

    def refuse(self, rows: Sequence[int]) -> None:
        """Its batch was run, but for files that were not decoded."""
        with contextlib.suppress(OSError):
            wire.send_refused(self.connection, rows)


@dataclass
class Job:
    """A batch of one instance, in its memory.

    `images` are what a kernel makes an input of, and `refused` the rows of those whose files were not decoded.
    """

    member: Member
    items: int
    inputs: tuple[int, ...]  # addresses
    outputs: tuple[int, ...]
    size_bytes: int  # of the inputs
    alone: bool = False  # it was in a batch that failed, and may not be why
    images: list[Packed] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)

    def placed(self, inputs: Sequence[Fixed], row: int, *, batched: bool) -> list[Placed]:
        """Its inputs, as rows of a batch from `row` on."""
        found = []
        for tensor, pointer in zip(inputs, self.inputs, strict=True):
            lies = OnDevice(pointer, tensor.shape(self.items, batched), tensor.dtype, self.member)
            found.append(Placed(tensor.name, row, self.items, lies, on_host=True))
        return found

    def take(self, outputs: Sequence[Fixed], answers: Tensors, row: int, *, batched: bool) -> None:
        """Copies its rows of what the engine answered into its memory."""
        for tensor, pointer in zip(outputs, self.outputs, strict=True):
            whole = answers[tensor.name]
            rows = whole[row : row + self.items] if batched else whole
            ctypes.memmove(pointer, rows.ctypes.data, rows.nbytes)


# Images at an offset of an instance's memory (its address and size), so many; ValueError for what cannot be there.
Unpack = Callable[[tuple[int, int], int, int], "list[Packed]"]


def job_of(
    member: Member, asked: wire.Asked, inputs: Sequence[Fixed], outputs: Sequence[Fixed], largest: int, *,
    unpack: Unpack | None = None,
) -> Job:  # fmt: skip
    """What an instance asks for, checked against its memory; ValueError for what does not lie in it.

    `unpack` takes images for a kernel out of it, which the last offset is of.
    """
    if not 1 <= asked.items <= largest:
        raise ValueError(f"a batch of {asked.items} items, where the engine takes 1 to {largest}")
    sizes = [tensor.bytes_of(asked.items) for tensor in (*inputs, *outputs)]
    for offset, size in zip(asked.offsets, sizes, strict=unpack is None):
        if offset % ALIGNMENT_BYTES or offset + size > member.memory.size_bytes:
            raise ValueError(f"{size} bytes at {offset} are not in the {member.memory.size_bytes} that were shared")
    addresses = [member.memory.address + offset for offset, _ in zip(asked.offsets, sizes, strict=False)]
    cut, whole = len(inputs), (member.memory.address, member.memory.size_bytes)
    images = [] if unpack is None else unpack(whole, asked.offsets[-1], asked.items)
    copied = sum(sizes[:cut]) + sum(image.size_bytes for image in images if not image.orientation)
    return Job(member, asked.items, tuple(addresses[:cut]), tuple(addresses[cut:]), copied, images=images)
