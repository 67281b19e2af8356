"""OpenCV as a process of the server wants it: one thread, and memory that stays from image to image."""

from __future__ import annotations

import ctypes

import cv2

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of malloc.h
_LARGEST_KEPT_BYTES = 32 << 20  # the most that glibc takes: larger blocks are mapped and returned one by one
_KEPT_BYTES = 128 << 20


def set_up() -> None:
    """Sets both up; a second call changes nothing."""
    # Each instance is a process of its own: OpenCV's thread pool would only fight with the others.
    cv2.setNumThreads(1)
    _keep_memory()


def _keep_memory() -> None:
    """Lets glibc keep freed pixels instead of returning them to the kernel after each image.

    Each page that comes back has to be cleared first: for a photograph that took a sixth of all CPU time
    (benchmarks/photos.md). Both values are needed: the first alone makes it twice as slow. Other C libraries have no
    mallopt, or none that does anything.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    mallopt(_M_MMAP_THRESHOLD, _LARGEST_KEPT_BYTES)
    mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
