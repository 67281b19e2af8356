from __future__ import annotations

import numpy as np
import pytest

from tritonkit_runtime.batch import Batch
from tritonkit_runtime.steps.layout import ChannelsFirst, Reshape

BATCH = Batch({}, (2,))


def test_channels_first_is_contiguous() -> None:
    value = np.arange(2 * 4 * 5 * 3).reshape(2, 4, 5, 3)
    found = ChannelsFirst()(BATCH, value)
    np.testing.assert_array_equal(found, np.moveaxis(value, 3, 1))
    assert found.flags.c_contiguous
    gray = value[..., :1].copy()
    assert np.shares_memory(ChannelsFirst()(BATCH, gray), gray)
    with pytest.raises(ValueError, match=r"takes \[N, H, W, C\], found \[2, 4\]"):
        ChannelsFirst()(BATCH, np.zeros((2, 4)))


def test_reshape_is_a_view() -> None:
    value = np.arange(24).reshape(2, 3, 4)
    found = Reshape(dims=[2, 6])(BATCH, value)
    np.testing.assert_array_equal(found, value.reshape(2, 2, 6))
    assert np.shares_memory(found, value)
    assert Reshape(dims=[12])(BATCH, value[:0]).shape == (0, 12)


def test_reshape_checks_the_number_of_values() -> None:
    with pytest.raises(ValueError, match=r"dims \[5\] do not fit items of 12 values: \[2, 3, 4\]"):
        Reshape(dims=[5])(BATCH, np.zeros((2, 3, 4)))
    with pytest.raises(ValueError, match=r"dims is \[-1\]; it must be a list of lengths of at least 1"):
        Reshape(dims=[-1])
