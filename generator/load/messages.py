"""A finding as problems: the code, the place, what was found, what is valid, and a hint."""

from __future__ import annotations

import json
import re
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic_core.core_schema import ErrorType

from generator.load import codes, words
from generator.load.errors import broken_rule
from generator.load.findings import MISSING, UNFIT, UNKNOWN, Finding
from generator.load.shape import Shape
from generator.load.tree import Tree, TreePath, field_path
from generator.problems import Problem

_OWN_TYPES = frozenset(typing.get_args(ErrorType))  # of pydantic itself; any other is a validator's
_CHOICES = ("literal_error", "enum")
_BOUNDS = {
    "greater_than": ("gt", "greater than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
    "multiple_of": ("multiple_of", "a multiple of"),
}
_LENGTHS = ("too_short", "too_long", "string_too_short", "string_too_long", "bytes_too_short", "bytes_too_long")
_YES = re.compile(r"yes|y|on|true", re.IGNORECASE)
_NO = re.compile(r"no|n|off|false", re.IGNORECASE)


@dataclass(frozen=True)
class _Said:
    code: str
    message: str
    hint: str = ""


class Describer:
    """Turns the findings of one document into problems."""

    def __init__(self, tree: Tree, shape: Shape) -> None:
        self._tree = tree
        self._shape = shape

    def problems(self, item: Finding) -> list[Problem]:
        """The problems that a finding stands for: several only where a validator raised several."""
        error = item.context.get("error")
        if item.kind in ("value_error", "assertion_error") and isinstance(error, ValueError | AssertionError):
            return [
                self._problem(item.path + e.path, _Said(e.code, e.message, e.hint), item.at_key or e.at_key)
                for e in broken_rule(error)
            ]
        path, at_key = item.path, item.at_key
        discriminator = _discriminator(item)
        if discriminator:
            path = (*path, discriminator)
        elif item.kind == "union_tag_invalid" and (*path, item.context["tag"]) in self._tree:
            path, at_key = (*path, item.context["tag"]), True  # `{tag: ...}`: the key tells the branch
        return [self._problem(path, self._say(item), at_key)]

    def _problem(self, path: TreePath, said: _Said, at_key: bool) -> Problem:
        place = self._tree.key_place(*path) if at_key else self._tree.place(*path)
        return Problem(said.code, place, field_path(path), said.message, said.hint)

    def _say(self, item: Finding) -> _Said:
        kind = item.kind
        speakers: dict[str, Callable[[Finding], _Said]] = {
            UNKNOWN: self._unknown,
            MISSING: self._missing,
            UNFIT: self._unfit,
            "union_tag_invalid": self._tag_invalid,
            "union_tag_not_found": self._tag_not_found,
            "string_pattern_mismatch": self._pattern,
            "finite_number": self._not_finite,
            **dict.fromkeys(_CHOICES, self._choice),
            **dict.fromkeys(_BOUNDS, self._bound),
            **dict.fromkeys(_LENGTHS, self._length),
        }
        if kind in speakers:
            return speakers[kind](item)
        if words.wanted(kind):
            return self._type(item, words.wanted(kind))
        if kind not in _OWN_TYPES:
            return _Said(codes.BROKEN_RULE, item.said)
        said = item.said[:1].lower() + item.said[1:]
        return _Said(codes.NOT_VALID, f"found {self._found(item)}; {said}")

    def _found(self, item: Finding) -> str:
        if item.at_key:
            return f"the key {words.code(item.value)}"
        return words.found(item.value, self._tree.raw(*item.path))

    def _unknown(self, item: Finding) -> _Said:
        name = item.path[-1]
        fields = self._shape.fields(item.path[:-1], self._tree.data)
        where = field_path(item.path[:-1])
        message = f"unknown field {words.code(name)}"
        if fields:
            message += f"; fields of `{where}`: " if where else "; fields here: "
            message += words.listed(fields)
        return _Said(codes.UNKNOWN_FIELD, message, words.guess(name, fields) or "remove it")

    def _missing(self, item: Finding) -> _Said:
        name = item.path[-1]
        if isinstance(name, int):
            return _Said(codes.WRONG_LENGTH, f"item {name + 1} of the list is missing", "add it")
        what = self._shape.kind(item.path, self._tree.data)
        choices = self._shape.choices(item.path, self._tree.data)
        valid = f"; valid: {words.listed(choices)}" if choices else f"; valid: {what}" if what else ""
        about = self._shape.description(item.path, self._tree.data)
        hint = f"add {words.code(name)}" + (f": {words.cut(about, 160)}" if about else "")
        return _Said(codes.MISSING_FIELD, f"the field {words.code(name)} is missing{valid}", hint)

    def _choice(self, item: Finding) -> _Said:
        choices = words.expected(str(item.context.get("expected", "")))
        message = f"found {self._found(item)}; valid: {words.listed(choices)}"
        return _Said(codes.NOT_A_CHOICE, message, self._choice_hint(item, choices))

    def _choice_hint(self, item: Finding, choices: list[Any]) -> str:
        for choice in choices:
            if item.value != choice and not item.at_key and words.plain(choice) == self._written(item):
                return f"write {self._line(item, choice)}"
        return words.guess(item.value, choices)

    def _tag_invalid(self, item: Finding) -> _Said:
        choices = words.expected(str(item.context.get("expected_tags", "")))
        tag = item.context.get("tag")
        return _Said(
            codes.NOT_A_CHOICE,
            f"found {words.code(tag)}; valid: {words.listed(choices)}",
            words.guess(tag, choices),
        )

    def _tag_not_found(self, item: Finding) -> _Said:
        name = _discriminator(item)
        if name:
            return self._missing(_named(item, name))
        fields = self._shape.fields(item.path, self._tree.data)
        valid = f"; valid: a mapping with one of {words.listed(fields)}" if fields else ""
        return _Said(codes.NOT_A_CHOICE, f"found {self._found(item)}, which fits none of the forms{valid}")

    def _unfit(self, item: Finding) -> _Said:
        """A value that no branch of a union takes: what each of them wants, in one sentence."""
        if all(b.kind == MISSING for b in item.branches):
            names = words.listed(dict.fromkeys(b.path[-1] for b in item.branches))
            message = f"found {self._found(item)}; valid: a mapping with one of {names}"
            return _Said(codes.MISSING_FIELD, message, "add one of them")
        choices: list[Any] = []
        types: list[str] = []
        for branch in item.branches:
            if branch.kind in _CHOICES:
                choices += words.expected(str(branch.context.get("expected", "")))
            else:
                types.append(words.wanted(branch.kind))
        valid = words.either([*(words.code(c) for c in choices), *(t for t in types if t)] or ["another form"])
        hint = self._choice_hint(item, choices)
        if not hint and types:
            hint = self._type(item, types[0]).hint
        named = bool(choices) and isinstance(item.value, str)
        code = codes.NOT_A_CHOICE if named else codes.WRONG_TYPE
        return _Said(code, f"found {self._found(item)}; valid: {valid}", hint)

    def _type(self, item: Finding, wanted: str) -> _Said:
        return _Said(codes.WRONG_TYPE, f"found {self._found(item)}; valid: {wanted}", self._hint(item, wanted))

    def _hint(self, item: Finding, wanted: str) -> str:
        value = item.value
        if item.at_key:
            return ""
        if value is None:
            return "write a value, or remove the line"
        if wanted in ("text", "a path", "a URL") and isinstance(value, bool | int | float):
            return self._quote(item)
        if wanted in ("a number", "a whole number"):
            return self._number(item, whole=wanted == "a whole number")
        if wanted == "true or false":
            text = words.plain(value)
            choice = True if _YES.fullmatch(text) else False if _NO.fullmatch(text) else None
            return "" if choice is None else f"write {self._line(item, choice)}"
        if wanted == "a list" and not isinstance(value, dict | list):
            return f"write {self._line(item, [value])}"
        return ""

    def _quote(self, item: Finding) -> str:
        raw = self._written(item)
        text = json.dumps(raw, ensure_ascii=False)
        read = words.plain(item.value)
        became = "" if raw.lower() == read.lower() else f"; unquoted, {raw} is the number {read}"
        return f"quote it: {self._line(item, text, ready=True)}{became}"

    def _number(self, item: Finding, whole: bool) -> str:
        value = item.value
        if isinstance(value, str):
            if not re.fullmatch(r"[-+]?[0-9][0-9_]*(\.[0-9]+)?", value):
                return ""
            value = float(value.replace("_", ""))
        if not isinstance(value, float):
            return ""
        if value.is_integer() and abs(value) < 2**63:
            return f"write {self._line(item, int(value))}"
        return "" if whole else f"write {self._line(item, value)}"

    def _bound(self, item: Finding) -> _Said:
        key, phrase = _BOUNDS[item.kind]
        valid = f"{phrase} {item.context.get(key)}"
        if key != "multiple_of":
            valid = _range(self._shape.bounds(item.path, self._tree.data)) or valid
        return _Said(codes.OUT_OF_RANGE, f"found {self._found(item)}; valid: {valid}")

    def _not_finite(self, item: Finding) -> _Said:
        return _Said(codes.OUT_OF_RANGE, f"found {self._found(item)}; valid: a finite number")

    def _length(self, item: Finding) -> _Said:
        short = item.kind.endswith("short")
        limit = int(item.context["min_length" if short else "max_length"])
        noun, what = ("item", "a list") if isinstance(item.value, list) else ("field", "a mapping")
        if isinstance(item.value, str):
            noun, what = "character", "text"
        has = f"{what} of {words.counted(len(item.value), noun)}" if hasattr(item.value, "__len__") else what
        valid = f"{'at least' if short else 'at most'} {words.counted(limit, noun)}"
        return _Said(codes.WRONG_LENGTH, f"found {has}; valid: {valid}")

    def _pattern(self, item: Finding) -> _Said:
        about = self._shape.description(item.path, self._tree.data)
        pattern = words.cut(str(item.context.get("pattern")), 120)
        message = f"found {self._found(item)}; valid: text that matches `{pattern}`"
        return _Said(codes.WRONG_FORM, message, words.cut(about, 160))

    def _written(self, item: Finding) -> str:
        return self._tree.raw(*item.path) or words.plain(item.value)

    def _line(self, item: Finding, value: Any, ready: bool = False) -> str:
        """The line to write: `key: value`, or `- value` for an item."""
        if not ready:
            value = json.dumps(value, ensure_ascii=False)
        key = item.path[-1] if item.path else ""
        return f"`- {value}`" if isinstance(key, int) else f"`{key}: {words.cut(value)}`"


def _discriminator(item: Finding) -> str:
    """The field that tells a union's branches apart; empty when a function does."""
    quoted = re.fullmatch(r"'(.*)'", str(item.context.get("discriminator", "")))
    return quoted[1] if quoted else ""


def _named(item: Finding, name: str) -> Finding:
    return Finding(MISSING, (*item.path, name), item.value, {}, item.said, item.loc, item.labels)


def _range(schema: dict[str, Any]) -> str:
    """`from 1 to 64`, `greater than 0 and at most 1`; empty without bounds."""
    if "minimum" in schema and "maximum" in schema:
        return f"from {schema['minimum']} to {schema['maximum']}"
    names = {
        "minimum": "at least",
        "exclusiveMinimum": "greater than",
        "maximum": "at most",
        "exclusiveMaximum": "less than",
    }
    return " and ".join(f"{phrase} {schema[key]}" for key, phrase in names.items() if key in schema)
