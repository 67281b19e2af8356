"""Files that are no images, or not ones that a pipeline takes, and odd ones that it does take."""

from __future__ import annotations

import base64
import functools
import io
import struct
import zlib
from typing import Any

from PIL import Image
from story_tools import gate

LARGEST_BYTES = 20_000_000  # limits.max_bytes, as no spec says otherwise
_EXIF_ORIENTATION = 0x0112
_ENLARGED = 32  # pixels a side: JPEG's blocks of 8 x 8 then lose little of a digit


def digit(index: int = 0) -> bytes:
    """One of the held-out digits, a PNG of 8 x 8 grey pixels."""
    return _digits()[index]


@functools.cache
def _digits() -> list[bytes]:
    return [item["image"] for item in gate("digits").items]


def chunk(name: bytes, content: bytes) -> bytes:
    """One chunk of a PNG."""
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def with_comment(png: bytes, size_bytes: int) -> bytes:
    """The same image in a file of so many bytes: a comment stands before its end chunk."""
    content = b"Comment\0".ljust(size_bytes - len(png) - 12, b"x")
    return png[:-12] + chunk(b"tEXt", content) + png[-12:]


def png_of_size(width: int, height: int) -> bytes:
    """A PNG whose header claims that size; its few pixels fill a corner."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(4096))) + chunk(b"IEND", b"")


def jpeg_of_size(width: int, height: int) -> bytes:
    """A JPEG whose header claims that size."""
    jpeg = bytearray(_saved(_digit_image(0), "JPEG"))
    frame = jpeg.index(b"\xff\xc0")  # start of frame: marker, length, bits, height, width
    struct.pack_into(">HH", jpeg, frame + 5, height, width)
    return bytes(jpeg)


def bad_files() -> dict[str, bytes]:
    """What it is -> its bytes; docs/how-to/errors.md has a row for each."""
    png = digit()
    jpeg = _saved(_digit_image(0), "JPEG")
    damaged = bytearray(png)
    damaged[png.index(b"IDAT") + 8] ^= 0xFF
    cmyk = _saved(Image.new("CMYK", (16, 16), (200, 100, 50, 0)), "JPEG")
    adobe = cmyk.index(b"\xff\xee")
    (adobe_length,) = struct.unpack_from(">H", cmyk, adobe + 2)
    still = _digit_image(0)
    return {
        "an empty file": b"",
        "a text": b"no image at all, but a text",
        "the base64 text of an image": base64.b64encode(png),
        "an animated GIF": _saved(still, "GIF", save_all=True, append_images=[still.rotate(90)]),
        "a WebP image": _saved(still, "WEBP"),
        "a PNG whose header says 20,000 x 20,000 pixels": png_of_size(20_000, 20_000),
        "a JPEG whose header says 20,000 x 20,000 pixels": jpeg_of_size(20_000, 20_000),
        "a truncated PNG": png[:-20],
        "a truncated JPEG": jpeg[: len(jpeg) // 2],
        "a damaged PNG": bytes(damaged),
        "a CMYK JPEG without Adobe's marker": cmyk[:adobe] + cmyk[adobe + 2 + adobe_length :],
        "a file of more bytes than `limits.max_bytes`": with_comment(png, LARGEST_BYTES + 1),
    }


def fine_files(index: int) -> dict[str, bytes]:
    """Odd ways to keep one digit, without loss but for the JPEGs."""
    image = _digit_image(index)
    turned = image.rotate(-90, expand=True)
    exif = Image.Exif()
    exif[_EXIF_ORIENTATION] = 8  # to be turned back by 90 degrees
    wide = Image.frombytes("I;16", image.size, b"".join(struct.pack("<H", 257 * value) for value in image.tobytes()))
    frames = [image.rotate(90), image.rotate(180)]
    cmyk = Image.merge("CMYK", [Image.new("L", image.size)] * 3 + [Image.eval(image, lambda value: 255 - value)])
    return {
        "a PNG of 16 bits": _saved(wide, "PNG"),
        "a PNG with a palette": _saved(image.convert("P"), "PNG"),
        "a PNG with transparency": _saved(image.convert("RGBA"), "PNG"),
        "an animated PNG": _saved(image, "PNG", save_all=True, append_images=frames),
        "a PNG as large as a file may be": with_comment(digit(index), LARGEST_BYTES),
        "a JPEG turned by its EXIF data": _saved(turned, "JPEG", quality=95, exif=exif),
        "a progressive JPEG": _saved(image, "JPEG", quality=95, progressive=True),
        "a CMYK JPEG with Adobe's marker": _saved(cmyk, "JPEG", quality=95),
    }


def turned_file(index: int) -> bytes:
    """The JPEG that `fine_files` turns by its EXIF data, without them."""
    return _saved(_digit_image(index).rotate(-90, expand=True), "JPEG", quality=95)


def enlarged(index: int) -> bytes:
    """The digit as `fine_files` has it, in a plain PNG."""
    return _saved(_digit_image(index), "PNG")


def _digit_image(index: int) -> Any:
    image = Image.open(io.BytesIO(digit(index)))
    return image.resize((_ENLARGED, _ENLARGED), Image.Resampling.NEAREST)


def _saved(image: Any, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()
