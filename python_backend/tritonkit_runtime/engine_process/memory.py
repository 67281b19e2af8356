"""Memory that an instance and the engine process both see, without a name that could be left behind."""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os

from tritonkit_runtime.device.errors import OUT_OF_MEMORY, CudaError
from tritonkit_runtime.device.host import Host

ALIGNMENT_BYTES = 64


def aligned(size_bytes: int) -> int:
    """What a tensor of this size takes."""
    return -(-max(1, size_bytes) // ALIGNMENT_BYTES) * ALIGNMENT_BYTES


def is_sealed(descriptor: int) -> bool:
    """Whether nobody can make the memory smaller; OSError for what is no memory of this kind."""
    return bool(fcntl.fcntl(descriptor, fcntl.F_GET_SEALS) & fcntl.F_SEAL_SHRINK)


class Mapped:
    """Shared memory, mapped: `address` is where it begins. The descriptor is the caller's."""

    def __init__(self, descriptor: int, size_bytes: int) -> None:
        self._map = mmap.mmap(descriptor, size_bytes)
        self._held: ctypes.Array[ctypes.c_char] | None = (ctypes.c_char * size_bytes).from_buffer(self._map)
        self.address, self.size_bytes = ctypes.addressof(self._held), size_bytes

    def close(self) -> None:
        """Unmaps it: nobody may use addresses in it any more."""
        self._held = None
        self._map.close()


class Shared(Host):
    """Plain memory whose pinned part is shared: a Device for the ring of an instance that has no engine of its own.

    The memory is taken from the front to the back and given back as a whole. Its size is sealed: the engine process
    can rely on it whatever becomes of this one.
    """

    def __init__(self, size_bytes: int) -> None:
        super().__init__()
        self.descriptor = os.memfd_create("tritonkit-rows", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            pages = -(-size_bytes // mmap.PAGESIZE) * mmap.PAGESIZE
            os.ftruncate(self.descriptor, pages)
            fcntl.fcntl(self.descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
            self.mapped = Mapped(self.descriptor, pages)
        except BaseException:
            os.close(self.descriptor)
            raise
        self._taken = 0

    def pinned(self, size_bytes: int) -> int:
        """The next part of the shared memory."""
        begin, end = self._taken, self._taken + aligned(size_bytes)
        if end > self.mapped.size_bytes:
            left = self.mapped.size_bytes - begin
            raise CudaError(f"{size_bytes:,} bytes of shared memory are wanted, {left:,} are left", OUT_OF_MEMORY)
        self._taken = end
        return self.mapped.address + begin

    def free_pinned(self, pointer: int) -> None:
        """Nothing yet: it goes as a whole."""

    def close(self) -> None:
        """Gives the memory back. Nobody may use it any more here; the engine process has its own mapping."""
        self.mapped.close()
        os.close(self.descriptor)
