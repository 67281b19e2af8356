from __future__ import annotations

import io
from typing import Any

import cv2
import numpy as np
import pytest
from image_files import GIF, blank_png, chunk, cmyk, corpus, encoded, picture, png, segment, with_orientation
from PIL import Image, ImageOps

from tritonkit_runtime.batch import Batch
from tritonkit_runtime.parameters import Limits
from tritonkit_runtime.steps.decode import Decode
from tritonkit_runtime.steps.header import Header, read_header

LIMITS = Limits(max_bytes=200_000, max_pixels=20_000)


def decoded(*items: bytes, to: str = "rgb", limits: Limits = LIMITS) -> tuple[list[Any], dict[int, str]]:
    batch = Batch({}, (len(items),))
    value = np.array(items, dtype=object).reshape(-1, 1)
    return list(Decode(to=to, limits=limits)(batch, value)), batch.failed


def test_png_colours_are_rgb() -> None:
    (image,), failed = decoded(encoded(picture()))
    assert not failed
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image, picture()[:, :, ::-1])


TAKEN = [
    name for name in corpus() if name.startswith(("png", "jpeg")) and name not in {"png gray 16", "jpeg cmyk plain"}
]


@pytest.mark.parametrize("name", TAKEN)
def test_every_kind_is_what_pillow_makes_of_it(name: str) -> None:
    (image,), failed = decoded(corpus()[name])
    assert not failed
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(corpus()[name]))).convert("RGB"))
    assert image.shape == expected.shape
    assert np.abs(image.astype(int) - expected).max() <= 1  # of CMYK each rounds as it likes


def test_gray_weighs_the_colours_as_opencv_does() -> None:
    (image,), _ = decoded(encoded(picture()), to="gray")
    assert image.shape == (60, 80, 1)
    expected = cv2.cvtColor(picture(), cv2.COLOR_BGR2GRAY)
    # libpng weighs in integers of its own: it may differ by one.
    assert np.abs(image[:, :, 0].astype(int) - expected).max() <= 1


@pytest.mark.parametrize("options", [(), (cv2.IMWRITE_JPEG_PROGRESSIVE, 1), (cv2.IMWRITE_JPEG_RST_INTERVAL, 2)])
def test_jpeg(options: tuple[int, ...]) -> None:
    jpeg = encoded(picture(), ".jpg", *options)
    (image,), failed = decoded(jpeg)
    assert not failed
    np.testing.assert_array_equal(image, cv2.imdecode(np.frombuffer(jpeg, np.uint8), 1)[:, :, ::-1])
    assert np.abs(image.astype(int) - picture()[:, :, ::-1]).max() < 24
    (gray,), _ = decoded(jpeg, to="gray")
    np.testing.assert_array_equal(gray[:, :, 0], cv2.imdecode(np.frombuffer(jpeg, np.uint8), 0))


@pytest.mark.parametrize(("orientation", "turns"), [(1, 0), (3, 2), (6, 3), (8, 1)])
@pytest.mark.parametrize("to", ["rgb", "gray"])
def test_exif_orientation_is_applied(orientation: int, turns: int, to: str) -> None:
    upright = encoded(picture(), ".jpg")
    (expected, image), failed = decoded(upright, with_orientation(upright, orientation), to=to)
    assert not failed
    np.testing.assert_array_equal(image, np.rot90(expected, turns))


def test_sixteen_bits_keep_the_upper_eight() -> None:
    deep = np.random.default_rng(0).integers(0, 1 << 16, (6, 5), dtype=np.uint16)
    (gray,), _ = decoded(encoded(deep), to="gray")
    np.testing.assert_array_equal(gray[:, :, 0], deep >> 8)
    (colour,), _ = decoded(encoded(deep))
    np.testing.assert_array_equal(colour, np.repeat((deep >> 8)[:, :, np.newaxis], 3, axis=2))


def test_alpha_is_dropped_and_palettes_are_colours() -> None:
    palette = png(2, 1, b"\0\x40", bits=1, colour=3, extra=chunk(b"PLTE", bytes((1, 2, 3, 4, 5, 6))))
    (opaque, coloured), failed = decoded(encoded(picture(channels=4)), palette)
    assert not failed
    np.testing.assert_array_equal(opaque, picture()[:, :, ::-1])
    np.testing.assert_array_equal(coloured, [[[1, 2, 3], [4, 5, 6]]])


def test_adobe_cmyk_becomes_colours_and_other_cmyk_is_refused() -> None:
    # Adobe's levels are inverted: 248 is almost no ink. Little cyan, much magenta and yellow: a red.
    data = cmyk((248, 136, 136, 248))
    (image, _), failed = decoded(data, cmyk((248, 136, 136, 248), b""))
    red, green, blue = image[4, 4].astype(int)
    assert red > green + 80
    assert abs(green - blue) <= 1
    assert failed == {1: "a CMYK JPEG without Adobe's marker: save it as RGB"}
    (gray,), failed = decoded(data, to="gray")
    assert not failed
    assert green < gray[4, 4, 0] < red


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "empty (0 bytes)"),
        (b"\x89", "not a PNG or JPEG image (first bytes 89)"),
        (GIF, "not a PNG or JPEG image but a GIF: convert it to PNG or JPEG"),
        (
            encoded(picture())[:20],
            "the image cannot be decoded: this PNG of 20 bytes ends within its header (truncated)",
        ),
        (b"\x89PNG\r\n\x1a\n" + bytes(30), "the image cannot be decoded: this PNG does not begin with an IHDR chunk"),
        (png(0, 5, b""), "the image cannot be decoded: its size is 0x5"),
        (png(5, 5, b"\0"), "the image cannot be decoded: its data is damaged"),
        (png(40_000, 40_000, b"\0"), "40000x40000 = 1600000000 pixels, more than the limit of 20000"),
        (b"\xff\xd8\xff", "the image cannot be decoded: this JPEG of 3 bytes ends within its header (truncated)"),
        (b"\xff\xd8\xff\xe0\0\2ABCD", "the image cannot be decoded: this JPEG is damaged at byte 6"),
        (
            b"\xff\xd8" + segment(0xDA, b"\0") + b"\xff\xd9",
            "the image cannot be decoded: this JPEG has no frame header before its pixels",
        ),
        (encoded(picture(200, 200), ".jpg"), "200x200 = 40000 pixels, more than the limit of 20000"),
        (bytes(200_001), "200001 bytes, more than the limit of 200000"),
    ],
)
def test_what_cannot_be_decoded_is_told(data: bytes, sentence: str) -> None:
    images, failed = decoded(data)
    assert images == [None]
    assert failed == {0: sentence}


@pytest.mark.parametrize("kind", [".png", ".jpg"])
@pytest.mark.parametrize("share", [0.3, 0.5, 0.9, 0.99])
def test_truncated_files_are_refused(kind: str, share: float) -> None:
    whole = encoded(picture(), kind)
    part = whole[: int(len(whole) * share)]
    images, failed = decoded(part)
    assert images == [None]
    assert failed[0].startswith("the image cannot be decoded: this ")
    assert failed[0].endswith("(truncated)")


def test_a_thumbnails_end_is_not_the_images_end() -> None:
    thumbnail = encoded(picture(8, 8), ".jpg")
    whole = encoded(picture(), ".jpg")
    whole = whole[:2] + segment(0xE1, b"Exif\0\0" + thumbnail) + whole[2:]
    (image, missing), failed = decoded(whole, whole[:-40])
    assert image.shape == (60, 80, 3)
    assert missing is None
    assert "before its end marker (truncated)" in failed[1]


def test_bytes_after_the_end_do_not_matter() -> None:
    plain = encoded(picture(), ".jpg")
    (expected, image, deep), failed = decoded(plain, plain + b"\0motion photo", encoded(picture()) + b"\0")
    assert not failed
    np.testing.assert_array_equal(image, expected)
    assert deep.shape == (60, 80, 3)


def test_one_bad_item_leaves_the_others() -> None:
    images, failed = decoded(encoded(picture()), GIF, encoded(picture(), ".jpg"), b"")
    assert [image is None for image in images] == [False, True, False, True]
    assert set(failed) == {1, 3}


def test_items_that_failed_before_are_not_decoded() -> None:
    batch = Batch({}, (1,))
    batch.fail(0, "before")
    value = np.array([[encoded(picture())]], dtype=object)
    assert list(Decode(to="rgb", limits=LIMITS)(batch, value)) == [None]


@pytest.mark.parametrize("value", [np.zeros((2, 1), np.uint8), np.array([[b"a", b"b"]], dtype=object)])
def test_only_one_string_per_item(value: np.ndarray) -> None:
    with pytest.raises(ValueError, match="takes one string per item, found"):
        Decode(to="rgb", limits=LIMITS)(Batch({}, (len(value),)), value)


def test_what_opencv_itself_refuses_is_told() -> None:
    large = blank_png(32_769, 32_769, bits=1)
    images, failed = decoded(large, limits=Limits(max_pixels=1 << 31))
    assert images == [None]
    assert failed == {0: "the image cannot be decoded: pixels <= CV_IO_MAX_IMAGE_PIXELS"}


def test_a_decoder_that_sees_another_size_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    other = picture(61, 80)
    monkeypatch.setattr(cv2, "imdecode", lambda data, flags: other.copy())
    images, failed = decoded(encoded(picture()))
    assert images == [None]
    assert failed == {0: "the image cannot be decoded: its header says 80x60, its data 80x61"}


def test_headers_are_read_without_decoding() -> None:
    assert read_header(encoded(picture(), ".png")) == Header(80, 60)
    assert read_header(with_orientation(encoded(picture(), ".jpg"), 6)) == Header(80, 60)
    filled = encoded(picture(), ".jpg").replace(b"\xff\xdb", b"\xff\xff\xdb", 1)
    assert read_header(filled) == Header(80, 60)


def test_opencv_keeps_to_one_thread() -> None:
    assert cv2.getNumThreads() == 1
