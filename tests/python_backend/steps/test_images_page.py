"""docs/reference/images.md says what decode says."""

from __future__ import annotations

import base64
import re
import zlib
from pathlib import Path

import pytest
from image_files import (
    GIF,
    adobe,
    blank_png,
    chunk,
    cmyk,
    encoded,
    frame_header,
    ihdr,
    many_scans,
    picture,
    png,
    png_of,
    scan_header,
)

from tritonkit_runtime.parameters import Limits
from tritonkit_runtime.steps.decode import Decode
from tritonkit_runtime.steps.header import ImageError

PAGE = (Path(__file__).parents[3] / "docs" / "reference" / "images.md").read_text(encoding="utf-8")
PNG, JPEG = encoded(picture()), encoded(picture(), ".jpg")


def zeros(mib: int) -> bytes:
    """A zlib stream of so many MiB of zeros, without its end."""
    pieces = zlib.compressobj(9)
    first, again = (pieces.compress(bytes(1 << 20)) + pieces.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
    return first + again * (mib - 1)


# First column of the page's table -> such a file.
EXAMPLES = {
    "nothing": b"",
    "a GIF, WebP, BMP, TIFF, HEIC, AVIF, JPEG 2000, JPEG XL, PDF, SVG, ...": GIF,
    "base64 text": base64.b64encode(JPEG),
    "a `data:` URL": b"data:image/png;base64," + base64.b64encode(PNG),
    "a URL": b"https://example.org/cat.jpg",
    "JSON": b'{"image": "..."}',
    "other text": b"cat.jpg",
    "gzip data": b"\x1f\x8b\x08\0",
    "a file that was read as text": PNG.decode("latin-1").encode(),
    "a length before the image": len(PNG).to_bytes(4, "little") + PNG,
    "anything else": bytes(100),
    "more than `max_bytes`": bytes(20_000_001),
    "more than `max_pixels`": blank_png(20_000, 20_000, bits=1),
    "a side that libjpeg does not take": b"\xff\xd8" + frame_header(65_501, 1),
    "too many scans": many_scans(8, 8, 101),
    "too many scans for its size": many_scans(6400, 6400, 30),
    "a CMYK JPEG without Adobe's marker": cmyk((200, 136, 136, 248), b""),
    "an arithmetic-coded JPEG": b"\xff\xd8" + frame_header(8, 8, marker=0xC9),
    "a lossless JPEG": b"\xff\xd8" + frame_header(8, 8, marker=0xC3),
    "12 bits a sample": b"\xff\xd8" + frame_header(8, 8, marker=0xC1, bits=12),
    "the start of a file": JPEG[:700],
    "a large frame around nothing": b"\xff\xd8" + frame_header(7000, 7000) + scan_header((1,)) + b"\0\xff\xd9",
    "a small image and much more": png_of(ihdr(8, 8), chunk(b"IDAT", zeros(1000))),
    "damaged pixels": PNG[:-20] + b"\1" + PNG[-19:],
}  # fmt: skip


def rows() -> dict[str, str]:
    """The table of refusals: what came -> what is said of it."""
    return dict(re.findall(r"^\| (.+?) \| `(.+?)` \|$", PAGE.partition("## What is refused")[2], re.MULTILINE))


def test_every_row_has_an_example() -> None:
    assert set(rows()) == set(EXAMPLES)


@pytest.mark.parametrize("what", EXAMPLES)
def test_the_message_is_the_pages(what: str) -> None:
    with pytest.raises(ImageError) as caught:
        Decode(to="rgb", limits=Limits()).decode(EXAMPLES[what])
    assert str(caught.value) == rows()[what]


def test_the_limits_defaults_are_the_pages() -> None:
    limits = Limits()
    assert f"| `max_bytes` | {limits.max_bytes:,} |" in PAGE
    assert f"| `max_pixels` | {limits.max_pixels:,} |" in PAGE


@pytest.mark.parametrize(
    "data",
    [JPEG, encoded(picture(), ".jpg", 2, 1), cmyk((200, 136, 136, 248), adobe(2)), PNG, png(8, 1, b"\0\xff", bits=1)],
)
def test_what_the_page_says_is_taken_is(data: bytes) -> None:
    assert Decode(to="rgb", limits=Limits()).decode(data).size
