"""What the first bytes of a TensorRT plan say, and which TensorRT a server has.

The layout is the one that TensorRT's own `trtexec --getPlanVersionOnly` reads, and that plans of 8.6.1 were seen to
have: a tag, the version of the layout (0 is the one known), how many parts there are, at byte 16 the size of the
whole file, and at byte 24 the four numbers of the TensorRT that wrote it.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from generator import lfs

HEADER_BYTES = 28
_TAG, _LAYOUT = b"ftrt", 0
_LAYOUT_AT, _SIZE_AT, _VERSION_AT = 4, 16, 24
_PART_TAG = b"ptrt"  # what an engine begins with, inside a plan

# The TensorRT of NVIDIA's images, as far as it is known. Those between two have one between theirs.
TENSORRT_OF = {
    "24.11": (10, 6, 0),
    "25.03": (10, 9, 0),
    "25.06": (10, 11, 0),
    "26.07": (11, 1),
}


class Header(NamedTuple):
    """The TensorRT that wrote a plan, such as (10, 9, 0, 34), and how large it says that the plan is.

    Without a version, `problem` says what the file is; `is_plan` is None where nothing can be said about it.
    """

    version: tuple[int, ...] | None
    is_plan: bool | None
    problem: str = ""
    size_bytes: int = -1


def read_header(data: bytes) -> Header:
    """What the beginning of a file says; `HEADER_BYTES` of it are enough."""
    if data[:4] != _TAG:
        return Header(None, False, _what_else(data))
    if len(data) < HEADER_BYTES:
        return Header(None, False, f"ends after {len(data)} bytes, inside its header")
    (layout,) = struct.unpack_from("<I", data, _LAYOUT_AT)
    if layout != _LAYOUT:
        return Header(None, None, f"has a header of layout {layout}, and only layout {_LAYOUT} is known")
    (size_bytes,) = struct.unpack_from("<Q", data, _SIZE_AT)
    return Header(tuple(data[_VERSION_AT:HEADER_BYTES]), True, "", size_bytes)


def _what_else(data: bytes) -> str:
    if not data:
        return "is empty"
    if data.startswith(_PART_TAG):
        return "begins with ptrt, as what is inside a plan does and plans of old TensorRT versions did"
    if lfs.is_pointer(data):
        return lfs.WHAT
    if data[4:5] == b"{" and data[2:4] == b"\0\0":
        return "has JSON before the plan, as Ultralytics' export writes it"
    return f"is no TensorRT plan: it begins with {data[:4].hex(' ')}, a plan with {_TAG.hex(' ')}"


def tensorrt_of(release: str) -> tuple[tuple[int, ...] | None, tuple[int, ...] | None]:
    """The oldest and the newest TensorRT that a release may have: equal where it is known, None where open."""
    known = sorted(TENSORRT_OF.items())
    oldest = [version for name, version in known if name <= release]
    newest = [version for name, version in known if name >= release]
    return (oldest[-1] if oldest else None), (newest[0] if newest else None)


class Instead(NamedTuple):
    """What a release has instead of a plan's TensorRT: `10.6.0 or newer`, and whether the plan's is older."""

    has: str
    older: bool


def instead_of(version: tuple[int, ...], release: str) -> Instead | None:
    """Of a release that does not have TensorRT `version`, what it has; None where it may have that one."""
    oldest, newest = tensorrt_of(release)
    if oldest is not None and is_older(version, oldest):
        return Instead(shown(oldest) + ("" if oldest == newest else " or newer"), older=True)
    if newest is not None and is_older(newest, version):
        return Instead(shown(newest) + ("" if oldest == newest else " or older"), older=False)
    return None


def is_older(version: tuple[int, ...], than: tuple[int, ...]) -> bool:
    """Whether a version is older, as far as both are given: 10.6 is not older than 10.6.2."""
    return version[: len(than)] < than[: len(version)]


def shown(version: tuple[int, ...]) -> str:
    """`10.9.0`."""
    return ".".join(map(str, version))
