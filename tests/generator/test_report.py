from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from generator.problems import Place, Problem, Severity
from generator.report import render_github, render_json, render_text, visible

SPEC = "name: x\nensemble:\n  steps:\n  - input_map: {IMAGES: raw}\n"
WRONG = Problem(
    "TK203",
    Place("specs/detector.yaml", 4, 17),
    "ensemble.steps[0].input_map.IMAGES",
    "model `detector_trt` has no input `IMAGES`; inputs: `images`",
    "did you mean `images`?",
)


def caret_of(line: str, column: int) -> tuple[str, str]:
    """The excerpt of one line and the text under it, without the gutter."""
    text = render_text([Problem("TK1", Place("f", 1, column), "", "m")], {"f": line}, colour=False)
    excerpt, caret = text.split("\n")[3:5]
    assert excerpt.startswith("  1 |")
    assert caret.startswith("    | ")
    return excerpt[6:], caret[6:]


def test_text() -> None:
    warning = Problem("TK301", Place("specs/a.yaml"), "", "the file is old", severity=Severity.WARNING)
    first = Problem("TK121", Place("specs/detector.yaml", 1, 1), "name", "unknown field")
    text = render_text([WRONG, warning, first], {"specs/detector.yaml": SPEC}, colour=False)
    assert (
        text
        == """\
warning[TK301]: specs/a.yaml
  the file is old

error[TK121]: specs/detector.yaml:1:1: name
  unknown field

  1 | name: x
    | ^

error[TK203]: specs/detector.yaml:4:17: ensemble.steps[0].input_map.IMAGES
  model `detector_trt` has no input `IMAGES`; inputs: `images`

  4 |   - input_map: {IMAGES: raw}
    |                 ^

hint: did you mean `images`?

found 2 errors and 1 warning in 2 files
"""
    )


def test_colour_adds_nothing_but_colour() -> None:
    plain = render_text([WRONG], {"specs/detector.yaml": SPEC}, colour=False)
    coloured = render_text([WRONG], {"specs/detector.yaml": SPEC}, colour=True)
    assert coloured != plain
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == plain
    assert coloured.count("\x1b[") == 2 * coloured.count("\x1b[0m")


def test_order_is_by_file_line_and_column() -> None:
    places = [Place("b", 1, 1), Place("a", 10, 1), Place("a", 9, 2), Place("a", 9, 1), Place("a")]
    problems = [Problem("TK1", place, "", "m") for place in places]
    heads = re.findall(r"^error.*$", render_text(problems, {}, colour=False), re.MULTILINE)
    assert [h.split(": ")[1] for h in heads] == ["a", "a:9:1", "a:9:2", "a:10:1", "b:1:1"]


@pytest.mark.parametrize(
    ("severities", "count"),
    [
        ([], "found no problems"),
        (["error"], "found 1 error in 1 file"),
        (["error", "error", "warning"], "found 2 errors and 1 warning in 3 files"),
        (["note", "warning", "error", "note"], "found 1 error, 1 warning and 2 notes in 4 files"),
    ],
)
def test_count(severities: list[str], count: str) -> None:
    problems = [Problem("TK1", Place(f"f{i}"), "", "m", severity=Severity(s)) for i, s in enumerate(severities)]
    assert render_text(problems, {}, colour=False).splitlines()[-1] == count


@pytest.mark.parametrize("name", ["--rate", "--arrivals", "127.0.0.1:8000", "[::1]:8000", "{tmp_path}"])
def test_what_is_in_no_file_is_counted_without(name: str, tmp_path: Path) -> None:
    place = Place(name.format(tmp_path=tmp_path))
    text = render_text([Problem("TK1", place, "", "m")], {}, colour=False)
    assert text.splitlines()[-1] == "found 1 error"
    both = [Problem("TK1", place, "", "m"), Problem("TK1", Place("specs/a.yaml", 1, 1), "", "m")]
    assert render_text(both, {}, colour=False).splitlines()[-1] == "found 2 errors"


@pytest.mark.parametrize("name", ["Makefile", "specs/a.yaml", "-odd.yaml:1", "a:b.yaml"])
def test_what_is_in_a_file(name: str) -> None:
    line = 1 if name.startswith("-") else 0
    text = render_text([Problem("TK1", Place(name, line, line), "", "m")], {}, colour=False)
    assert text.splitlines()[-1] == "found 1 error in 1 file"


def test_caret_stands_under_wide_and_combining_characters() -> None:
    assert caret_of("日本: x", 5) == ("日本: x", " " * 6 + "^")
    assert caret_of("e\u0301: x", 5) == ("e\u0301: x", " " * 3 + "^")
    assert caret_of("é: x", 4) == ("é: x", " " * 3 + "^")
    assert caret_of("😀: x", 4) == ("😀: x", " " * 4 + "^")


def test_control_characters_in_an_excerpt_are_shown() -> None:
    assert caret_of("\t- b", 1) == ("\\t- b", "^")
    assert caret_of("\x1b[31m: x", 8) == ("\\x1b[31m: x", " " * 10 + "^")
    assert caret_of("\u202e: x", 4) == ("\\u202e: x", " " * 8 + "^")


def test_long_lines_are_cut_around_the_caret() -> None:
    line = "a" * 5000 + "B" + "c" * 5000
    excerpt, caret = caret_of(line, 5001)
    assert excerpt == "…" + "a" * 60 + "B" + "c" * 59 + "…"
    assert excerpt[len(caret) - 1] == "B"
    assert caret_of("B" + line, 1) == ("B" + "a" * 119 + "…", "^")
    assert caret_of("x" * 119 + "B", 120) == ("x" * 119 + "B", " " * 119 + "^")
    assert caret_of(line, 10_001) == ("…" + "c" * 120, " " * 120 + "^")


def test_a_place_that_is_not_in_the_source_has_no_excerpt() -> None:
    for place in (Place("f", 3, 1), Place("f"), Place("g", 1, 1)):
        text = render_text([Problem("TK1", place, "", "m")], {"f": "a\nb"}, colour=False)
        assert text == f"error[TK1]: {place}\n  m\n\nfound 1 error in 1 file\n"
    assert caret_of("ab", 99) == ("ab", "  ^")


def test_an_empty_line_has_a_caret() -> None:
    assert caret_of("", 1) == ("", "^")


def test_gutter_is_as_wide_as_the_number() -> None:
    source = "\r\n".join(f"k{i}: 1" for i in range(1, 121))
    text = render_text([Problem("TK1", Place("f", 120, 1), "k120", "m")], {"f": source}, colour=False)
    assert text.splitlines()[3:5] == ["  120 | k120: 1", "      | ^"]


def test_nothing_of_the_users_reaches_the_terminal_raw() -> None:
    nasty = "\x1b]0;x\x07\x9b1m\r\n\u202eerror[TK1]\udcff\x00"
    problem = Problem("TK1", Place(nasty, 1, 1), nasty, nasty, nasty)
    for text in (render_text([problem], {nasty: nasty}, colour=False), render_github([problem])):
        assert all(c.isprintable() or c == "\n" for c in text)
        text.encode()
    assert len(render_github([problem]).splitlines()) == 1
    assert visible(nasty) == "\\x1b]0;x\\x07\\x9b1m\\r\\n\\u202eerror[TK1]\\udcff\\x00"
    assert visible("日本 é\u00a0\u3000\U000e0001") == "日本 é\u00a0\u3000\\U000e0001"


def test_json() -> None:
    whole = Problem("TK107", Place("ü.yaml"), "", "the file is empty", severity=Severity.NOTE)
    text = render_json([whole, WRONG])
    assert text.isascii()
    assert json.loads(text) == {
        "version": 1,
        "problems": [
            {
                "code": "TK203",
                "severity": "error",
                "file": "specs/detector.yaml",
                "line": 4,
                "column": 17,
                "field": "ensemble.steps[0].input_map.IMAGES",
                "message": "model `detector_trt` has no input `IMAGES`; inputs: `images`",
                "hint": "did you mean `images`?",
            },
            {
                "code": "TK107",
                "severity": "note",
                "file": "ü.yaml",
                "line": None,
                "column": None,
                "field": "",
                "message": "the file is empty",
                "hint": "",
            },
        ],
    }
    assert json.loads(render_json([])) == {"version": 1, "problems": []}


def test_github() -> None:
    assert render_github([WRONG]) == (
        "::error file=specs/detector.yaml,line=4,col=17,title=TK203::ensemble.steps[0].input_map.IMAGES: "
        "model `detector_trt` has no input `IMAGES`; inputs: `images`%0Ahint: did you mean `images`?\n"
    )
    odd = Problem("TK1", Place("a:b,c%d.yaml"), "", "100% of a::b, c", severity=Severity.NOTE)
    assert render_github([odd]) == "::notice file=a%3Ab%2Cc%25d.yaml,title=TK1::100%25 of a::b, c\n"
    warning = Problem("TK1", Place("f"), "", "m", severity=Severity.WARNING)
    assert render_github([warning]).startswith("::warning file=f,")
    assert render_github([]) == ""
