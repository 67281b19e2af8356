"""What is known of a JPEG before a GPU decodes it, and that images are turned as OpenCV turns them."""

from __future__ import annotations

import struct

import cv2
import numpy as np
import pytest
from plain import Library, compiled

from tritonkit_runtime.batch import Array, Batch
from tritonkit_runtime.parameters import Limits, StepSpec, TensorSpec
from tritonkit_runtime.preprocess.decoder import Decoded, turned
from tritonkit_runtime.preprocess.jpeg import Kind, kind_of, orientation_of
from tritonkit_runtime.preprocess.recipe import read
from tritonkit_runtime.preprocess.source import BLOCK, SOURCE
from tritonkit_runtime.preprocess.staging import TURNED_IMAGE
from tritonkit_runtime.steps import Chain
from tritonkit_runtime.steps.decode import Decode
from tritonkit_runtime.steps.header import Header

DECODE = Decode(to="rgb", limits=Limits())
PIXELS = np.random.default_rng(4).integers(0, 256, (24, 40, 3), np.uint8)
# Gray, and a corner that tells how the image is turned.
CORNER = np.full((24, 40), 128, np.uint8)
CORNER[:8, :16] = 255


def encoded(pixels: Array, *more: int) -> bytes:
    data: bytes = cv2.imencode(".jpg", pixels, more)[1].tobytes()
    return data


def with_segment(data: bytes, marker: int, content: bytes) -> bytes:
    """As the first of its segments."""
    return data[:2] + bytes((0xFF, marker)) + struct.pack(">H", len(content) + 2) + content + data[2:]


def entry(order: str, tag: int, kind: int, count: int, value: int) -> bytes:
    words = "HH" if kind == 3 else "I"
    return struct.pack(f"{order}HHI{words}", tag, kind, count, value, *((0,) if kind == 3 else ()))


def exif(order: str, entries: list[bytes], rest: bytes = b"", *, at: int = 8) -> bytes:
    start = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, at)
    return b"Exif\0\0" + start + b"\0" * (at - 8) + struct.pack(f"{order}H", len(entries)) + b"".join(entries) + rest


def seen_by_opencv(data: bytes) -> Array:
    found: Array = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
    return found


def as_turned(orientation: int) -> Array:
    view = turned(Decoded(0, *CORNER.shape, CORNER.shape[1]), orientation, 1)
    rows, columns = np.arange(view.height)[:, np.newaxis], np.arange(view.width)
    found: Array = CORNER.reshape(-1)[view.pointer + rows * view.row + columns * view.column]
    return found


def agrees(data: bytes) -> bool:
    """Whether OpenCV turns the file as is said; a file of which nothing is said is not asked about."""
    said = orientation_of(DECODE.checked(data))
    if said is None:
        return True
    seen, expected = seen_by_opencv(data), as_turned(said)
    return seen.shape == expected.shape and int(np.abs(seen.astype(int) - expected).max()) < 60


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_opencvs(order: str, orientation: int) -> None:
    data = with_segment(encoded(CORNER), 0xE1, exif(order, [entry(order, 0x112, 3, 1, orientation)]))
    assert orientation_of(DECODE.checked(data)) == orientation
    assert agrees(data)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"http://ns.adobe.com/xap/1.0/\0<x/>", 1),
        (b"", 1),
        (b"Exif\0\0", 1),
        (b"Exif\0\0II*\0", None),
        (exif("<", []), 1),
        (exif("<", [entry("<", 0x128, 3, 1, 2)]), 1),
        (exif("<", [entry("<", 0x112, 3, 1, 9)]), None),
        (exif("<", [entry("<", 0x112, 4, 1, 6)]), None),
        (exif("<", [entry("<", 0x112, 3, 2, 6)]), None),
        (exif("<", [entry("<", 0x112, 3, 1, 6), entry("<", 0x112, 3, 1, 3)]), None),
        (exif("<", [entry("<", 0x10E, 2, 9, 4000), entry("<", 0x112, 3, 1, 6)]), None),
        (exif("<", [entry("<", 0x10E, 2, 9, 34), entry("<", 0x112, 3, 1, 6)], b"a camera\0"), 6),
        (exif(">", [entry(">", 0x112, 3, 1, 6)], at=80), 6),
        (exif(">", [entry(">", 0x112, 3, 1, 6)])[:-4], None),
        (b"Other\0" + exif("<", [entry("<", 0x112, 3, 1, 6)])[6:], None),
    ],
    ids=range(15),
)
def test_what_else_may_stand_there(content: bytes, said: int | None) -> None:
    data = with_segment(encoded(CORNER), 0xE1, content)
    assert orientation_of(DECODE.checked(data)) == said
    assert agrees(data)


def test_exif_behind_another_segment_is_read_in_two_ways() -> None:
    """OpenCV 4.11 looks at the first of them alone, later versions find it."""
    data = with_segment(encoded(CORNER), 0xE1, exif("<", [entry("<", 0x112, 3, 1, 3)]))
    data = with_segment(data, 0xE1, b"http://ns.adobe.com/xap/1.0/\0")
    assert orientation_of(DECODE.checked(data)) is None


def test_the_first_of_two_segments_of_exif_counts() -> None:
    data = with_segment(encoded(CORNER), 0xE1, exif("<", [entry("<", 0x112, 3, 1, 3)]))
    data = with_segment(data, 0xE1, exif("<", [entry("<", 0x112, 3, 1, 6)]))
    assert orientation_of(DECODE.checked(data)) == 6
    assert agrees(data)


def test_whatever_is_said_of_made_up_files_is_what_opencv_does() -> None:
    lot = np.random.default_rng(0)
    told = 0
    tags = [0x10E, 0x10F, 0x112, 0x112, 0x112, 0x11A, 0x128, 0x132, 0x13E, 0x211, 0x8769, 0x8298, 0x1234]
    for _ in range(1500):
        order = str(lot.choice(["<", ">"]))
        entries = [
            entry(order, int(lot.choice(tags)), int(lot.choice([2, 3, 4, 5, 3, 3])), int(lot.choice([1, 1, 2, 4, 6])),
                  int(lot.choice([1, 3, 6, 8, 60, 90, 5000])))
            for _ in range(lot.integers(0, 5))
        ]  # fmt: skip
        content = bytearray(
            exif(order, entries, bytes(lot.integers(0, 256, 64, np.uint8)), at=int(lot.choice([8, 20])))
        )
        if lot.random() < 0.3:
            content[lot.integers(6, len(content))] = lot.integers(0, 256)
        data = with_segment(encoded(CORNER), 0xE1, bytes(content))
        told += orientation_of(DECODE.checked(data)) is not None
        assert agrees(data), content.hex()
    assert told > 300


@pytest.mark.parametrize(
    ("sampling", "told"),
    [(0x111111, "111111"), (0x211111, "211111"), (0x221111, "221111"), (0x121111, "121111"), (0x411111, "411111")],
)
def test_kinds_of_colour(sampling: int, told: str) -> None:
    for progressive, marker in ((0, 0xC0), (1, 0xC2)):
        data = encoded(PIXELS, 7, sampling, cv2.IMWRITE_JPEG_PROGRESSIVE, progressive)
        assert kind_of(DECODE.checked(data)) == Kind(marker, bytes.fromhex(told))


def changed(data: bytes, marker: int, offset: int, value: int) -> bytes:
    """With another byte `offset` bytes behind a marker."""
    at = data.index(bytes((0xFF, marker))) + offset
    return data[:at] + bytes((value,)) + data[at + 1 :]


def kind(data: bytes) -> Kind | None:
    return kind_of(DECODE.checked(data))


def test_files_that_mean_other_things_elsewhere() -> None:
    colour, gray = encoded(PIXELS), encoded(CORNER)
    assert kind(gray) == Kind(0xC0, b"\x11")
    assert kind(colour) is not None
    assert kind(cv2.imencode(".png", PIXELS)[1].tobytes()) is None
    assert kind(changed(colour, 0xC0, 1, 0xC1)) is None, "extended"
    assert kind(changed(colour, 0xC0, 10, ord("R"))) is None, "components with names of their own"
    adobe = b"Adobe\0\x64\0\0\0\0"
    assert kind(with_segment(colour, 0xEE, adobe + b"\1")) is not None
    assert kind(with_segment(colour, 0xEE, adobe + b"\0")) is None, "RGB as it is"
    assert kind(with_segment(colour, 0xEE, adobe + b"\2")) is None


@pytest.mark.parametrize("method", ["nearest", "linear", "area"])
@pytest.mark.parametrize(("channels", "planar"), [(3, True), (1, False)])
def test_the_kernel_reads_turned_images_as_the_steps_read_those_that_were_turned(
    method: str, channels: int, planar: bool
) -> None:
    specs = [StepSpec("resize", {"size": [17, 33], "method": method})]
    specs += [StepSpec("channels_first", {})] if planar else []
    recipe = read(specs, TensorSpec("x", "UINT8", (-1, -1, channels)), Limits())
    library = Library(compiled(SOURCE, [*recipe.definitions(), "-DTURNED=1"]))
    lot, values = np.random.default_rng(1), np.ascontiguousarray(recipe.table)
    for height, width in ((1, 1), (50, 31), (17, 33), (34, 66), (33, 17), (4, 300)):
        held = lot.integers(0, 256, (height, width * channels + 7), np.uint8)
        image = held[:, : width * channels].reshape(height, width, channels)
        for orientation in range(1, 9):
            view = turned(Decoded(held.ctypes.data, height, width, held.strides[0]), orientation, channels)
            scales = 1.0 / (17 / view.height), 1.0 / (33 / view.width)
            table = np.array([(view.pointer, view.height, view.width, *scales, view.row, view.column)], TURNED_IMAGE)
            made: Array = np.zeros((1, *recipe.made[0]), np.uint8)
            grid = (1, -(-17 // BLOCK[1]), -(-33 // BLOCK[0]))
            library.run(grid, (*BLOCK, 1), (table.ctypes.data, values.ctypes.data, made.ctypes.data))
            whole = _as_opencv(image, orientation)
            expected = Chain(specs, "array", Limits())(Batch({}, (1,)), whole[np.newaxis])
            np.testing.assert_array_equal(made, expected, err_msg=f"{orientation} of {image.shape}")


def _as_opencv(image: Array, orientation: int) -> Array:
    """As ApplyExifOrientation of OpenCV's loadsave.cpp."""
    found = image.transpose(1, 0, 2) if orientation > 4 else image
    flips = {2: (1,), 3: (0, 1), 4: (0,), 6: (1,), 7: (0, 1), 8: (0,)}
    return np.ascontiguousarray(np.flip(found, flips.get(orientation, ())))


def test_a_header_says_where_its_segments_are() -> None:
    found: Header = DECODE.checked(with_segment(encoded(PIXELS), 0xE1, b"x"))
    assert found.jpeg is not None
    assert (found.jpeg.app1, found.jpeg.adobe, found.jpeg.several) == (2, -1, False)
    assert found.data[found.jpeg.frame : found.jpeg.frame + 2] == b"\xff\xc0"
