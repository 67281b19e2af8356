from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from image_files import (
    animated,
    blank_png,
    chunk,
    encoded,
    frame_control,
    ihdr,
    interlaced,
    picture,
    png,
    png_of,
    with_chunks,
)

from tritonkit_runtime.parameters import Limits
from tritonkit_runtime.steps.decode import Decode
from tritonkit_runtime.steps.header import ImageError, read_header
from tritonkit_runtime.steps.png_file import check_inflated

GRAY = picture(17, 23)[:, :, 0]
PNG = encoded(picture(17, 23))
RGB = Decode(to="rgb", limits=Limits())
LEVELS = Decode(to="gray", limits=Limits())


def refused(data: bytes, decode: Decode = RGB) -> str:
    with pytest.raises(ImageError) as caught:
        decode.decode(data)
    return str(caught.value).removeprefix("the image cannot be decoded: ")


@pytest.mark.parametrize("length", [2**31 - 1, 2**31, 0xF0000000, 0xFFFFFFF4, 0xFFFFFFF5, 0xFFFFFFF8, 0xFFFFFFFF])
@pytest.mark.parametrize("name", [b"tEXt", b"IDAT", b"PLTE", b"eXIf"])
def test_a_length_that_would_crash_opencv_never_reaches_it(length: int, name: bytes) -> None:
    message = refused(with_chunks(PNG, struct.pack(">I", length) + name + bytes(4)))
    assert message.endswith("before its end chunk (truncated)")


def test_an_animation_is_its_default_image() -> None:
    data = animated(GRAY, GRAY[::-1])
    np.testing.assert_array_equal(LEVELS.decode(data)[:, :, 0], GRAY)
    assert b"acTL" not in read_header(data).data


def test_an_animations_rectangles_never_reach_opencv() -> None:
    outside = animated(GRAY, GRAY).replace(
        frame_control(0, 23, 17, 0, 0), frame_control(0, 2300, 1700, 70_000, 50_000)
    )
    np.testing.assert_array_equal(LEVELS.decode(outside)[:, :, 0], GRAY)
    control = chunk(b"acTL", struct.pack(">II", 2, 0)) + frame_control(0, 23, 17, 0, 0)
    bad_filter = png_of(ihdr(23, 17), control, chunk(b"IDAT", zlib.compress(b"\x09" * 24 * 17)))
    assert refused(bad_filter) == "its data is damaged"


@pytest.mark.parametrize(
    "extra", [chunk(b"gAMA", struct.pack(">I", 45455)), chunk(b"sRGB", b"\0"), chunk(b"bKGD", b"")]
)
def test_gray_is_the_same_with_and_without_a_gamma(extra: bytes) -> None:
    np.testing.assert_array_equal(LEVELS.decode(with_chunks(PNG, extra)), LEVELS.decode(PNG))


@pytest.mark.parametrize(
    "extra",
    [
        chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(50_000_000), 9)),
        chunk(b"iTXt", b"k\0\1\0\0\0" + zlib.compress(bytes(7_900_000), 9)) * 50,
        chunk(b"iCCP", b"k\0\0" + zlib.compress(bytes(50_000_000), 9)),
        chunk(b"tEXt", bytes(9_000_000)),
        chunk(b"tEXt") * 40_000,
        chunk(b"tRNS", bytes(300)),
        chunk(b"eXIf", b"II*\0\xff\xff\xff\xff"),
        chunk(b"eXIf", bytes(40)) * 3,
        chunk(b"prVt", b"private")[:-1] + b"\0",  # a wrong checksum
    ],
)
def test_what_decoding_does_not_need_does_not_matter(extra: bytes) -> None:
    np.testing.assert_array_equal(RGB.decode(with_chunks(PNG, extra)), RGB.decode(PNG))


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_few_bits_are_spread_to_eight(bits: int) -> None:
    most = (1 << bits) - 1
    row = int("".join(f"{value:0{bits}b}" for value in range(most + 1)).ljust(-(-(most + 1) * bits // 8) * 8, "0"), 2)
    data = png(most + 1, 1, b"\0" + row.to_bytes(-(-(most + 1) * bits // 8), "big"), bits=bits)
    assert LEVELS.decode(data)[0, :, 0].tolist() == [value * 255 // most for value in range(most + 1)]


def test_interlaced_files_are_the_same_image() -> None:
    np.testing.assert_array_equal(LEVELS.decode(interlaced(GRAY))[:, :, 0], GRAY)


def test_an_orientation_turns_a_png_too() -> None:
    exif = b"MM\0*\0\0\0\x08" + struct.pack(">HHHIHHI", 1, 0x0112, 3, 1, 6, 0, 0)
    np.testing.assert_array_equal(RGB.decode(with_chunks(PNG, chunk(b"eXIf", exif))), np.rot90(RGB.decode(PNG), 3))


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (blank_png(1, 1)[:8] + ihdr(0, 5) + PNG[33:], "its size is 0x5"),
        (PNG[:8] + ihdr(5, 0) + PNG[33:], "its size is 5x0"),
        (PNG[:8] + ihdr(2**31, 1) + PNG[33:], "2147483648x1 pixels, more than 1000000 along one side"),
        (PNG[:8] + ihdr(1, 2**32 - 1) + PNG[33:], "1x4294967295 pixels, more than 1000000 along one side"),
        (PNG[:8] + ihdr(20_000, 20_000) + PNG[33:], "20000x20000 = 400000000 pixels, more than the limit of 50000000"),
        (PNG[:8] + ihdr(23, 17, 3, 2) + PNG[33:], "this PNG has colour type 2 with 3 bits, which PNG does not know"),
        (PNG[:8] + ihdr(23, 17, 8, 5) + PNG[33:], "this PNG has colour type 5 with 8 bits, which PNG does not know"),
        (
            PNG[:8] + chunk(b"CgBI", bytes(4)) + PNG[8:],
            "this PNG is one that Xcode has rewritten for iOS (CgBI): send the original",
        ),
        (PNG[:8] + chunk(b"IHDR", bytes(14)) + PNG[33:], "this PNG does not begin with an IHDR chunk"),
        (with_chunks(PNG, chunk(b"ab1d")), "this PNG is damaged at byte 33"),
        (with_chunks(PNG, chunk(b"tEXt") * 50_000), "this PNG has more than 50000 chunks"),
        (with_chunks(PNG, chunk(b"NEEd")), "its data is damaged"),  # a chunk that must be known, and is not
        (PNG[:32] + b"\0" + PNG[33:], "its data is damaged"),
        (PNG[:-20] + b"\1" + PNG[-19:], "its data is damaged"),
        (png(4, 1, b"\0\0", bits=8, colour=3), "its data is damaged"),  # no palette
        (
            png(7000, 7000, b"", colour=2),
            "its 65 bytes are too few for 7000x7000 = 49000000 pixels (truncated)",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told(data: bytes, sentence: str) -> None:
    assert refused(data) == sentence


def test_data_that_goes_on_behind_the_pixels_is_bounded() -> None:
    # A little does no harm; so much would keep libpng busy for seconds, for its size is not in proportion to the file's.
    harmless = png(23, 17, bytes(24 * 17 + 1_000_000))
    assert RGB.decode(harmless).shape == (17, 23, 3)
    pieces = zlib.compressobj(9)
    first, again = (pieces.compress(bytes(1 << 20)) + pieces.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
    stream = first + again * 1000  # a thousand million zeros
    assert len(stream) > 1_000_000
    palette = chunk(b"PLTE", bytes(3))
    hidden = png_of(ihdr(23, 17, 8, 3), palette, chunk(b"IDAT", stream[:500_000]), chunk(b"IDAT", stream[500_000:]))
    assert refused(hidden) == "this PNG holds far more data than its pixels take"
    spoiled = png_of(ihdr(3000, 3000), chunk(b"IDAT", bytes(1_000_001)))
    assert refused(spoiled) == "its data is damaged"


def test_what_stands_behind_the_end_of_the_data_is_not_looked_at() -> None:
    """zlib copies what is left at every call after the end: 19 MB of it took two seconds."""
    decompressobj = zlib.decompressobj
    pieces: list[int] = []

    class Counted:
        def __init__(self) -> None:
            self.inflate = decompressobj()
            self.eof = False

        def decompress(self, data: memoryview) -> bytes:
            pieces.append(len(data))
            found = self.inflate.decompress(data)
            self.eof = self.inflate.eof
            return found

    stream = zlib.compress(bytes(8 * 25))
    data = png_of(ihdr(8, 8), chunk(b"IDAT", stream + bytes(4_000_000)))
    header = read_header(data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tritonkit_runtime.steps.png_file.zlib.decompressobj", Counted)
        check_inflated(header)
    assert len(pieces) == 1
    assert RGB.decode(data).shape == (8, 8, 3)


def test_large_files_pass_the_look_at_their_data() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (700, 700, 3), dtype=np.uint8)
    data = encoded(noise)
    assert read_header(data).inflated_bytes == 700 * 2101
    np.testing.assert_array_equal(RGB.decode(data), noise[:, :, ::-1])


def test_ordinary_files_are_not_copied() -> None:
    assert read_header(PNG).data is PNG
