"""What a PNG's or JPEG's header says, read without decoding a pixel."""

from __future__ import annotations

import struct
from dataclasses import dataclass

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_END = b"IEND\xaeB`\x82"  # the name and the checksum of the empty last chunk
_JPEG_END = b"\xff\xd9"
_START_OF_SCAN = 0xDA
_ADOBE_SEGMENT = 0xEE
# Start-of-frame markers; C4, C8 and CC in their midst mean other things.
_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# Markers that stand alone, without a length: TEM and the restart markers.
_ALONE = frozenset({0x01, *range(0xD0, 0xD8)})


class ImageError(ValueError):
    """Why these bytes are not an image that can be decoded: a phrase for the client."""


@dataclass(frozen=True)
class Header:
    """Width and height in pixels, before any EXIF rotation."""

    width: int
    height: int


def read_header(data: bytes) -> Header:
    """The header of a whole PNG or JPEG; raises ImageError, also when the file's end marker is missing."""
    if not data:
        raise ImageError("empty (0 bytes)")
    if data.startswith(_PNG_SIGNATURE):
        header = _png(data)
    elif data.startswith(b"\xff\xd8\xff"):
        header = _jpeg(data)
    else:
        raise ImageError(f"not a PNG or JPEG image (first bytes {data[:4].hex(' ')})")
    if not header.width or not header.height:
        raise ImageError(f"the image cannot be decoded: its size is {header.width}x{header.height}")
    return header


def _truncated(kind: str, size_bytes: int, where: str) -> ImageError:
    return ImageError(f"the image cannot be decoded: this {kind} of {size_bytes} bytes ends {where} (truncated)")


def _png(data: bytes) -> Header:
    if len(data) < 24:
        raise _truncated("PNG", len(data), "within its header")
    if data[12:16] != b"IHDR":
        raise ImageError("the image cannot be decoded: this PNG does not begin with an IHDR chunk")
    width, height = struct.unpack_from(">II", data, 16)
    if data.rfind(_PNG_END) < 0:
        raise _truncated("PNG", len(data), "before its end chunk")
    return Header(width, height)


def _jpeg(data: bytes) -> Header:
    """Walks the segments up to the pixels: each is FF, a marker, a 16-bit length that counts itself."""
    header: Header | None = None
    components, adobe = 0, False
    position = 2
    while position + 4 <= len(data):
        if data[position] != 0xFF:
            raise ImageError(f"the image cannot be decoded: this JPEG is damaged at byte {position}")
        marker = data[position + 1]
        if marker == 0xFF:  # fill bytes are allowed before a marker
            position += 1
            continue
        if marker in _ALONE:
            position += 2
            continue
        (length,) = struct.unpack_from(">H", data, position + 2)
        if marker in _START_OF_FRAME and position + 10 <= len(data):
            height, width, components = struct.unpack_from(">HHB", data, position + 5)
            header = Header(width, height)
        adobe = adobe or (marker == _ADOBE_SEGMENT and data.startswith(b"Adobe", position + 4))
        position += 2 + length
        if marker == _START_OF_SCAN:
            return _checked(data, header, position, components == 4 and not adobe)
    raise _truncated("JPEG", len(data), "within its header")


def _checked(data: bytes, header: Header | None, pixels_at: int, plain_cmyk: bool) -> Header:
    if header is None:
        raise ImageError("the image cannot be decoded: this JPEG has no frame header before its pixels")
    if plain_cmyk:
        # OpenCV takes all four-colour JPEGs for inverted ones, as Adobe writes them: others come out wrong.
        raise ImageError("a CMYK JPEG without Adobe's marker: save it as RGB")
    # Within the pixel data FF is always followed by 00 or a restart marker, so FF D9 is the end itself.
    # A decoder would fill what is missing with grey and call it an image.
    if data.rfind(_JPEG_END, pixels_at) < 0:
        raise _truncated("JPEG", len(data), "before its end marker")
    return header
