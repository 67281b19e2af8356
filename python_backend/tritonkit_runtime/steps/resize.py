"""resize: images of any size to one size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import cv2
import numpy as np

from tritonkit_runtime.batch import Array, Batch
from tritonkit_runtime.steps import opencv
from tritonkit_runtime.steps.base import Images, Kind, Pixels, one_of, shape_of

opencv.set_up()  # as in decode: a chain may have the one without the other

METHODS = {
    "linear": cv2.INTER_LINEAR,
    "area": cv2.INTER_AREA,
    "cubic": cv2.INTER_CUBIC,
    "nearest": cv2.INTER_NEAREST,
}


class Resize:
    """`Images` or UINT8 [N, H, W, C] to UINT8 [N, *size, C], as cv2.resize does; size is [height, width].

    Rows of failed items are zeros. An array that has the size already is returned as it is.
    """

    takes: ClassVar[tuple[Kind, ...]] = ("images", "array")
    gives: ClassVar[Kind] = "array"

    def __init__(self, *, size: Sequence[int], method: str) -> None:
        if len(size) != 2 or not all(isinstance(length, int) and length > 0 for length in size):
            raise ValueError(f"size is {size!r}; it must be [height, width] in pixels")
        self.height, self.width = size
        self.name = one_of("method", method, METHODS)
        self.method = METHODS[self.name]

    def __call__(self, batch: Batch, value: Images | Array) -> Pixels:
        """One array for the whole batch; ValueError unless the value is images."""
        if isinstance(value, Images):
            channels, images = value.channels, value
        else:
            if value.ndim != 4 or value.dtype != np.uint8:
                raise ValueError(f"takes UINT8 [N, H, W, C], found {value.dtype} {shape_of(value)}")
            if value.shape[1:3] == (self.height, self.width):
                return value
            channels, images = value.shape[3], Images(value, value.shape[3])
        resized = np.empty((batch.size, self.height, self.width, channels), np.uint8)
        for row, image in zip(resized, images, strict=True):
            self.into(row, image)
        return resized

    def into(self, row: Pixels, image: Pixels | None) -> None:
        """One image into UINT8 [*size, C]; zeros where there is none."""
        if image is None:
            row[...] = 0
        elif image.shape == row.shape:
            row[...] = image
        else:
            # Without its axis of length 1 a gray row is what OpenCV would have made: it writes into it.
            target = row[:, :, 0] if row.shape[2] == 1 else row
            cv2.resize(image, (self.width, self.height), dst=target, interpolation=self.method)
