from __future__ import annotations

import numpy as np
import pytest
from image_files import (
    adobe,
    cmyk,
    corpus,
    encoded,
    frame_header,
    many_scans,
    picture,
    scan_header,
    segment,
    with_orientation,
)

from tritonkit_runtime.parameters import Limits
from tritonkit_runtime.steps.decode import Decode
from tritonkit_runtime.steps.header import Header, ImageError, read_header
from tritonkit_runtime.steps.jpeg_file import MAX_SCANS

CORPUS = corpus()
JPEG = CORPUS["jpeg"]
RGB = Decode(to="rgb", limits=Limits())
END = b"\xff\xd9"
TURNS = {1: (0, 0), 2: (0, 1), 3: (2, 0), 4: (2, 1), 5: (3, 1), 6: (3, 0), 7: (1, 1), 8: (1, 0)}  # quarters, mirrored


def refused(data: bytes, limits: Limits = Limits()) -> str:  # noqa: B008 - frozen
    with pytest.raises(ImageError) as caught:
        Decode(to="gray", limits=limits).decode(data)
    return str(caught.value).removeprefix("the image cannot be decoded: ")


def framed(marker: int, *, bits: int = 8, components: int = 1) -> bytes:
    scan = scan_header(tuple(range(1, min(components, 4) + 1)))
    return b"\xff\xd8" + frame_header(8, 8, components, marker=marker, bits=bits) + scan + b"\0\0" + END


@pytest.mark.parametrize("orientation", TURNS)
def test_every_orientation_is_applied(orientation: int) -> None:
    turns, mirrored = TURNS[orientation]
    expected = np.rot90(RGB.decode(JPEG), turns)
    expected = expected[:, ::-1] if mirrored else expected
    np.testing.assert_array_equal(RGB.decode(with_orientation(JPEG, orientation)), expected)


@pytest.mark.parametrize("orientation", [0, 9, 65_535])
def test_an_orientation_that_does_not_exist_turns_nothing(orientation: int) -> None:
    np.testing.assert_array_equal(RGB.decode(with_orientation(JPEG, orientation)), RGB.decode(JPEG))


def test_a_broken_exif_block_turns_nothing() -> None:
    turned = with_orientation(JPEG, 6)
    whole = turned[6:38]  # the block's content
    broken = [whole[:length] for length in range(24)]
    broken += [whole[:10] + offset + whole[14:] for offset in (b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\1\0\0")]
    for content in broken:
        data = JPEG[:2] + segment(0xE1, content) + JPEG[2:]
        np.testing.assert_array_equal(RGB.decode(data), RGB.decode(JPEG), err_msg=str(content))


@pytest.mark.parametrize("name", ["jpeg several", "jpeg thumbnail", "jpeg trailing"])
def test_of_several_images_the_first_counts(name: str) -> None:
    assert RGB.decode(CORPUS[name]).shape == (17, 23, 3)


def test_four_colours_as_adobe_writes_them() -> None:
    import io

    from PIL import Image

    for data in (CORPUS["jpeg cmyk"], CORPUS["jpeg ycck"]):
        expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
        assert np.abs(RGB.decode(data).astype(int) - expected).max() <= 1
    short = segment(0xEE, b"Adobe")  # libjpeg does not know this one
    for marker in (b"", short):
        assert refused(cmyk((200, 136, 136, 248), marker)) == "a CMYK JPEG without Adobe's marker: save it as RGB"


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (framed(0xC3), "a lossless JPEG: save it as a baseline or progressive one"),
        (framed(0xC9), "an arithmetic-coded JPEG: save it as a baseline or progressive one"),
        (framed(0xCA), "an arithmetic-coded JPEG: save it as a baseline or progressive one"),
        (framed(0xC5), "a hierarchical JPEG: save it as a baseline or progressive one"),
        (framed(0xC1, bits=12), "a JPEG of 12 bits a sample: save it with 8"),
        (framed(0xC0, components=2), "this JPEG has 2 colour components; valid are 1, 3 and 4"),
        (framed(0xC0, components=0), "this JPEG has 0 colour components; valid are 1, 3 and 4"),
        (b"\xff\xd8" + frame_header(0, 8), "its size is 0x8"),
        (b"\xff\xd8" + frame_header(8, 0), "its size is 8x0"),
        (b"\xff\xd8" + frame_header(65_501, 1), "65501x1 pixels, more than 65500 along one side"),
        (
            b"\xff\xd8" + frame_header(20_000, 20_000) + scan_header((1,)) + END,
            "20000x20000 = 400000000 pixels, more than the limit of 50000000",
        ),
        (
            b"\xff\xd8" + frame_header(8, 8) + frame_header(9000, 9000) + JPEG[2:],
            "this JPEG has two frame headers (8x8 and 9000x9000)",
        ),
        (JPEG[:2] + JPEG, "this JPEG is damaged at byte 2"),
        (b"\xff\xd8\xff\xe0\0\2\xff\0" + JPEG[2:], "this JPEG is damaged at byte 6"),
        (b"\xff\xd8\xff\xe0\0\1" + JPEG[2:], "this JPEG is damaged at byte 4"),
        (b"\xff\xd8\xff\xd9" + JPEG, "this JPEG has no pixels before its end marker"),
        (JPEG[:2] + b"\xff" * 5000 + JPEG[2:], "this JPEG has more than 4096 segments"),
        (JPEG[:2] + segment(0xFE, b"") * 5000 + JPEG[2:], "this JPEG has more than 4096 segments"),
        (JPEG[:2] + b"\xff\x01" + segment(0xC4, b"\0" + bytes(16)) + b"\xff\xd9", "this JPEG of 27 bytes ends within its header (truncated)"),
        (
            b"\xff\xd8" + frame_header(7000, 7000) + scan_header((1,)) + b"\0\0" + END,
            "its 29 bytes are too few for 7000x7000 = 49000000 pixels (truncated)",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told(data: bytes, sentence: str) -> None:
    assert refused(data) == sentence


def test_scans_are_bounded() -> None:
    assert RGB.decode(many_scans(24, 16, MAX_SCANS)).shape == (16, 24, 3)
    too_many = f"this JPEG has more than {MAX_SCANS} scans: save it as a baseline one"
    assert refused(many_scans(24, 16, MAX_SCANS + 1)) == too_many
    assert refused(many_scans(7000, 7000, 100_000)) == too_many


@pytest.mark.parametrize(
    "hiding", [segment(0xFE, END), segment(0xE1, b"\0" * 9 + END + b"\0"), b"\xff\xd0", b"\xff" * 3]
)
def test_scans_are_counted_behind_what_looks_like_the_end(hiding: bytes) -> None:
    assert refused(many_scans(24, 16, MAX_SCANS + 1, hiding)).startswith("this JPEG has more than ")
    assert read_header(many_scans(24, 16, 7, hiding)).scans == 7


def test_scans_of_single_components_are_counted_without_progression() -> None:
    first = b"\xff\xd8" + frame_header(8, 8, 3) + b"".join(scan_header((part,)) + b"\0" for part in (1, 2, 3))
    assert read_header(first + END).scans == 3
    assert refused(first + scan_header((1,)) * MAX_SCANS + END).startswith("this JPEG has more than ")


def test_at_the_limit_of_pixels_fewer_scans_are_taken() -> None:
    limits = Limits(max_pixels=24 * 16)
    assert Decode(to="gray", limits=limits).decode(many_scans(24, 16, 20)).shape == (16, 24, 1)
    message = refused(many_scans(24, 16, 21), limits)
    assert message == "21 scans of 24x16 = 384 pixels, more than 20 times the limit of 384"


def test_scans_that_do_not_end_are_truncated() -> None:
    data = many_scans(24, 16, 5)
    for cut in (data[:-1], data[:-3], data[:-2] + b"\xff\xfe", data[:-2] + segment(0xFE, END)):
        assert refused(cut).endswith("ends before its end marker (truncated)")
    assert refused(data[:-2] + b"\xff\xfe\0\0" + END) == f"this JPEG is damaged at byte {len(data)}"
    assert refused(data[:-2] + segment(0xFE, b"") * 5000 + END) == "this JPEG has more than 4096 segments"


def test_ordinary_progressive_files_have_few_scans() -> None:
    assert read_header(CORPUS["jpeg progressive"]).scans == 10
    assert read_header(CORPUS["jpeg progressive gray"]).scans == 6
    assert read_header(JPEG).scans == 1
    assert read_header(CORPUS["jpeg several"]) == Header(23, 17)
    assert read_header(cmyk((200, 136, 136, 248), adobe(2))).scans == 1


def test_neither_libjpeg_nor_libpng_writes_to_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    damaged = bytearray(encoded(picture(), ".jpg"))
    damaged[700:900] = bytes(200)
    RGB.decode(bytes(damaged))
    with pytest.raises(ImageError):
        RGB.decode(CORPUS["png rgb"][:-20] + b"\1" + CORPUS["png rgb"][-19:])
    RGB.decode(JPEG[:2] + segment(0xE1, b"Exif\0\0" + bytes(40)) + JPEG[2:])
    assert capfd.readouterr() == ("", "")
