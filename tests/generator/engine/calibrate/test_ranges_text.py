"""Ranges as text and back, and TensorRT's own cache."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from generator.engine.calibrate import Ranges, from_tensorrt, from_text, to_tensorrt
from generator.engine.errors import StageError

ENDS = st.tuples(st.floats(-1e300, 1e300), st.floats(-1e300, 1e300)).map(lambda ends: (min(ends), max(ends)))
NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)


@given(st.dictionaries(NAMES, ENDS, max_size=6), st.integers(1, 1000))
def test_back_to_the_very_same_floats(ranges: dict[str, tuple[float, float]], samples: int) -> None:
    written = Ranges(ranges, {"method": "entropy", "samples": samples}, ("bad",), ("none",))
    read = from_text(written.text())
    assert dict(read) == ranges
    assert read.text() == written.text()
    assert (read.not_finite, read.empty, dict(read.facts)) == (
        ("bad",),
        ("none",),
        {"method": "entropy", "samples": samples},
    )


def test_the_order_of_names_does_not_matter() -> None:
    one = Ranges({"b": (0.0, 1.0), "a": (0.0, 2.0)}, {})
    assert one.text() == Ranges({"a": (0.0, 2.0), "b": (0.0, 1.0)}, {}).text()
    assert list(one) == ["a", "b"]


def test_it_cannot_be_changed() -> None:
    ranges = Ranges({"a": (0.0, 1.0)}, {})
    with pytest.raises(TypeError):
        ranges.values_by_name["a"] = (0.0, 2.0)  # type: ignore[index]


@pytest.mark.parametrize(
    "text",
    [
        "", "{}", "[]", "7", '{"format": 2}', '{"format": 1, "ranges": {"a": [1]}, "facts": {}, "not_finite": [], "empty": []}',
        '{"format": 1, "ranges": {"a": [2, 1]}, "facts": {}, "not_finite": [], "empty": []}',
        '{"format": 1, "ranges": {"a": [0, NaN]}, "facts": {}, "not_finite": [], "empty": []}',
        '{"format": 1, "ranges": {"a": [0, Infinity]}, "facts": {}, "not_finite": [], "empty": []}',
        '{"format": 1, "ranges": {}, "facts": 3, "not_finite": [], "empty": []}',
    ],
)  # fmt: skip
def test_what_is_something_else(text: str) -> None:
    with pytest.raises(StageError) as raised:
        from_text(text)
    assert [f.code for f in raised.value.findings] == ["TK948"]


# TensorRT -----------------------------------------------------------------------------------------------------------


def test_the_words_of_tensorrt() -> None:
    text = to_tensorrt({"input:0": (0.0, 1.0), "b": (-127.0, 3.0), "zero": (0.0, 0.0)})
    assert text.decode().splitlines() == [
        "TRT-8601-EntropyCalibration2", "b: 3f800000", f"input:0: {struct.pack('>f', 1 / 127).hex()}", "zero: 3f800000",
    ]  # fmt: skip
    assert to_tensorrt({}, "101500", "minmax") == b"TRT-101500-MinMaxCalibration\n"


@given(
    st.dictionaries(st.text("ab/:_. 0", min_size=1, max_size=8), st.floats(2.0**-90, 2.0**90, width=32), max_size=5)
)
def test_scales_come_back(scales: dict[str, float]) -> None:
    read = from_tensorrt(to_tensorrt({name: (-scale * 127, scale * 127) for name, scale in scales.items()}))
    assert {name: high / 127 for name, (_, high) in read.items()} == pytest.approx(scales, rel=1e-6)
    assert all(low == -high for low, high in read.values())


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"hello",
        b"TRT-8601-EntropyCalibration2\nx 3f800000",
        b"TRT-8601-E\nx: 3f80",
        b"TRT-8601-E\nx: 7fc00000",
        b"TRT-8601-E\nx: zz",
        b"\xff",
    ],
)
def test_what_is_no_cache_of_tensorrt(text: bytes) -> None:
    with pytest.raises(StageError) as raised:
        from_tensorrt(text)
    assert [f.code for f in raised.value.findings] == ["TK948"]
