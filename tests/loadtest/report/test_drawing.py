"""Scales and elements of charts."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.report.drawing.clear import Box, clearest
from loadtest.report.drawing.element import element, label, path
from loadtest.report.drawing.frame import Frame
from loadtest.report.drawing.scale import Scale, along, covering

VALUES = st.lists(st.floats(1e-3, 1e7), min_size=1, max_size=20)


@given(VALUES)
def test_a_scale_covers_all_values_in_order(values: list[float]) -> None:
    scale = covering(values, 300, 10)
    assert scale.low <= min(values)
    assert scale.high >= max(values)
    pixels = [scale(value) for value in sorted(values)]
    assert pixels == sorted(pixels, reverse=True)
    assert all(10 <= pixel <= 300 for pixel in pixels)


@given(VALUES)
def test_ticks_are_few_and_inside(values: list[float]) -> None:
    for scale in (covering(values, 300, 10), along([0.0, *values], 0, 400), along(values, 0, 400)):
        ticks = scale.ticks()
        assert 1 <= len(ticks) <= 13
        assert ticks == sorted(set(ticks))
        slack = (scale.high - scale.low) / 100
        assert scale.low - slack <= ticks[0] <= ticks[-1] <= scale.high + slack


def test_delays_from_zero_on_keep_their_order_and_their_room() -> None:
    scale = along([0, 100, 500, 1000, 10_000], 0, 400)
    pixels = [scale(value) for value in (0, 100, 500, 1000, 10_000)]
    assert pixels[0] == 0
    assert pixels[-1] == 400
    assert min(after - before for before, after in pairwise(pixels)) > 40


def test_what_spans_decades_is_logarithmic() -> None:
    assert covering([1, 1000], 0, 1).kind == "log"
    assert covering([1, 10], 0, 1).kind == "linear"
    assert covering([1, 10], 0, 1).low == 0
    assert Scale(1, 1000, 0, 300, "log")(10) == pytest.approx(100)


def test_no_values_and_the_same_value() -> None:
    for scale in (covering([], 0, 1), covering([0.0], 0, 1), along([7], 0, 1)):
        assert all(math.isfinite(tick) for tick in scale.ticks())
        assert math.isfinite(scale(0))


def test_texts_are_escaped_everywhere() -> None:
    bad = '"/><script>alert(1)</script>&\x00\x1b'
    drawn = element("g", label(1, 2, bad), element("rect", data_tip=bad, x=1.26))
    parsed = ET.fromstring(drawn)
    assert [child.tag for child in parsed.iter()] == ["g", "text", "rect"]
    assert parsed[0].text == '"/><script>alert(1)</script>&\\x00\\x1b'
    assert parsed[1].attrib == {"data-tip": parsed[0].text, "x": "1.3"}


def test_a_line_breaks_where_there_is_no_value() -> None:
    drawn = path([(0, 0), (1, 1), None, (2, 2), None, None, (3, 3), (4.25, 4)], "line")
    assert 'd="M0 0L1 1M2 2h0M3 3L4.2 4"' in drawn
    assert path([None], "line") == ""


def test_words_go_where_the_fewest_lines_are() -> None:
    places = [Box(left, left + 50, 10, 20, left, "start") for left in (100, 0, 50)]
    assert clearest(places, []) is places[0]
    assert clearest(places, [[(90, 0), (160, 30)]]) is places[1], "it goes through, with no point inside"
    assert clearest(places, [[(90, 0), None, (160, 30)]]) is places[0], "it is broken"
    assert clearest(places, [[(120, 15)], [(10, 15)]]) is places[2]
    through_all = [(0, 15), (140, 15)]
    assert clearest(places, [through_all]) is places[0], "the way is the shortest there"


@pytest.mark.parametrize(("line", "anchor", "above"), [
    ([(52.0, 250.0), (384.0, 250.0)], "end", True),
    ([(300.0, 250.0), (384.0, 80.0)], "start", True),
    ([(52.0, 92.0), (384.0, 92.0)], "end", False),
])  # fmt: skip
def test_the_objective_is_named_where_no_curve_goes_through(
    line: list[tuple[float, float]], anchor: str, *, above: bool
) -> None:
    frame = Frame(400, 300)
    frame.objective(100.0, "objective 8 ms", [line])
    drawn = ET.fromstring(f"<svg>{frame.svg()}</svg>")
    [words] = drawn.iter("text")
    assert words.attrib["text-anchor"] == anchor
    assert (float(words.attrib["y"]) < 100) is above
