"""A config.pbtxt to a ModelConfig, a tree with positions, and all of its problems.

Reads as the server does: strictly, field by field. Where the server stops, this reader says what is wrong, skips what
belongs to it, and goes on at the next value or field.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

from generator.pbtxt import codes
from generator.pbtxt.bad_values import BadValues
from generator.pbtxt.complaints import TooManyError
from generator.pbtxt.not_a_config import in_one
from generator.pbtxt.recovery import CLOSE, CLOSERS
from generator.pbtxt.schema import BOOL, ENUM, INTEGER, REAL, TEXT, Field, Message
from generator.pbtxt.tokens import END, Source
from generator.pbtxt.tree import Node
from generator.pbtxt.values import BOOLS, QUOTES, integer, is_closed, joined, real, unescaped, wrong_escape
from generator.problems import Problem, Severity, errors

if TYPE_CHECKING:
    from generator.config.messages import ModelConfig


class Read:
    """What a file says: its tree, its problems, and the message where none of them is an error."""

    def __init__(self, source: Source, tree: Node, problems: list[Problem]) -> None:
        self.source, self.tree, self.problems = source, tree, problems

    @cached_property
    def message(self) -> ModelConfig | None:
        """The configuration, equal to what the server reads; None where it refuses the file."""
        return None if errors(self.problems) else self.partial

    @cached_property
    def partial(self) -> ModelConfig:
        """What could be read of the configuration: fields with an error are as if they were not there."""
        return _message_type()(**self.tree.value)


def read(data: str | bytes, file: str) -> Read:
    """Reads the text of the config.pbtxt that is called `file` in places."""
    source = Source(data, file)
    reader = _Reader(source)
    tree = reader.read(_root())
    return Read(source, tree, in_one(source, reader.problems))


@cache
def _message_type() -> Any:
    # Here, because it is slow to import and commands that read nothing come through this module.
    from generator.config.messages import ModelConfig

    return ModelConfig


@cache
def _root() -> Message:
    from generator.pbtxt.schema import schema_of

    return schema_of(_message_type().DESCRIPTOR)


class _Reader(BadValues):
    """Reads one source. Every method that reads takes the index of a token and gives the one to go on at."""

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        self._read_as: dict[str, Callable[[Field, int], tuple[Any, int]]] = {
            TEXT: self._text, INTEGER: self._integer, REAL: self._real, BOOL: self._bool, ENUM: self._enum,
        }  # fmt: skip

    def read(self, root: Message) -> Node:
        """The whole file, as the node of a message without a name."""
        tree = Node("", None, 0, 0, [])
        tree.value = {}
        self.root = root
        self.open.append(tree)
        try:
            at = self._fields(root, tree, 0)
            while self.tokens[at] != END:
                self.closes_nothing(at)
                at = self._fields(root, tree, at + 1)
        except TooManyError:
            pass
        tree.end = len(self.tokens) - 1
        return tree

    def _fields(self, message: Message, node: Node, at: int) -> int:
        """The fields of a message, up to a closing bracket or the end, which is not taken."""
        tokens, fields, given = self.tokens, message.fields, node.value
        while True:
            name = tokens[at]
            field = fields.get(name)
            if field is None:
                if name in CLOSERS or name == END:
                    return at
                if self.belongs_above(at):
                    self.not_closed(node, at)
                    return at
                at = self.no_field(message, at)
                continue
            values = given
            if (name in given and not field.is_repeated) or field.oneof:
                values = self._unless_given(field, given, at)
            at = self._field(field, node, values, at)
            if tokens[at] in (",", ";"):
                at += 1

    def _field(self, field: Field, node: Node, values: dict[str, Any], at: int) -> int:
        """One field: its name, its value or values, which go into `values`."""
        name_at = at
        at += 1
        here = self.tokens[at]
        if here == ":":
            at += 1
            here = self.tokens[at]
        elif field.message is None:
            at = self.no_colon(field, name_at, at)
            if at < 0:
                return ~at
            here = self.tokens[at]
        if here == "[" and field.is_repeated:
            return self._list(field, node, values, name_at, at)
        return self._value(field, node, values, name_at, at)

    def _list(self, field: Field, node: Node, values: dict[str, Any], name_at: int, at: int) -> int:
        """`[value, value]`, perhaps empty."""
        start, tokens = at, self.tokens
        at += 1
        if tokens[at] == "]":
            return at + 1
        while True:
            item = at
            at = self._value(field, node, values, name_at, at)
            here = tokens[at]
            if here == ",":
                at += 1
                if tokens[at] == "]":
                    self.comma_before_end(field, at - 1)
                    return at + 1
            elif here == "]":
                return at + 1
            else:
                at = self.no_comma(field, start, at)
                if at < 0:
                    return ~at
                at = max(at, item + 1)  # whatever it was, it is not looked at twice

    def _value(self, field: Field, node: Node, values: dict[str, Any], name_at: int, at: int) -> int:
        """One value, with its node. A wrong one is told, skipped, and left out."""
        name = field.name
        if field.message is None:
            value, end = self._read_as[field.kind](field, at)
            if value is None:
                return end
            leaf = Node(name, field, name_at, at, None)
            leaf.value, leaf.end = value, end
            node.children.append(leaf)  # type: ignore[union-attr]  # of a message
            if field.is_repeated:
                values.setdefault(name, []).append(value)
            else:
                values[name] = value
            return end
        close, first = CLOSE.get(self.tokens[at]), at + 1
        if close is None or close == "]":
            if not self.without_brace(field, at):
                return self.no_block(field, name_at, at)
            close, first = "}", at
        block = Node(name, field, name_at, at, [])
        block.value = {}
        node.children.append(block)  # type: ignore[union-attr]
        self.open.append(block)
        end = self._fields(field.message, block, first)
        while self.tokens[end] != close and self.is_surplus(end) and not self.is_missing(self.tokens[block.start]):
            self.closes_nothing(end)
            end = self._fields(field.message, block, end + 1)
        self.open.pop()
        end = end + 1 if self.tokens[end] == close else self.wrong_end(block, close, end)
        block.end = end
        if field.is_map:
            self._entry(field, values.setdefault(name, {}), block)
        elif field.is_repeated:
            values.setdefault(name, []).append(block.value)
        else:
            values[name] = block.value
        return end

    def _entry(self, field: Field, entries: dict[Any, Any], block: Node) -> None:
        """Puts a map's entry to the others. Of equal keys the last one counts, as for the server."""
        entry = field.message.fields  # type: ignore[union-attr]  # of a map
        key = block.value.get("key", entry["key"].default)
        if key in entries:
            at = next((child.start for child in block.all("key")), block.start)
            self.problem(codes.SAME_KEY, at, f"the key `{key}` of `{field.name}` is given twice; the last one counts",
                         "keep one of the two", name=f"{field.name}[{key}]", severity=Severity.WARNING)  # fmt: skip
        value = block.value.get("value")
        entries[key] = entry["value"].default if value is None else value

    def _unless_given(self, field: Field, given: dict[str, Any], at: int) -> dict[str, Any]:
        """`given`, or an empty one where the field must not be given again."""
        name = field.name
        if name in given and (field.has_presence or _is_set(given[name])):
            self.given_twice(field, at)
            return {}
        other = next((other for other in field.oneof if other in given), "")
        if other:
            self.excluded(field, other, at)
            return {}
        return given

    # Scalars: the value and the token behind it; None and where to go on where there is none. -----------------------

    def _text(self, field: Field, at: int) -> tuple[str | None, int]:
        here = self.tokens[at]
        if here[:1] not in QUOTES:
            return None, self.wrong_value(field, at)
        following = self.tokens[at + 1][:1]
        if here[-1] == here[0] and len(here) > 1 and "\\" not in here and following not in QUOTES:
            text = here[1:-1]
            if text.isascii() or joined([text]) == text:
                return text, at + 1
        return self._parts(field, at)

    def _parts(self, field: Field, at: int) -> tuple[str | None, int]:
        """Texts in a row are one; escapes are replaced part by part."""
        start, parts, good = at, [], True
        while (here := self.tokens[at])[:1] in QUOTES:
            if not is_closed(here):
                return None, self.open_text(field, at)
            wrong = wrong_escape(here) if "\\" in here else None
            if wrong is not None:
                self.bad_escape(field, at, *wrong)
                good = False
            parts.append(unescaped(here))
            at += 1
        if not good:
            return None, at
        text = joined(parts)
        if text is None:
            self.not_utf8(field, start)
        return text, at

    def _integer(self, field: Field, at: int) -> tuple[int | None, int]:
        start, here = at, self.tokens[at]
        negative = here == "-"
        if negative:
            at += 1
            here = self.tokens[at]
        number = integer(here) if "0" <= here < ":" else None
        if number is None:
            return None, self.wrong_value(field, start)
        if negative:
            number = -number
        if not field.low <= number <= field.high or (negative and not field.is_signed):  # not even -0
            self.out_of_range(field, start, at)
            return None, at + 1
        return number, at + 1

    def _real(self, field: Field, at: int) -> tuple[float | None, int]:
        negative = self.tokens[at] == "-"
        number = real(self.tokens[at + negative])
        if number is None:
            return None, self.wrong_value(field, at)
        return -number if negative else number, at + negative + 1

    def _bool(self, field: Field, at: int) -> tuple[bool | None, int]:
        here = self.tokens[at]
        value = BOOLS.get(here)
        if value is None and "0" <= here < ":":
            value = {0: False, 1: True}.get(integer(here))  # type: ignore[arg-type]  # None is not in it
        return (None, self.wrong_value(field, at)) if value is None else (value, at + 1)

    def _enum(self, field: Field, at: int) -> tuple[int | None, int]:
        here = self.tokens[at]
        number = field.choices.get(here)
        if number is not None:
            return number, at + 1
        # Any number of 32 bits is taken: what it means is for the server's own rules.
        return self._integer(field, at) if here == "-" or "0" <= here < ":" else (None, self.wrong_value(field, at))


def _is_set(value: Any) -> bool:
    """Whether a value of a field without presence counts as given: all but its default, which -0.0 is not."""
    return bool(value) or str(value) == "-0.0"
