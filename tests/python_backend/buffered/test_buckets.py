from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tritonkit_runtime.buffered.buckets import Buckets, doubling
from tritonkit_runtime.buffered.errors import ShapeError
from tritonkit_runtime.buffered.shapes import fixed
from tritonkit_runtime.parameters import ParameterError, TensorSpec


@given(st.sets(st.integers(1, 300), min_size=1), st.integers(-3, 400))
def test_a_batch_is_padded_to_the_next_size(sizes: set[int], items: int) -> None:
    buckets = Buckets(list(sizes))
    fitting = [size for size in sizes if size >= items]
    if items >= 1 and fitting:
        assert buckets.of(items) == min(fitting)
    else:
        with pytest.raises(ShapeError, match=f"a batch of {items} items"):
            buckets.of(items)


def test_what_has_no_bucket_is_told_which_there_are() -> None:
    with pytest.raises(ShapeError, match=r"a batch of 9 items has no bucket; there are 1, 4, 8: send fewer items"):
        Buckets([8, 1, 4]).of(9)


@pytest.mark.parametrize(
    ("sizes", "sentence"),
    [
        ([], "buckets is empty: give the sizes of batch"),
        ([4, 0], "buckets holds 0; a size of batch is a whole number of at least 1"),
        ([True], "buckets holds True"),
        ([1, 2.0], r"buckets holds 2\.0"),
        ([1, 2, 1], "buckets holds a size twice: 1, 2, 1"),
    ],
)
def test_lists_that_are_none(sizes: list[int], sentence: str) -> None:
    with pytest.raises(ParameterError, match=sentence):
        Buckets(sizes)


def test_doubling_ends_with_the_largest() -> None:
    assert [doubling(n) for n in (1, 2, 3, 8, 100)] == [
        (1,), (1, 2), (1, 2, 3), (1, 2, 4, 8), (1, 2, 4, 8, 16, 32, 64, 100),
    ]  # fmt: skip


@given(st.integers(1, 500), st.data())
def test_at_most_half_of_a_batch_is_padding(largest: int, data: st.DataObject) -> None:
    items = data.draw(st.integers(1, largest))
    assert items > Buckets(doubling(largest)).of(items) / 2


def test_sizes_in_buffers() -> None:
    image, half, flag = fixed(
        [TensorSpec("image", "UINT8", (224, 224, 3)), TensorSpec("h", "BF16", (5,)), TensorSpec("f", "BOOL", ())]
    )
    assert (image.bytes_of(8), half.bytes_of(3), flag.bytes_of(7)) == (8 * 150528, 30, 7)
    assert half.dtype == np.uint16
    assert (image.shape(2, batched=True), image.shape(1, batched=False)) == ((2, 224, 224, 3), (224, 224, 3))
    assert image.shown(2, batched=True) == "image UINT8 [2, 224, 224, 3]"


@pytest.mark.parametrize(
    ("tensor", "sentence"),
    [
        (
            TensorSpec("t", "STRING", (1,)),
            r"t STRING \[1\] cannot lie in a buffer of fixed size; valid types are BOOL",
        ),
        (TensorSpec("ids", "INT64", (-1,)), r"ids INT64 \[-1\] has a length of -1 \(any\), .* pad what is shorter"),
    ],
)
def test_what_has_no_fixed_size_is_refused(tensor: TensorSpec, sentence: str) -> None:
    with pytest.raises(ParameterError, match=sentence):
        fixed([tensor])
