"""Files that are something else than a configuration have one problem, which says what they are."""

from __future__ import annotations

import random

import pytest

from generator.pbtxt.reader import read

TEMPLATE = """name: "engine"
backend: "${triton_backend}"
max_batch_size: ${triton_max_batch_size}
dynamic_batching {
  preferred_batch_size: [ ${triton_max_batch_size}, 8 ]
  max_queue_delay_microseconds: ${delay}
}
"""


def test_a_template_is_one_problem_at_its_first_placeholder() -> None:
    (problem,) = read(TEMPLATE, "f").problems
    assert (problem.code, str(problem.place)) == ("TK501", "f:3:17")
    assert "`${triton_max_batch_size}` and 3 other placeholders have to be filled in" in problem.message
    assert "fill_template.py" in problem.hint


def test_of_a_template_other_mistakes_are_told_too() -> None:
    found = read(TEMPLATE + "max_batch_sise: 4\n", "f").problems
    assert [problem.code for problem in found] == ["TK501", "TK511"]


def test_one_placeholder_is_told_in_the_singular() -> None:
    (problem,) = read("max_batch_size: {{ size }}", "f").problems
    assert problem.message == "this is a template: `{{ size }}` has to be filled in"


def test_placeholders_in_texts_and_comments_are_no_problem() -> None:
    assert read('# ${a}\nparameters { key: "p" value { string_value: "${b}" } }', "f").problems == []


def test_a_dollar_sign_alone_makes_no_template() -> None:
    (problem,) = read("max_batch_size: $ # ${size}", "f").problems
    assert problem.message.startswith("found `$`")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ('name: "adder"'.encode("utf-16"), "this is no text: it begins as UTF-16"),
        (b"\xfe\xff" + 'name: "adder"'.encode("utf-16-be"), "this is no text: it begins as UTF-16"),
        (b"ftrt" + bytes(24), "this is no text: it begins as a TensorRT plan"),
        (b"\x7fELF" + bytes(24), "this is no text: it begins as a program or library"),
        (bytes(64), "this is no text"),
        (random.Random(1).randbytes(20_000), "this is no text"),
    ],
)
def test_bytes_that_are_no_text_are_one_problem(data: bytes, message: str) -> None:
    (problem,) = read(data, "f").problems
    assert (problem.code, str(problem.place), problem.message) == ("TK501", "f:1:1", message)


@pytest.mark.parametrize("data", [b'name: "a\0b"', b"# \xe9t\xe9 \xe0 \xe9\nmax_batch_size: x"])
def test_a_few_strange_characters_make_no_binary_file(data: bytes) -> None:
    found = read(data, "f").problems
    assert found
    assert "this is no text" not in found[0].message
