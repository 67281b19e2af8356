"""Memory that stays with the process from batch to batch."""

from __future__ import annotations

import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of malloc.h
_LARGEST_KEPT_BYTES = 32 << 20  # the most that glibc takes: larger blocks are mapped and returned one by one
_KEPT_BYTES = 128 << 20


def keep() -> None:
    """Lets glibc keep what is freed instead of returning it to the kernel after each batch; for the whole process.

    Each page that comes back has to be cleared first: for a photograph that took a sixth of all CPU time
    (benchmarks/photos.md), and for what the server's stub copies of a request it costs more than the copy
    (benchmarks/gpu.md). Both values are needed: the first alone makes it twice as slow. Other C libraries have no
    mallopt, or none that does anything.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    mallopt(_M_MMAP_THRESHOLD, _LARGEST_KEPT_BYTES)
    mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
