"""What the server says of texts that parsers disagree on, and where Python's text_format says otherwise."""

from __future__ import annotations

import pytest
from spellings import NOT_UTF8, SPELLINGS, TEXTS
from test_equal import by_python, by_reader

from generator.pbtxt import codes
from generator.pbtxt.reader import read


@pytest.mark.parametrize(("text", "verdicts"), SPELLINGS.items())
def test_a_text_is_accepted_as_by_the_server(text: str, verdicts: tuple[bool, bool]) -> None:
    server, python = verdicts
    assert (by_reader(text) is not None) == server
    assert (by_python(text) is not None) == python


@pytest.mark.parametrize(("text", "value"), TEXTS.items())
def test_a_text_says_what_it_says_to_the_server(text: str, value: str) -> None:
    message = read(f"name: {text}", "").message
    assert message is not None
    assert message.name == value


@pytest.mark.parametrize("text", NOT_UTF8)
def test_texts_that_the_server_loses(text: str) -> None:
    [problem] = read(f"name: {text}", "").problems
    assert (problem.code, problem.place.column) == (codes.NOT_UTF8, 7)


def test_bytes() -> None:
    """Comments may have any; a text in UTF-8 is what it was."""
    found = read(b"# \xff\nname: 'caf\xc3\xa9'", "")
    assert found.message is not None
    assert found.message.name == "café"
    assert [problem.code for problem in read(b"name: 'caf\xe9'", "").problems] == [codes.NOT_UTF8]
