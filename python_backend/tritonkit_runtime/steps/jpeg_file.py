"""A JPEG's segments: its size, whether it is whole, and how often a decoder goes over its pixels."""

from __future__ import annotations

import re
import struct
from typing import NamedTuple

from tritonkit_runtime.steps.image_file import (
    Header,
    ImageError,
    Segments,
    broken,
    check_size,
    damaged,
    truncated,
)

SIGNATURE = b"\xff\xd8\xff"
_END = b"\xff\xd9"
_END_OF_IMAGE, _START_OF_SCAN, _APP1, _ADOBE_SEGMENT = 0xD9, 0xDA, 0xE1, 0xEE
_MISPLACED = {0x00, 0xD8}  # a stuffed byte, another image's start
_LONGEST = 65_500  # pixels of a side, as libjpeg has it
# Start-of-frame markers; C4, C8 and CC in their midst mean other things.
_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE = 0xC2
_TAKEN = {0xC0, 0xC1, _PROGRESSIVE}
# Markers that stand alone, without a length: TEM and the restart markers.
_ALONE = frozenset({0x01, *range(0xD0, 0xD8)})
# Within pixel data FF is followed by 00, a restart marker or another FF: all else is the next segment.
_next_segment = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]").search
# The most that known files have: hundreds (64 kB of a depth map or a profile each). Fill bytes count too.
_MAX_SEGMENTS = 4096
# libjpeg writes 10 scans (18 for four colours), and encoders that search for the best division about twice as
# many. A scan can be 20 bytes long and yet cost a pass over the whole frame, 35 ms for 50 million pixels.
MAX_SCANS = 100
# A block is 8x8 pixels and costs a bit at the least.
_PIXELS_A_BYTE = 8 * 64

_length_at = struct.Struct(">H").unpack_from
_frame_at = struct.Struct(">BHHB").unpack_from


class _Frame(NamedTuple):
    """A frame header: bits a sample, height and width in pixels, colour components."""

    bits: int
    height: int
    width: int
    components: int


def read_jpeg(data: bytes) -> Header:
    """The header of a whole JPEG; raises ImageError.

    Walks the segments up to the pixels exactly as libjpeg does (each is FF, a marker, a 16-bit length that
    counts itself), so that both see the same frame header; what libjpeg would skip is refused.
    """
    frame: _Frame | None = None
    progressive = False
    frame_at = app1 = adobe = -1
    position, size = 2, len(data)
    for _ in range(_MAX_SEGMENTS):
        if position + 4 > size:
            raise truncated("JPEG", size, "within its header")
        marker = data[position + 1]
        if data[position] != 0xFF or marker in _MISPLACED:
            raise damaged("JPEG", position)
        if marker == 0xFF:  # fill bytes are allowed before a marker
            position += 1
            continue
        if marker in _ALONE:
            position += 2
            continue
        if marker == _END_OF_IMAGE:
            raise broken("this JPEG has no pixels before its end marker")
        after = position + 2 + _length(data, position)
        if marker in _START_OF_FRAME and position + 10 <= size:
            frame = _frame(marker, _Frame(*_frame_at(data, position + 4)), frame)
            progressive, frame_at = marker == _PROGRESSIVE, position
        elif marker == _APP1 and app1 < 0:
            app1 = position
        elif marker == _ADOBE_SEGMENT and after >= position + 16 and data.startswith(b"Adobe", position + 4):
            adobe = position
        elif marker == _START_OF_SCAN:
            if frame is None:
                raise broken("this JPEG has no frame header before its pixels")
            if frame.components == 4 and adobe < 0:
                # OpenCV takes all four-colour JPEGs for inverted ones, as Adobe writes them: others come out wrong.
                raise ImageError("a CMYK JPEG without Adobe's marker: save it as RGB")
            # A first scan of fewer components than the frame has is not the only one.
            several = progressive or data[position + 4 : position + 5] < bytes((frame.components,))
            return _whole(data, frame, after, Segments(frame_at, app1, adobe, several))
        position = after
    raise broken(f"this JPEG has more than {_MAX_SEGMENTS} segments")


def _length(data: bytes, position: int) -> int:
    """The length of the segment at `position`, which counts its own two bytes."""
    length: int = _length_at(data, position + 2)[0]
    if length < 2:
        raise damaged("JPEG", position + 2)
    return length


def _frame(marker: int, frame: _Frame, earlier: _Frame | None) -> _Frame:
    """`frame`, if OpenCV decodes what it announces."""
    if earlier is not None:
        sizes = f"{earlier.width}x{earlier.height} and {frame.width}x{frame.height}"
        raise broken(f"this JPEG has two frame headers ({sizes})")
    if marker not in _TAKEN:
        kind = "a lossless" if marker == 0xC3 else "an arithmetic-coded" if marker > 0xC8 else "a hierarchical"
        raise ImageError(f"{kind} JPEG: save it as a baseline or progressive one")
    if frame.bits != 8:
        raise ImageError(f"a JPEG of {frame.bits} bits a sample: save it with 8")
    if frame.components not in {1, 3, 4}:
        raise broken(f"this JPEG has {frame.components} colour components; valid are 1, 3 and 4")
    check_size(frame.width, frame.height, _LONGEST)
    return frame


def _whole(data: bytes, frame: _Frame, pixels_at: int, segments: Segments) -> Header:
    # Within the pixel data FF is always followed by 00 or a restart marker, so FF D9 is the end itself.
    # A decoder would fill what is missing with grey and call it an image.
    if data.rfind(_END, pixels_at) < 0:
        raise truncated("JPEG", len(data), "before its end marker")
    scans = _count_scans(data, pixels_at) if segments.several else 1
    room = (len(data) - pixels_at) * _PIXELS_A_BYTE
    return Header(frame.width, frame.height, scans, room, data, jpeg=segments)


def _count_scans(data: bytes, position: int) -> int:
    """Scans up to the end marker; the header of the first ends at `position`."""
    scans = 1
    for _ in range(_MAX_SEGMENTS):
        found = _next_segment(data, position)
        if found is not None and data[found.end() - 1] == _END_OF_IMAGE:
            return scans
        if found is None or found.end() + 2 > len(data):
            raise truncated("JPEG", len(data), "before its end marker")
        scans += data[found.end() - 1] == _START_OF_SCAN
        if scans > MAX_SCANS:
            raise broken(f"this JPEG has more than {MAX_SCANS} scans: save it as a baseline one")
        position = found.end() + _length(data, found.start())
    raise broken(f"this JPEG has more than {_MAX_SEGMENTS} segments")
