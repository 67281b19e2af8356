"""OpenCV as a process of the server wants it: one thread, and memory that stays from image to image."""

from __future__ import annotations

import cv2

from tritonkit_runtime import kept_memory


def set_up() -> None:
    """Sets both up; a second call changes nothing."""
    # Each instance is a process of its own: OpenCV's thread pool would only fight with the others.
    cv2.setNumThreads(1)
    kept_memory.keep()
