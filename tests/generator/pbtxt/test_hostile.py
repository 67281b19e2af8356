"""Whatever bytes a file has: a diagnosis or a clean reading, in a time that grows with its size alone."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from generator.pbtxt.complaints import MAX_PROBLEMS
from generator.pbtxt.reader import Read, read
from generator.problems import errors
from generator.report import render_json, render_text

pytestmark = pytest.mark.timeout(120)

# Each makes a text that grows with its number.
GROWING: dict[str, Callable[[int], str]] = {
    "unknown blocks": lambda n: "x{" * n,
    "unknown blocks, closed": lambda n: "x{" * n + "}" * n,
    "known blocks": lambda n: "input {" * n,
    "known lists": lambda n: "input [" * n,
    "opening": lambda n: "{" * n,
    "opening lists": lambda n: "[" * n,
    "closing": lambda n: "}" * n,
    "crossed": lambda n: "{" * n + "]" * n,
    "lists in a block": lambda n: "input { foo [ " * n,
    "names in lists": lambda n: "input { dims: [ x:" * n,
    "names": lambda n: "x " + "name " * n,
    "comment of another language": lambda n: "//" + " name" * n,
    "word": lambda n: "a-" * n,
    "colons": lambda n: ":" * n,
    "no values": lambda n: "name:" * n,
    "minus": lambda n: "max_batch_size: " + "-" * n,
    "digits": lambda n: "max_batch_size: " + "9" * n,
    "hexadecimal": lambda n: "max_batch_size: 0x" + "f" * n,
    "octal": lambda n: "max_batch_size: 0" + "7" * n,
    "real": lambda n: f"sequence_batching {{ direct {{ minimum_slot_utilization: 0.{'0' * n}1 }} }}",
    "quotes": lambda n: '"' * n,
    "texts in a row": lambda n: "name: " + '"a" ' * n,
    "open texts": lambda n: "name: 'a\n" * n,
    "escapes": lambda n: "name: '" + r"\x41\u0041\101" * n + "'",
    "wrong escapes": lambda n: "name: '" + r"\q" * n + "'",
    "backslashes": lambda n: "name: '" + "\\" * n,
    "NULs": lambda n: "a\0" * n,
    "letters outside texts": lambda n: "é" * n,
    "comment": lambda n: "#" * n,
    "spaces": lambda n: " " * n + "=",
    "line breaks": lambda n: "\r" * n + "=",
    "numbers": lambda n: "input { dims: [" + "1," * n + "1] }",
    "blocks": lambda n: "input { name: 'a' }" * n,
    "wrong blocks": lambda n: "input { name: a }" * n,
    "equal keys": lambda n: "metric_tags { key: 'a' }" * n,
    "brackets behind an open text": lambda n: "name: '}\ninput { dims: [ 1 " + "}" * n,
    "lists behind an open text": lambda n: "name: '}\n" + "input { dims: [ [ " * n,
    "twice": lambda n: "max_batch_size: 1 " * n,
}


def check(found: Read) -> None:
    assert (found.message is None) == bool(errors(found.problems))
    assert len(found.problems) <= MAX_PROBLEMS + 2
    lines = found.source.text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    for problem in found.problems:
        assert 1 <= problem.place.line <= len(lines)
        assert 1 <= problem.place.column <= len(lines[problem.place.line - 1]) + 1
        assert problem.message
    shown = render_text(found.problems, {"f": found.source.text}, colour=False)
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\ud800-\udfff]", shown)
    assert render_json(found.problems).isascii()


@settings(max_examples=300)
@given(st.one_of(st.binary(max_size=200), st.text(max_size=100).map(lambda text: text.encode("utf-8", "replace"))))
@example(b"\xff\xfe\x00\x00")
@example(b"name: '\xed\xa0\x80'")
def test_any_bytes(data: bytes) -> None:
    check(read(data, "f"))


@settings(max_examples=300)
@given(st.lists(st.sampled_from(["input", "name", "dims", "x", ":", "{", "}", "[", "]", "<", ">", ",", ";", "-", "1", "'a'",
                                 "'", '"', "#", "\n", "=", "\0", "é", "TYPE_FP32", "parameters", "key", "value", "/", "\\"])))  # fmt: skip
def test_any_tokens(tokens: list[str]) -> None:
    check(read(" ".join(tokens), "f"))


def seconds(text: str) -> float:
    start = time.process_time()
    check(read(text, "f"))
    return time.process_time() - start


@pytest.mark.alone  # it compares times
@pytest.mark.parametrize("make", GROWING.values(), ids=list(GROWING))
def test_the_time_grows_with_the_size(make: Callable[[int], str]) -> None:
    """Four times the text takes about four times as long; growing with the square it would be sixteen."""
    ratios = []
    for _ in range(5):
        ratios.append(seconds(make(40_000)) / max(seconds(make(10_000)), 1e-3))
        if min(ratios) < 9:
            return
    pytest.fail(f"four times the text takes {min(ratios):.1f} times as long")


def test_100_000_brackets() -> None:
    for text in ("x{" * 100_000, "x{" * 100_000 + "}" * 100_000, "input { x [" * 100_000, "input: [<" * 100_000):
        check(read(text, "f"))


def test_a_large_file() -> None:
    """20 MB: one text, one comment, and many small fields."""
    text = f"name: '{'é' * 5_000_000}'\n# {'#' * 9_000_000}\n" + "input { dims: [ 1, 2 ] }\n" * 40_000
    assert len(text.encode()) > 20_000_000
    found = read(text.encode(), "f")
    assert found.problems == []
    assert found.message is not None
    assert len(found.message.name) == 5_000_000
    assert len(found.message.input) == 40_000
