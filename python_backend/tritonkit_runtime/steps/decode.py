"""decode: PNG and JPEG bytes to pixels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import cv2
import numpy as np

from tritonkit_runtime.batch import Array, Batch
from tritonkit_runtime.parameters import Limits
from tritonkit_runtime.steps import opencv
from tritonkit_runtime.steps.base import Images, Kind, Pixels, one_of, shape_of
from tritonkit_runtime.steps.header import Header, ImageError, read_header
from tritonkit_runtime.steps.image_file import broken
from tritonkit_runtime.steps.png_file import check_inflated
from tritonkit_runtime.steps.quiet import Quiet

opencv.set_up()

CHANNELS = {"gray": 1, "rgb": 3}
# Each scan goes over all pixels, up to 35 ms for 50 million of them; libjpeg writes 10, or 18 for four colours.
SCANS_AT_MAX_PIXELS = 20

_quiet = Quiet()


class Decode:
    """STRING [N, 1] (PNG or JPEG bytes) to `Images`.

    EXIF orientation is applied, 16-bit channels keep their upper 8 bits, alpha is dropped, palettes and
    Adobe CMYK become colours, gamma and profiles are not applied. Gray weighs red, green and blue with
    0.299, 0.587, 0.114. Of an animated PNG or a JPEG with several images the default or first one counts.
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
        return Images(self._images(batch, _files(value)), self.channels)

    def _images(self, batch: Batch, files: Array) -> Iterator[Pixels | None]:
        for index, data in enumerate(files):
            try:
                yield None if index in batch.failed else self.decode(data)
            except ImageError as error:
                batch.fail(index, str(error))
                yield None

    def headers(self, batch: Batch, value: Array) -> list[Header | None]:
        """Of files that may be decoded, by whoever does it; None of items that have failed. ValueError as above."""
        found: list[Header | None] = []
        for index, data in enumerate(_files(value)):
            try:
                found.append(None if index in batch.failed else self.checked(data))
            except ImageError as error:
                batch.fail(index, str(error))
                found.append(None)
        return found

    def decode(self, data: bytes) -> Pixels:
        """One image, UINT8 [H, W, channels]; raises ImageError."""
        return self.pixels(self.checked(data))

    def checked(self, data: bytes) -> Header:
        """The file's header, if it may be decoded; raises ImageError. No pixel is decoded."""
        if len(data) > self.limits.max_bytes:
            raise ImageError(f"{len(data)} bytes, more than the limit of {self.limits.max_bytes}")
        header = read_header(data)
        self._check_cost(header, len(data))
        return header

    def pixels(self, header: Header) -> Pixels:
        """The image of a header that was checked, UINT8 [H, W, channels]; raises ImageError."""
        flags = cv2.IMREAD_GRAYSCALE if self.channels == 1 else cv2.IMREAD_COLOR_RGB
        try:
            with _quiet:
                image = cv2.imdecode(np.frombuffer(header.data, np.uint8), flags)
        except cv2.error as error:  # larger than OpenCV takes, or than the memory that there is
            raise broken(" ".join(str(error.err).split())[:200]) from error
        if image is None:
            raise broken("its data is damaged")
        if image.shape[:2] not in {(header.height, header.width), (header.width, header.height)}:
            size = f"{image.shape[1]}x{image.shape[0]}"
            raise broken(f"its header says {header.width}x{header.height}, its data {size}")
        return image.reshape(*image.shape[:2], self.channels)

    def _check_cost(self, header: Header, size_bytes: int) -> None:
        """Raises ImageError for an image that costs more time or memory than the limits allow."""
        pixels, most = header.width * header.height, self.limits.max_pixels
        size = f"{header.width}x{header.height} = {pixels} pixels"
        if pixels > most:
            raise ImageError(f"{size}, more than the limit of {most}")
        if pixels * header.scans > most * SCANS_AT_MAX_PIXELS:
            raise ImageError(
                f"{header.scans} scans of {size}, more than {SCANS_AT_MAX_PIXELS} times the limit of {most}"
            )
        if pixels > header.room:
            # A decoder would take a frame's memory and time for a few bytes.
            raise broken(f"its {size_bytes} bytes are too few for {size} (truncated)")
        if header.inflated_bytes:
            check_inflated(header)


def _files(value: Array) -> Array:
    if value.dtype != object or value.size != len(value):
        raise ValueError(f"takes one string per item, found {value.dtype} {shape_of(value)}")
    return value.reshape(-1)
