"""Answers of layouts compared: equal, nearly equal, and different, with the first item that is."""

from __future__ import annotations

import numpy as np
import pytest

from loadtest.layouts.answers import AnswersDifferError, agree

Answer = dict[str, np.ndarray]


def answers(count: int = 4) -> list[Answer]:
    """Labels and scores, as of a classifier."""
    return [
        {
            "label": np.array([b"one", b"two"], object),
            "score": np.array([0.75, 0.25], np.float32) + np.float32(item / 64),
        }
        for item in range(count)
    ]


def test_equal_answers() -> None:
    found = agree({"ensemble": answers(), "fused": answers(), "folded": answers()})
    assert (found.items, found.bit_for_bit) == (4, True)
    assert found.in_words() == "all outputs are equal bit for bit"


def test_floats_may_differ_a_little_and_it_is_said_by_how_much() -> None:
    other = answers()
    other[2]["score"][1] += np.float32(4e-6)
    found = agree({"ensemble": answers(), "fused": other})
    assert not found.bit_for_bit
    assert found.largest_difference["score"] == pytest.approx(4e-6, rel=0.02)
    assert "`score`" in found.in_words()
    assert "4e-06" in found.in_words()


def test_the_tolerance_grows_with_the_output() -> None:
    one, other = [{"box": np.array([4000.0])}], [{"box": np.array([4000.03])}]
    assert agree({"a": one, "b": other}).allowed["box"] == pytest.approx(0.04)
    with pytest.raises(AnswersDifferError, match=r"allowed is a difference of 0\.004"):
        agree({"a": one, "b": other}, tolerance=1e-6)


@pytest.mark.parametrize(
    ("output", "value", "said"),
    [
        ("score", np.array([0.75, 0.26], np.float32), r"output `score`\[0\]: 0.78125 in ensemble, 0.75 in folded"),
        ("score", np.array([np.nan, 0.28125], np.float32), r"output `score`\[0\]: 0.78125 in ensemble, nan in folded"),
        ("label", np.array([b"one", b"six"], object), r"output `label`\[1\]: 'two' in ensemble, 'six' in folded"),
        ("score", np.zeros((3,), np.float32), r"float32 \[2\] in ensemble, float32 \[3\] in folded"),
        ("score", np.zeros((2,), np.float64), r"float32 \[2\] in ensemble, float64 \[2\] in folded"),
    ],
)  # fmt: skip
def test_the_first_item_that_differs_is_named(output: str, value: np.ndarray, said: str) -> None:
    other = answers()
    other[2][output] = other[3][output] = value
    with pytest.raises(AnswersDifferError, match=r"item 2.*" + said):
        agree({"ensemble": answers(), "fused": answers(), "folded": other})


def test_an_output_that_one_of_them_lacks() -> None:
    other = answers()
    del other[0]["score"]
    with pytest.raises(AnswersDifferError, match="item 0: ensemble answers with `score`, fused does not"):
        agree({"ensemble": answers(), "fused": other})


def test_what_is_not_a_number_equals_itself() -> None:
    odd = [{"x": np.array([np.nan, np.inf, -np.inf], np.float32)}]
    assert agree({"a": odd, "b": [{"x": odd[0]["x"].copy()}]}).bit_for_bit
    with pytest.raises(AnswersDifferError, match=r"`x`\[2\]: -inf in a, inf in b"):
        agree({"a": odd, "b": [{"x": np.array([np.nan, np.inf, np.inf], np.float32)}]})


def test_whole_numbers_have_no_tolerance() -> None:
    with pytest.raises(AnswersDifferError, match=r"`n`: 1000000 in a, 1000001 in b"):
        agree({"a": [{"n": np.array(1_000_000)}], "b": [{"n": np.array(1_000_001)}]}, tolerance=1.0)
