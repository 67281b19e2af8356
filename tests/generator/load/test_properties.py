from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, JsonValue

from generator.load import load
from generator.load.read import split_lines
from generator.load.tree import Tree, TreePath
from generator.load.validate import validate
from generator.load.yaml_tree import parse_bytes
from generator.problems import Problem
from generator.report import render_github, render_json, render_text


class Anything(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    a: list[int | dict[str, float]] | None = None
    b: JsonValue = None
    c: str = ""


class NoAliases(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


# What PyYAML writes unquoted, because to YAML 1.1 it is text, and to 1.2 a number.
_NUMBER_TO_12_ALONE = re.compile(r"[-+]?(\.?[0-9][0-9.]*([eE][-+]?[0-9]+)?|0o[0-7]+)")
_LOOKALIKES = [
    *("yes", "no", "on", "off", "y", "n", "true", "True", "null", "~", "", " ", "1:30", "1:30:00", "2024-01-31"),
    *("1", "1.5", "017", "0x1f", "0b1", "1_000", ".inf", ".nan", "-", "- a", "? a", ": a", "a: b", "a #b", "#", "*x"),
    *("&x", "!x", "|", ">", "%x", "@x", "`x", "'", '"', "{a}", "[a]", "<<", "=", "\n", " a\n b ", "\t", "é", "日本"),
    *("\u2028", "\x85", "\ufeff", "\x00", "\x1b[31m", "😀", "---", "...", "a\r\nb", "\ud7ff", "a\n---\nb"),
]
TEXT = (st.text(max_size=20) | st.sampled_from(_LOOKALIKES)).filter(
    lambda text: not _NUMBER_TO_12_ALONE.fullmatch(text) or isinstance(yaml.safe_load(text), int | float)
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.floats(-10, 10)
    | TEXT
)
DATA = st.dictionaries(
    TEXT,
    st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4)),
    max_size=5,
)
PIECES = st.sampled_from(
    [
        *(
            "a",
            "b",
            "c",
            "a: ",
            "b: ",
            "c: ",
            ":",
            ": ",
            "- ",
            "\n",
            "\n  ",
            "\n    ",
            "\t",
            " ",
            "[",
            "]",
            "{",
            "}",
            ",",
        ),
        *("&x ", "*x", "!t ", "!!int ", "<<: ", "|", ">", "'", '"', "\\", "#", "? ", "---\n", "...\n", "%YAML 1.2\n"),
        *(
            "1",
            "017",
            "0o7",
            "1e9",
            "1e999",
            "9" * 30,
            "null",
            "true",
            "é",
            "日",
            "\r\n",
            "\r",
            "\ufeff",
            "\x00",
            "@",
        ),
    ]
)


def problems_of(data: bytes) -> list[Problem]:
    parsed = parse_bytes(data, "f.yaml")
    problems = list(parsed.problems)
    if parsed.tree is not None:
        value, wrong = validate(parsed.tree, Anything)
        assert (value is None) >= bool(wrong)
        problems += wrong
        assert value is not None or problems
    else:
        assert problems
    lines = split_lines(parsed.text)
    for problem in problems:
        assert problem.place.line <= len(lines)
        if problem.place.line:
            assert 1 <= problem.place.column <= len(lines[problem.place.line - 1]) + 1, problem
    for text in (render_text(problems, {"f.yaml": parsed.text}, colour=False), render_github(problems)):
        assert all(c == "\n" or c.isprintable() or c == "\u3000" or c.isspace() for c in text)
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e]", text)
        text.encode()
    assert render_json(problems).isascii()
    return problems


@settings(max_examples=400)
@given(st.binary(max_size=200))
@example(b"\xff\xfe")
@example(b"\xef\xbb\xbf")
def test_any_bytes_give_problems_or_data(data: bytes) -> None:
    problems_of(data)


@settings(max_examples=1000)
@given(st.lists(PIECES, max_size=25).map("".join) | st.text(max_size=60))
def test_any_text_gives_problems_or_data(text: str) -> None:
    problems_of(text.encode("utf-8", "replace"))


@settings(max_examples=300)
@given(DATA, st.sampled_from([None, True, False]), st.sampled_from(["\n", "\r\n"]))
def test_what_pyyaml_writes_is_read_back(data: dict[str, Any], flow: bool | None, line_break: str) -> None:
    text = yaml.dump(data, Dumper=NoAliases, default_flow_style=flow, line_break=line_break)
    parsed = parse_bytes(text.encode(), "f.yaml")
    assert parsed.problems == []
    assert parsed.tree is not None
    assert parsed.tree.data == data
    assert _types(parsed.tree.data) == _types(data)


def _types(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _types(v) for key, v in value.items()}
    return [_types(v) for v in value] if isinstance(value, list) else type(value)


WORDS = st.text("abcxyzéß日本😀", min_size=1, max_size=6)
PLACED = st.dictionaries(
    WORDS,
    st.recursive(
        WORDS | st.integers(0, 999) | st.booleans(),
        lambda inner: st.lists(inner, min_size=1, max_size=4) | st.dictionaries(WORDS, inner, min_size=1, max_size=4),
    ),
    min_size=1,
    max_size=5,
)


@settings(max_examples=300)
@given(PLACED, st.sampled_from([None, True, False]), st.booleans(), st.sampled_from(["\n", "\r\n"]))
def test_every_scalar_stands_where_its_place_says(
    data: dict[str, Any], flow: bool | None, unicode: bool, line_break: str
) -> None:
    text = yaml.dump(
        data, Dumper=NoAliases, default_flow_style=flow, allow_unicode=unicode, width=10_000, line_break=line_break
    )
    parsed = parse_bytes(text.encode(), "f.yaml")
    assert parsed.tree is not None
    lines = split_lines(text)
    found = _check(parsed.tree, data, (), lines)
    assert found == _count(data)


def _check(tree: Tree, value: Any, path: TreePath, lines: list[str]) -> int:
    """Compare what stands at each scalar's and key's place, read as YAML of its own; count the scalars."""
    if isinstance(value, dict):
        for key in value:
            place = tree.key_place(*path, key)
            start = lines[place.line - 1][place.column - 1 :]
            assert yaml.safe_load(re.split(r":(?:\s|$)", start)[0].split("\n")[0]) in (key, _read(key))
        return sum(_check(tree, v, (*path, k), lines) for k, v in value.items())
    if isinstance(value, list):
        return sum(_check(tree, v, (*path, i), lines) for i, v in enumerate(value))
    place = tree.place(*path)
    start = lines[place.line - 1][place.column - 1 :]
    scalar = start if start.startswith(('"', "'")) else re.split(r"[,\]}]", start)[0]
    quoted = re.match(r'"(?:\\.|[^"\\])*"|\'(?:\'\'|[^\'])*\'', start)
    assert yaml.safe_load(quoted[0] if quoted else scalar) == value
    return 1


def _read(key: str) -> Any:
    return yaml.safe_load(key)


def _count(value: Any) -> int:
    if isinstance(value, dict):
        return sum(map(_count, value.values()))
    return sum(map(_count, value)) if isinstance(value, list) else 1


@settings(max_examples=50)
@given(st.floats(allow_nan=True))
def test_floats_reach_the_model_unchanged(number: float) -> None:
    text = yaml.dump({"b": number}, Dumper=NoAliases)
    tree = parse_bytes(text.encode(), "f").tree
    assert tree is not None
    value, problems = validate(tree, Anything)
    assert problems == []
    assert value is not None
    assert value.b == number or (isinstance(value.b, float) and math.isnan(value.b) and math.isnan(number))


def test_a_directory_of_fuzz(tmp_path: Path) -> None:
    for number, content in enumerate([b"\x00", b"a: [", b"{" * 70, b"- 1", b"a: 1\na: 2", b"\xff"]):
        (tmp_path / f"{number}.yaml").write_bytes(content)
    result = load([tmp_path], Anything, base=tmp_path)
    codes = ["TK106", "TK108", "TK112", "TK116", "TK110", "TK123", "TK111", "TK105"]
    assert [p.code for p in result.problems] == codes
