from __future__ import annotations

import itertools
import time
from typing import Any

import pytest
import yaml

from generator.load import yaml_tree
from generator.load.tree import Node, Tree, field_path
from generator.load.yaml_tree import MAX_DEPTH, MAX_VALUES, parse_bytes
from generator.problems import Problem


def parse(text: str | bytes) -> tuple[Tree | None, list[Problem]]:
    parsed = parse_bytes(text if isinstance(text, bytes) else text.encode(), "f.yaml")
    return parsed.tree, parsed.problems


def data_of(text: str) -> Any:
    tree, problems = parse(text)
    assert problems == []
    assert tree is not None
    return tree.data


BAD: list[tuple[str, list[tuple[str, int, int]]]] = [
    ("", [("TK107", 0, 0)]),
    ("# only a comment\n", [("TK107", 0, 0)]),
    ("---\n", [("TK107", 0, 0)]),
    ("null", [("TK107", 0, 0)]),
    ("- a\n- b\n", [("TK110", 1, 1)]),
    ("\n\n  text\n", [("TK110", 3, 3)]),
    ("''", [("TK110", 1, 1)]),
    # syntax
    ("a: b: c", [("TK108", 1, 5)]),
    ("a: 1\n  b: 2", [("TK108", 2, 4)]),
    ("a: 1\nname\nb: 2", [("TK108", 2, 1)]),
    ("x: 1\na: [1,\nb: 2\n\n", [("TK108", 2, 4)]),
    ("a: {b: 1\nc: 2", [("TK108", 1, 4)]),
    ("a: 'x\nb: 1", [("TK108", 1, 4)]),
    ('a: "x', [("TK108", 1, 4)]),
    ("a: @x", [("TK108", 1, 4)]),
    ("a: `x`", [("TK108", 1, 4)]),
    ("a: %x", [("TK108", 1, 4)]),
    ("files: *.py", [("TK108", 1, 8)]),
    ("- a\nb: 1", [("TK108", 2, 1)]),
    ("a:\n    b: 1\n  c: 2", [("TK108", 3, 3)]),
    ("a: - b", [("TK108", 1, 4)]),
    ("a: ]", [("TK108", 1, 4)]),
    ("a: |x\n b", [("TK108", 1, 5)]),
    ("a: 'x' y", [("TK108", 1, 8)]),
    ("%YAML 3.0\n---\na: 1", [("TK108", 1, 1)]),
    ("a: b\n...\nc: d", [("TK108", 3, 1)]),
    # tabs
    ("a:\n\t- b: 1", [("TK109", 2, 1)]),
    ("a:\n\tb: 1", [("TK109", 2, 1)]),
    ("a:\n  b: 1\n\tc: 2", [("TK109", 3, 1)]),
    ("a:\n  b: 1\n \tc: 2", [("TK109", 3, 2)]),
    ("a:\n- 1\n\t- 2", [("TK109", 3, 1)]),
    ("a: >\n\tb\n c", [("TK109", 2, 1)]),
    # keys
    ("a: 1\nb: 2\na: 3\n", [("TK111", 3, 1)]),
    ("a: 1\na: 2\na: 3\n", [("TK111", 2, 1), ("TK111", 3, 1)]),
    ("a: {b: 1, 'b': 2}", [("TK111", 1, 11)]),
    ('a: 1\n1: x\n"1": y', [("TK111", 3, 1)]),  # a whole number is a key as it is written
    ("true: 1\n~: 2\n1.5: 3\n017: 4", [("TK112", 1, 1), ("TK112", 2, 1), ("TK112", 3, 1), ("TK112", 4, 1)]),
    ("?\n: 1", [("TK112", 1, 2)]),
    ("[a, b]: 1", [("TK112", 1, 1)]),
    ("? {a: &x 1}\n: 2\nc: 3", [("TK112", 1, 3), ("TK113", 1, 7)]),
    ("a: {{ name }}", [("TK112", 1, 5)]),
    # what a spec may not hold
    ("a: &x 1\nb: *x", [("TK113", 1, 4), ("TK113", 2, 4)]),
    ("&x a: 1", [("TK113", 1, 1)]),
    ("a: &x {b: 1}\nc:\n  <<: *x", [("TK113", 1, 4), ("TK113", 3, 3)]),
    ("a: 1\n? *x\n: 3", [("TK113", 2, 3)]),
    ("*x", [("TK113", 1, 1)]),
    ("a: !!str 24.10", [("TK114", 1, 4)]),
    ("a: ! x", [("TK114", 1, 4)]),
    ("a: !!python/object:os.system {b: 1}", [("TK114", 1, 4)]),
    ("!x a: 1", [("TK114", 1, 1)]),
    ("a: 1\n---\nb: 2", [("TK115", 2, 1)]),
    ("---\n---\nb: 2", [("TK115", 2, 1)]),
    ("a: 017\nb: 0o17\nc: 1e999", [("TK117", 1, 4), ("TK117", 2, 4), ("TK117", 3, 4)]),
    ("[" * 5000, [("TK116", 1, MAX_DEPTH + 1)]),
    # several at once, the last of which ends the parsing
    ("a: &x 1\na: 2\nb: [1", [("TK113", 1, 4), ("TK111", 2, 1), ("TK108", 3, 4)]),
]


@pytest.mark.parametrize(("text", "expected"), BAD)
def test_bad_text(text: str, expected: list[tuple[str, int, int]]) -> None:
    _, problems = parse(text)
    assert [(p.code, p.place.line, p.place.column) for p in problems] == expected
    assert all(p.hint and "\n" not in p.message for p in problems)


@pytest.mark.parametrize(
    ("text", "line", "column"), [('a: "\\d"', 1, 5), ('a: "\\ud800"', 1, 7), ('a: "\\U00110000"', 1, 7)]
)
def test_bad_escapes(text: str, line: int, column: int) -> None:
    _, problems = parse(text)
    assert [(p.code, p.place.line, p.place.column) for p in problems] == [("TK108", line, column)]
    assert "escape" in problems[0].message


def test_python_parser_finds_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyYAML may be built without libyaml."""
    monkeypatch.setattr(yaml_tree, "_LOADER", yaml.SafeLoader)
    for text, expected in BAD:
        _, problems = parse(text)
        assert [(p.code, p.place.line, p.place.column) for p in problems] == expected, text
    for text in ('a: "\\d"', 'a: "\\ud800"', 'a: "\\U00110000"', '"\\udfff": 1'):
        _, problems = parse(text)
        assert [p.code for p in problems] == ["TK108"], text


def test_messages_say_what_and_how() -> None:
    _, problems = parse("a: 1\nb:\n\t- 1")
    assert problems[0].message == "a tab at line 3, column 1 is used for indentation"
    assert problems[0].hint == "indent with spaces"
    _, problems = parse("models: {a: 1, a: 2}")
    assert problems[0].message == "the key `a` is already at line 1, column 10"
    assert problems[0].field == "models.a"
    _, problems = parse("a: 1\nb: [x, {c: *y}]")
    assert (problems[0].field, problems[0].hint) == ("b[1].c", "write the value out")


def test_data_of_core_schema() -> None:
    text = """\
%YAML 1.2
---
text: [yes, no, on, off, 1:30, 2024-01-31, 1_000, 'true', "1", '~', "\\x41\\u00e9"]
values: [true, False, null, ~, , 1, 1e3, 0x10, .5]
empty:
block: |
  a
  b
folded: >-
  a
  b
nested:
- - 1
  - {k: v}
...
"""
    text = text.replace(", ,", ",")
    assert data_of(text) == {
        "text": ["yes", "no", "on", "off", "1:30", "2024-01-31", "1_000", "true", "1", "~", "Aé"],
        "values": [True, False, None, None, 1, 1000.0, 16, 0.5],
        "empty": None,
        "block": "a\nb\n",
        "folded": "a b",
        "nested": [[1, {"k": "v"}]],
    }


def test_quoted_merge_key_is_a_key() -> None:
    assert data_of("'<<': 1") == {"<<": 1}


def test_first_of_duplicate_keys_is_kept() -> None:
    tree, _ = parse("a: 1\na: {b: 2}\nc: 3")
    assert tree is not None
    assert tree.data == {"a": 1, "c": 3}
    assert ("a", "b") not in tree


def test_values_that_cannot_be_told() -> None:
    tree, _ = parse("a: {b: [1, *x]}\nc: !t 1\nd: 017\ne: &y 5\nf: {? [1] : 017}\na: *z")
    assert tree is not None
    assert tree.unknown == {("a", "b", 1), ("c",), ("d",)}
    assert tree.data == {"a": {"b": [1, None]}, "c": None, "d": None, "e": 5, "f": {}}


def test_positions() -> None:
    tree, _ = parse("é: ü\r\nb: '日本'\r\nc: [日, 1e3, {k: v}]\r\nd:\r\ne: |\r\n  x\r\nf:\r\n  - g: 1\r\n")
    assert tree is not None
    places = {
        ("é",): (1, 4),
        ("b",): (2, 4),
        ("c",): (3, 4),
        ("c", 0): (3, 5),
        ("c", 1): (3, 8),
        ("c", 2): (3, 13),
        ("c", 2, "k"): (3, 17),
        ("d",): (4, 3),
        ("e",): (5, 4),
        ("f",): (8, 3),
        ("f", 0): (8, 5),
        ("f", 0, "g"): (8, 8),
    }
    for path, expected in places.items():
        place = tree.place(*path)
        assert (place.line, place.column) == expected, path
    assert str(tree.key_place("c", 2, "k")) == "f.yaml:3:14"
    assert str(tree.key_place("f", 0)) == "f.yaml:8:5"
    assert tree.raw("c", 1) == "1e3"
    assert tree.raw("b") is None
    assert tree.raw("c") is None


@pytest.mark.parametrize("text", ["? c", "? c\n", "? c\n# no value", "a: 1\n? c\n\n\n"])
def test_a_value_that_is_not_there_stands_at_its_key(text: str) -> None:
    tree, _ = parse(text)
    assert tree is not None
    line = 1 + text[: text.index("?")].count("\n")
    assert (tree.place("c").line, tree.place("c").column) == (line, 3)


def test_place_of_what_is_not_there_is_its_nearest_ancestor() -> None:
    tree, _ = parse("a:\n  b: [1]\n")
    assert tree is not None
    assert str(tree.place("a", "b", 5, "x")) == "f.yaml:2:6"
    assert str(tree.key_place("a", "x")) == "f.yaml:2:3"
    assert str(tree.place("z")) == "f.yaml:1:1"
    assert tree.raw("a", "b", 0, "x") is None


def test_depth_limit() -> None:
    depth = MAX_DEPTH - 1  # the top mapping is the first level
    assert data_of("a: " + "[" * depth + "]" * depth) is not None
    _, problems = parse("a: " + "[" * (depth + 1) + "]" * (depth + 1))
    assert [p.code for p in problems] == ["TK116"]


def test_value_limit() -> None:
    assert len(data_of("a: [" + "1," * (MAX_VALUES - 2) + "]")["a"]) == MAX_VALUES - 2
    tree, problems = parse("a: [" + "1," * MAX_VALUES + "]")
    assert tree is None
    assert [p.code for p in problems] == ["TK104"]


LARGE = {
    "scalars": lambda n: "a: [" + "1," * (n // 20) + "]",
    "keys": lambda n: "".join(f"k{i}: 1\n" for i in range(n // 20)),
    "quotes": lambda n: "a: '" + "x " * (n // 2) + "'",
    "block text": lambda n: "a: |\n" + "  x\n" * (n // 4),
    "comments": lambda n: "#\n" * (n // 2) + "a: 1",
    "escapes": lambda n: 'a: "' + "\\n" * (n // 2) + '"',
    "open lists": lambda n: "[" * n,
    "open items": lambda n: "- " * (n // 2),
    "open mappings": lambda n: "{a: " * (n // 4),
    "complex keys": lambda n: "? " * (n // 2),
    "one word": lambda n: "a: " + "x" * n,
    "anchors": lambda n: "a: [" + "&a x," * (n // 20) + "]",
    "same keys": lambda n: "a: 1\n" * (n // 20),
    "numbers": lambda n: "a: " + "9" * n,
    "blank lines": lambda n: "a: [" + "\n" * n,
    "tabs": lambda n: "a:\n" + "\t" * n + "b: 1",
}


@pytest.mark.parametrize("name", LARGE)
def test_time_is_linear(name: str) -> None:
    """Ten times the text takes far less than the hundred times as long of a quadratic parser."""

    small, large = LARGE[name](90_000), LARGE[name](900_000)

    def seconds(text: str) -> float:
        start = time.process_time()
        parse(text)
        return time.process_time() - start

    # A busy machine only ever adds time: the least of several tries is the parser's own, in small and in large.
    fastest_small, fastest_large = seconds(small), seconds(large)
    for _ in range(8):
        if fastest_large < 35 * max(fastest_small, 0.02):
            return
        fastest_small, fastest_large = min(fastest_small, seconds(small)), min(fastest_large, seconds(large))
    pytest.fail(f"{fastest_small:.3f} s for a tenth of the text, {fastest_large:.3f} s for the whole")


def test_field_path() -> None:
    assert field_path(()) == ""
    assert field_path(("ensemble", "steps", 1, "input_map", "IMAGES")) == "ensemble.steps[1].input_map.IMAGES"
    assert field_path(("models", "a.b", "c-d", 'q"', "", 0, "é")) == 'models["a.b"].c-d["q\\""][""][0].é'


def test_every_node_has_a_position() -> None:
    tree, _ = parse("a: [1, {b: c, d: [e, '']}]\nf: {g: }\n")
    assert tree is not None
    nodes: list[Node] = [tree.root]
    for index in itertools.count():
        if index == len(nodes):
            break
        nodes += nodes[index].children.values()
    assert len(nodes) == 10
    assert all(n.line >= 1 and n.column >= 1 for n in nodes)
