"""Images of every kind made by hand or by Pillow and OpenCV: the odd ones for tests, small ones to mutate."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import cv2
import numpy as np
from PIL import Image, PngImagePlugin

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # colour type -> samples a pixel
GIF = b"GIF89a\x01\x00\x01\x00\x80\x01\x00\xff\xff\xff\x00\x00\x00!\xf9\x04\x01\n\x00\x00\x00,\x00;"


def picture(height: int = 60, width: int = 80, channels: int = 3) -> np.ndarray:
    """Smooth colours, so that a JPEG stays close to them; BGR."""
    rows, columns = np.mgrid[0:height, 0:width]
    layers = [rows * 255 / height, columns * 255 / width, (rows + columns) * 255 / (height + width), rows * 0 + 128]
    return np.stack(layers[:channels], axis=-1).astype(np.uint8)


def encoded(image: np.ndarray, kind: str = ".png", *options: int) -> bytes:
    return cv2.imencode(kind, image, options)[1].tobytes()


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    """The file that Pillow writes."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


# PNG -------------------------------------------------------------------------------------------------------


def chunk(name: bytes, content: bytes = b"") -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png_of(*chunks: bytes) -> bytes:
    return PNG_SIGNATURE + b"".join(chunks) + chunk(b"IEND")


def ihdr(width: int, height: int, bits: int = 8, colour: int = 0, interlace: int = 0) -> bytes:
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, interlace))


def png(width: int, height: int, pixels: bytes, *, bits: int = 8, colour: int = 0, extra: bytes = b"") -> bytes:
    return png_of(ihdr(width, height, bits, colour), extra, chunk(b"IDAT", zlib.compress(pixels, 9)))


def blank_png(width: int, height: int, *, bits: int = 8, colour: int = 0) -> bytes:
    """A black PNG of any size: all of its rows are zeros."""
    return png(
        width, height, bytes(height * (1 + (width * bits * PNG_SAMPLES[colour] + 7) // 8)), bits=bits, colour=colour
    )


def interlaced(image: np.ndarray) -> bytes:
    """A PNG of a UINT8 [H, W] image in Adam7's seven passes."""
    height, width = image.shape
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    rows = b"".join(
        b"\0" + row.tobytes()
        for y, x, step_y, step_x in passes
        for row in image[y::step_y, x::step_x]
        if row.size
    )  # fmt: skip
    return png_of(ihdr(width, height, interlace=1), chunk(b"IDAT", zlib.compress(rows)))


def frame_control(number: int, width: int, height: int, x: int, y: int) -> bytes:
    return chunk(b"fcTL", struct.pack(">IIIIIHHBB", number, width, height, x, y, 1, 10, 0, 0))


def animated(first: np.ndarray, second: np.ndarray) -> bytes:
    """An animated PNG of two UINT8 [H, W] frames."""
    height, width = first.shape
    frames = [zlib.compress(b"".join(b"\0" + row.tobytes() for row in frame)) for frame in (first, second)]
    return png_of(
        ihdr(width, height),
        chunk(b"acTL", struct.pack(">II", 2, 0)),
        frame_control(0, width, height, 0, 0),
        chunk(b"IDAT", frames[0]),
        frame_control(1, width, height, 0, 0),
        chunk(b"fdAT", struct.pack(">I", 2) + frames[1]),
    )


def with_chunks(file: bytes, *chunks: bytes) -> bytes:
    """A PNG with more chunks behind its IHDR."""
    return file[:33] + b"".join(chunks) + file[33:]


# JPEG ------------------------------------------------------------------------------------------------------


def segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def frame_header(width: int, height: int, components: int = 1, *, marker: int = 0xC0, bits: int = 8) -> bytes:
    parts = b"".join(bytes((i + 1, 0x11, 0)) for i in range(components))
    return segment(marker, struct.pack(">BHHB", bits, height, width, components) + parts)


def scan_header(components: tuple[int, ...], first: int = 0, last: int = 63, bits: int = 0) -> bytes:
    return segment(0xDA, bytes((len(components), *(b for c in components for b in (c, 0)), first, last, bits)))


def with_orientation(jpeg: bytes, orientation: int) -> bytes:
    entry = struct.pack(">HHIHH", 0x0112, 3, 1, orientation, 0)
    exif = b"Exif\0\0MM\0*\0\0\0\x08" + struct.pack(">H", 1) + entry + b"\0\0\0\0"
    return jpeg[:2] + segment(0xE1, exif) + jpeg[2:]


def adobe(transform: int) -> bytes:
    return segment(0xEE, b"Adobe" + bytes((0, 100, 0, 0, 0, 0, transform)))


def cmyk(levels: tuple[int, int, int, int], marker: bytes | None = None) -> bytes:
    """An 8x8 JPEG of four components, each of one level (a multiple of 8 from 128): only DC values are coded."""
    head = b"\xff\xd8" + (adobe(0) if marker is None else marker)
    head += segment(0xDB, b"\0" + b"\1" * 64)
    head += frame_header(8, 8, 4)
    head += segment(0xC4, b"\0" + bytes((0, 0, 0, 12)) + bytes(12) + bytes(range(12)))  # DC: 12 codes of 4 bits
    head += segment(0xC4, b"\x10" + bytes((1,)) + bytes(15) + b"\0")  # AC: the end of the block, in 1 bit
    head += scan_header((0 + 1, 2, 3, 4))
    bits = ""
    for level in levels:
        dc = (level - 128) * 8  # the DC value of a flat block is eight times its level
        length = dc.bit_length()
        bits += f"{length:04b}" + (f"{dc:b}" if dc else "") + "0"
    bits += "1" * (-len(bits) % 8)
    pixels = int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\0")
    return head + pixels + b"\xff\xd9"


def many_scans(width: int, height: int, scans: int, between: bytes = b"") -> bytes:
    """A progressive JPEG whose scans say in a few bytes each that nothing changes: a pass over all blocks each."""
    blocks = -(-width // 8) * -(-height // 8)
    runs = "".join("0" + "1" * 14 for _ in range(-(-blocks // 32767)))  # "the next 32767 blocks are at their end"
    runs += "1" * (-len(runs) % 8)
    nothing = int(runs, 2).to_bytes(len(runs) // 8, "big").replace(b"\xff", b"\xff\0")
    parts = [
        b"\xff\xd8",
        segment(0xDB, b"\0" + b"\1" * 64),
        frame_header(width, height, marker=0xC2),
        segment(0xC4, b"\0" + bytes((1,)) + bytes(15) + b"\0"),
        segment(0xC4, b"\x10" + bytes((1,)) + bytes(15) + b"\xe0"),
        scan_header((1,), 0, 0),
        bytes(blocks // 8 + 1),
    ]
    for number in range(scans - 1):
        bit = max(0, 12 - number)
        parts += [between, scan_header((1,), 1, 63, (bit + 1) << 4 | bit), nothing]
    return b"".join([*parts, b"\xff\xd9"])


# A file of each kind ---------------------------------------------------------------------------------------


def corpus() -> dict[str, bytes]:
    """Small files by name: what decode takes, and what it refuses."""
    return {**_pngs(), **_jpegs(), **_others()}


def _pngs() -> dict[str, bytes]:
    small = picture(17, 23)
    colour = Image.fromarray(small)
    gray = small[:, :, 0]
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Title", "a picture" * 20, zip=True)
    texts.add_itxt("Comment", "words" * 30, zip=True)
    turned = Image.Exif()
    turned[0x0112] = 6
    deep = gray.astype(np.uint16) * 257
    palette = colour.quantize(16)
    return {
        "png gray": encoded(gray),
        "png rgb": encoded(small),
        "png rgba": encoded(picture(17, 23, 4)),
        "png gray 16": encoded(deep),
        "png rgb 16": encoded(np.repeat(deep[:, :, np.newaxis], 3, axis=2)),
        "png gray alpha": saved(colour.convert("LA"), "PNG"),
        "png 1 bit": saved(colour.convert("1"), "PNG"),
        "png palette": saved(palette, "PNG"),
        "png palette tRNS": saved(palette, "PNG", transparency=3),
        "png palette 2 bits": saved(colour.quantize(4), "PNG", bits=2),
        "png gray 4 bits": png(4, 2, b"\0\x12\x34\0\x56\x78", bits=4),
        "png interlaced": interlaced(gray),
        "png animated": animated(gray, gray[::-1]),
        "png texts": saved(colour, "PNG", pnginfo=texts, icc_profile=bytes(300)),
        "png gamma": with_chunks(encoded(small), chunk(b"gAMA", struct.pack(">I", 45455)), chunk(b"bKGD", bytes(6))),
        "png turned": saved(colour, "PNG", exif=turned),
    }


def _jpegs() -> dict[str, bytes]:
    small = picture(17, 23)
    colour = Image.fromarray(small)
    plain = encoded(small, ".jpg")
    return {
        "jpeg": plain,
        "jpeg gray": encoded(small[:, :, 0], ".jpg"),
        "jpeg progressive": encoded(small, ".jpg", cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
        "jpeg progressive gray": encoded(small[:, :, 0], ".jpg", cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
        "jpeg restarts": encoded(small, ".jpg", cv2.IMWRITE_JPEG_RST_INTERVAL, 1),
        "jpeg 4:4:4": saved(colour, "JPEG", subsampling=0, quality=90),
        "jpeg rgb": saved(colour, "JPEG", keep_rgb=True),
        "jpeg cmyk": saved(colour.convert("CMYK"), "JPEG"),
        "jpeg ycck": cmyk((200, 136, 136, 248), adobe(2)),
        "jpeg cmyk plain": cmyk((200, 136, 136, 248), b""),
        "jpeg turned": with_orientation(plain, 6),
        "jpeg mirrored": with_orientation(plain, 5),
        "jpeg profile": saved(colour, "JPEG", icc_profile=bytes(300), comment=b"a comment"),
        "jpeg thumbnail": plain[:2] + segment(0xE1, b"Exif\0\0" + encoded(small[:8, :8], ".jpg")) + plain[2:],
        "jpeg several": saved(colour, "MPO", save_all=True, append_images=[colour.resize((8, 8))]),
        "jpeg scans": many_scans(23, 17, 30),
        "jpeg trailing": plain + b"\0motion photo",
    }


def _others() -> dict[str, bytes]:
    colour = Image.fromarray(picture(9, 9))
    return {
        "gif": saved(colour, "GIF"),
        "webp": saved(colour, "WEBP"),
        "bmp": saved(colour, "BMP"),
        "tiff": saved(colour, "TIFF"),
        "text": b"not an image at all",
        "empty": b"",
    }
