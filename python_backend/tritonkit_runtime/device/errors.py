"""What goes wrong with a GPU: for now, for want of memory, or for good."""

from __future__ import annotations

OUT_OF_MEMORY = 2

# After these every further call on the context fails too, and what is in its memory cannot be trusted: a kernel read
# where it must not (700, 714 to 718), ran too long (702), asserted (710), failed otherwise (719), memory was found
# damaged (214), the link to it broke (220), the context is gone (4, 201, 709), or the driver knows no name (999).
LASTING = frozenset({4, 201, 214, 220, 700, 702, 709, 710, 714, 715, 716, 717, 718, 719, 720, 721, 999})


class CudaError(RuntimeError):
    """A call of the driver failed; the message names it. `status` is CUDA's number, 0 where there is no driver."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status

    @property
    def lasting(self) -> bool:
        """Whether the context is lost: nothing runs on it any more."""
        return self.status in LASTING


class OutOfMemoryError(CudaError):
    """There is no room for a buffer: the message says for which, how many bytes, and what is free."""

    def __init__(self, message: str) -> None:
        super().__init__(message, OUT_OF_MEMORY)


class DeviceLostError(CudaError):
    """An earlier failure lost the context; only a new process has a working one."""
