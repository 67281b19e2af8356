"""What a PNG's or JPEG's header says, read without decoding a pixel."""

from __future__ import annotations

from tritonkit_runtime.steps import jpeg_file, png_file
from tritonkit_runtime.steps.image_file import Header, ImageError
from tritonkit_runtime.steps.other_files import what_instead

__all__ = ["Header", "ImageError", "read_header"]


def read_header(data: bytes) -> Header:
    """The header of a whole PNG or JPEG; raises ImageError, also when the file's end marker is missing."""
    if data.startswith(jpeg_file.SIGNATURE):
        return jpeg_file.read_jpeg(data)
    if data.startswith(png_file.SIGNATURE):
        return png_file.read_png(data)
    raise ImageError(what_instead(data) if data else "empty (0 bytes)")
