"""JSON in lines: what the json module reads back, in the layout that tritonkit.json has had from the start."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from generator.render.json_text import pretty

PLAIN = st.none() | st.booleans() | st.integers(-(2**63), 2**64) | st.floats(allow_nan=False) | st.text(max_size=8)
DATA = st.recursive(
    PLAIN | st.lists(st.integers() | st.floats(), max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=12,
)
# A bracket followed by a line break is a list's: JSON escapes line breaks within texts.
NUMBERS = re.compile(r"\[\n([-+.\deE\s,]+)\n\s*\]")


def by_the_json_module(data: Any) -> str:
    text = json.dumps(data, indent=2, ensure_ascii=False)
    return NUMBERS.sub(lambda match: f"[{' '.join(match[1].split())}]", text)


@settings(max_examples=400)
@given(DATA)
def test_the_json_module_writes_the_same(data: Any) -> None:
    assert pretty(data) == by_the_json_module(data)


@pytest.mark.parametrize(
    "data",
    [{}, [], {"a": []}, {"a": {}}, [[]], [[1, 2], [3.5]], [1, True], [1, None], [math.inf, 1], ("a", ("b", 1)), ["\n", "é\x00"],
     {"a": ["x", {"b": (1, -2e-9)}]}, [1, "["], {"labels": ["[\n1\n]"]}],
)  # fmt: skip
def test_edges(data: Any) -> None:
    assert pretty(data) == by_the_json_module(data)
