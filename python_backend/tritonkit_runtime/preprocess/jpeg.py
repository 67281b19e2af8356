"""What is to be known of a JPEG before a GPU may decode it: how its pixels are stored, and how they are turned.

Only files whose meaning nobody can take differently go there: everything else stays with the CPU's decoder.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from tritonkit_runtime.steps.image_file import Header

BASELINE, PROGRESSIVE = 0xC0, 0xC2

_YCC = (b"\x01\x02\x03", 1)  # the names of the components, and Adobe's word for this transform
_SHORT, _LONG, _ASCII, _RATIONAL = 3, 4, 2, 5
_TYPE_BYTES = {1: 1, _ASCII: 1, _SHORT: 2, _LONG: 4, _RATIONAL: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}
_EXIF = b"Exif\0\0"
_ORIENTATION = 0x112
# OpenCV reads these as it expects them to be, whatever the file says, and stops at what it cannot read.
_READ_AS = {
    0x10E: (_ASCII, 1), 0x10F: (_ASCII, 1), 0x110: (_ASCII, 1), 0x131: (_ASCII, 1), 0x132: (_ASCII, 1),
    0x8298: (_ASCII, 1), 0x11A: (_RATIONAL, 1), 0x11B: (_RATIONAL, 1), 0x13E: (_RATIONAL, 2), 0x13F: (_RATIONAL, 6),
    0x211: (_RATIONAL, 3), 0x214: (_RATIONAL, 6), 0x128: (_SHORT, 1), 0x213: (_SHORT, 1), 0x8769: (_LONG, 1),
    _ORIENTATION: (_SHORT, 1),
}  # fmt: skip


class Kind(NamedTuple):
    """How pixels are stored: the frame's marker, and of each component how often it is sampled along and down."""

    marker: int
    sampling: bytes


def kind_of(header: Header) -> Kind | None:
    """The kind of a JPEG whose colours can only be Y, Cb, Cr or gray; None of any other file."""
    if (found := header.jpeg) is None:
        return None
    data, at = header.data, found.frame
    marker, count = data[at + 1], data[at + 9]
    names, sampling = data[at + 10 : at + 10 + 3 * count : 3], data[at + 11 : at + 10 + 3 * count : 3]
    if marker != PROGRESSIVE and (marker != BASELINE or found.several):
        return None
    if len(sampling) != count or count not in (1, 3):
        return None
    if count == 3 and (names != _YCC[0] or (found.adobe >= 0 and data[found.adobe + 15] != _YCC[1])):
        return None
    return Kind(marker, sampling)


def orientation_of(header: Header) -> int | None:
    """As OpenCV turns the image, 1 to 8 as in EXIF; None where a reader could take the file's word in two ways."""
    if header.jpeg is None:
        return None
    if (at := header.jpeg.app1) < 0:
        return 1
    data = header.data
    end = at + 2 + struct.unpack_from(">H", data, at + 2)[0]
    tiff = data[at + 10 : end]
    if tiff[:4] not in (b"II*\0", b"MM\0*"):
        # Other things than EXIF stand in such a segment too; OpenCV looks at two letters. EXIF in a segment behind it
        # is nothing to OpenCV 4.11, and counts for later versions.
        return 1 if tiff[:2] not in (b"II", b"MM") and data.find(_EXIF, end) < 0 else None
    return _turned(tiff) if data.startswith(_EXIF, at + 4) else None


def _turned(tiff: bytes) -> int | None:
    order = "<" if tiff.startswith(b"II") else ">"
    orientation = 1
    try:
        [at] = struct.unpack_from(f"{order}I", tiff, 4)
        [count] = struct.unpack_from(f"{order}H", tiff, at)
        for number in range(count):
            tag, kind, values = struct.unpack_from(f"{order}HHI", tiff, at + 2 + 12 * number)
            size = _TYPE_BYTES[kind] * values
            expected, least = _READ_AS.get(tag, (kind, 0))
            if kind != expected or values < least:
                return None
            if size > 4 and struct.unpack_from(f"{order}I", tiff, at + 10 + 12 * number)[0] + size > len(tiff):
                return None
            if tag == _ORIENTATION:
                [said] = struct.unpack_from(f"{order}H", tiff, at + 10 + 12 * number)
                if values != 1 or not 1 <= said <= 8 or orientation != 1:
                    return None
                orientation = said
    except (struct.error, KeyError):
        return None
    return orientation
