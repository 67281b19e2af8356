"""decode: PNG and JPEG bytes to pixels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import cv2
import numpy as np

from tritonkit_runtime.batch import Array, Batch
from tritonkit_runtime.parameters import Limits
from tritonkit_runtime.steps.base import Images, Kind, Pixels, one_of, shape_of
from tritonkit_runtime.steps.header import ImageError, read_header

# Each instance is a process of its own: OpenCV's thread pool would only fight with the others.
cv2.setNumThreads(1)

CHANNELS = {"gray": 1, "rgb": 3}


class Decode:
    """STRING [N, 1] (PNG or JPEG bytes) to `Images`.

    EXIF orientation is applied, 16-bit channels keep their upper 8 bits, alpha is dropped, palettes and
    Adobe CMYK become colours. Gray weighs red, green and blue with 0.299, 0.587, 0.114.
    An item that is empty, over `limits`, not a PNG or JPEG, or damaged fails alone.
    Damage within a JPEG's pixel data that libjpeg repairs by itself cannot be seen here.
    """

    takes: ClassVar[tuple[Kind, ...]] = ("bytes",)
    gives: ClassVar[Kind] = "images"

    def __init__(self, *, to: str, limits: Limits) -> None:
        self.channels = CHANNELS[one_of("to", to, CHANNELS)]
        self.limits = limits

    def __call__(self, batch: Batch, value: Array) -> Images:
        """Images that are decoded while the next step takes them; ValueError unless one string per item."""
        if value.dtype != object or value.size != len(value):
            raise ValueError(f"takes one string per item, found {value.dtype} {shape_of(value)}")
        return Images(self._images(batch, value.reshape(-1)), self.channels)

    def _images(self, batch: Batch, items: Array) -> Iterator[Pixels | None]:
        for index, data in enumerate(items):
            try:
                yield None if index in batch.failed else self.decode(data)
            except ImageError as error:
                batch.fail(index, str(error))
                yield None

    def decode(self, data: bytes) -> Pixels:
        """One image, UINT8 [H, W, channels]; raises ImageError."""
        if len(data) > self.limits.max_bytes:
            raise ImageError(f"{len(data)} bytes, more than the limit of {self.limits.max_bytes}")
        header = read_header(data)
        pixels = header.width * header.height
        if pixels > self.limits.max_pixels:
            size = f"{header.width}x{header.height} = {pixels} pixels"
            raise ImageError(f"{size}, more than the limit of {self.limits.max_pixels}")
        flags = cv2.IMREAD_GRAYSCALE if self.channels == 1 else cv2.IMREAD_COLOR
        try:
            image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
        except cv2.error as error:
            raise ImageError(f"the image cannot be decoded: {error.err}") from error
        if image is None:
            raise ImageError("the image cannot be decoded: its data is damaged")
        if self.channels == 1:
            return image[:, :, np.newaxis]
        return cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=image)
