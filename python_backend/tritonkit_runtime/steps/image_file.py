"""What the header of an encoded image tells, or why the file is refused, in the words that a client gets."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple


class ImageError(ValueError):
    """Why these bytes are not an image that can be decoded: one line for the client, below 300 characters."""


class Segments(NamedTuple):
    """Where a JPEG has what decides how its pixels are read: positions of markers, -1 of one that is not there.

    `frame` is the frame header, `app1` the first application segment 1 (where EXIF is), `adobe` Adobe's. `several`:
    whether its pixels come in more scans than one.
    """

    frame: int
    app1: int
    adobe: int
    several: bool


@dataclass(frozen=True)
class Header:
    """Width and height in pixels, before any EXIF rotation, and what decoding may cost.

    `scans`: how often a decoder goes over all the pixels. `room`: the most pixels that the file's data can hold.
    `data`: what to give to the decoder, the file without the parts that it must not see. `inflated_bytes`: what its
    pixels take once they are inflated, where a decoder that inflated all there is could run for seconds; else 0.
    `jpeg`: of a JPEG, where its segments are.
    """

    width: int
    height: int
    scans: int = field(default=1, compare=False)
    room: int = field(default=0, compare=False)
    data: bytes = field(default=b"", compare=False, repr=False)
    inflated_bytes: int = field(default=0, compare=False)
    jpeg: Segments | None = field(default=None, compare=False, repr=False)


def check_size(width: int, height: int, longest: int) -> None:
    """Raises ImageError for a size that no decoder takes: without pixels, or a side above `longest`."""
    size = f"{width}x{height}"
    if not width or not height:
        raise broken(f"its size is {size}")
    if max(width, height) > longest:
        raise ImageError(f"{size} pixels, more than {longest} along one side")


def broken(why: str) -> ImageError:
    """An image of the right kind that does not decode."""
    return ImageError(f"the image cannot be decoded: {why}")


def damaged(kind: str, position: int) -> ImageError:
    """A file whose structure is wrong at byte `position`."""
    return broken(f"this {kind} is damaged at byte {position}")


def truncated(kind: str, size_bytes: int, where: str) -> ImageError:
    """A file that ends too early; `where` goes on after "ends"."""
    return broken(f"this {kind} of {size_bytes} bytes ends {where} (truncated)")
