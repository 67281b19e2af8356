"""The words of messages."""

from __future__ import annotations

import pytest

from generator.pbtxt.words import some


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "none"),
        (1, "`0`"),
        (3, "`0`, `1`, `2`"),
        (4, "`0`, `1`, `2` and 1 more"),
        (900, "`0`, `1`, `2` and 897 more"),
    ],
)
def test_of_many_names_the_first_are_shown(count: int, text: str) -> None:
    assert some(range(count), 3) == text
    assert some(range(count), 3, quote="") == text.replace("`", "")
    assert len(some(range(count))) < 100
