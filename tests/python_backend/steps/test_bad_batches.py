"""Batches of which half is bad: the right items are named, and none costs more than its limits allow."""

from __future__ import annotations

import time

import numpy as np
from image_files import GIF, animated, encoded, many_scans, picture, with_chunks

from tritonkit_runtime.batch import Batch
from tritonkit_runtime.parameters import Limits, StepSpec
from tritonkit_runtime.steps import Chain

STEPS = [StepSpec("decode", {"to": "rgb"}), StepSpec("resize", {"size": [24, 24], "method": "linear"})]
PNG, JPEG = encoded(picture()), encoded(picture(), ".jpg")
GRAY = picture()[:, :, 0]
BAD = [
    (b"", "empty (0 bytes)"),
    (GIF, "not a PNG or JPEG image but a GIF: convert it to PNG or JPEG"),
    (many_scans(7000, 7000, 5000), "the image cannot be decoded: this JPEG has more than 100 scans: save it as a baseline one"),
    (
        with_chunks(PNG, b"\xff\xff\xff\xf4tEXt"),
        f"the image cannot be decoded: this PNG of {len(PNG) + 8} bytes ends before its end chunk (truncated)",
    ),
]  # fmt: skip


def items(size: int) -> list[bytes]:
    """Good images at even places, bad ones at odd ones."""
    good = [PNG, JPEG, animated(GRAY, GRAY)]
    return [BAD[i // 2 % len(BAD)][0] if i % 2 else good[i // 2 % len(good)] for i in range(size)]


def run(data: list[bytes], counts: tuple[int, ...]) -> tuple[np.ndarray, Batch]:
    batch = Batch({}, counts)
    return Chain(STEPS, "bytes", Limits())(batch, np.array(data, dtype=object).reshape(-1, 1)), batch


def test_half_a_batch_of_bad_images_leaves_the_other_half() -> None:
    data = items(32)
    begun = time.process_time()
    found, batch = run(data, (1,) * 32)
    assert time.process_time() - begun < 5  # ordinarily 0.03 s; one bad item that got through would take minutes
    assert set(batch.failed) == set(range(1, 32, 2))
    for index in range(1, 32, 2):
        assert batch.failed[index] == BAD[index // 2 % len(BAD)][1]
        assert not found[index].any()
    alone, _ = run(data[::2], (16,))
    np.testing.assert_array_equal(found[::2], alone)


def test_each_request_gets_the_words_of_its_own_items() -> None:
    _, batch = run(items(8), (2, 3, 3))  # bad are 1; 3; 5 and 7
    first, second, third, fourth = (words for _, words in BAD)
    assert batch.errors() == {
        0: f"item 1: {first}",
        1: f"item 1: {second}",
        2: f"item 0: {third}; item 2: {fourth}",
    }
