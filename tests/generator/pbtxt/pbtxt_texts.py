"""Texts of ModelConfigs, made at random from the grammar, in plain and odd spellings, right and wrong."""

from __future__ import annotations

import random
import re
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from generator.config.messages import ModelConfig
from generator.pbtxt.tokens import Source

_SIGNED = {FieldDescriptor.CPPTYPE_INT32: 32, FieldDescriptor.CPPTYPE_INT64: 64}
_UNSIGNED = {FieldDescriptor.CPPTYPE_UINT32: 32, FieldDescriptor.CPPTYPE_UINT64: 64}
_REALS = {FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE}

# Spellings that the server takes and refuses, and that Python's text_format reads otherwise at times.
_ODD_INTEGERS = ["010", "0x1F", "0X0", "00", "08", "0x", "1_0", "0b1", "0o7", "+1", "1.", "1e3", "4f", "-0", "- 1", "-\n#c\n2",
                 "-01", "-0x7", "2147483647", "2147483648", "-2147483648", "-2147483649", "4294967295", "4294967296",
                 "9223372036854775807", "9223372036854775808", "-9223372036854775809", "18446744073709551616",
                 "01777777777777777777777", "0" * 30 + "1", "9" * 5000, "0x" + "f" * 17, "1x", "''", "--1"]  # fmt: skip
_ODD_REALS = ["1.", ".5", "1e3", "1E+3", "1e", "1e+", "1.5f", "1F", "inf", "-inf", "- inf", "INF", "Infinity", "inff", "nan",
              "-nan", "NaN", "nanf", "0x10", "010", "00", "0", "0f", "1_0", "+1", "1e40", "1e400", "-1e-400", "1ff", "..5",
              "1.5.2", "99999999999999999999", "9" * 400, "-0.0", "0e5", "00e5", "1.f", ".", "'1'"]  # fmt: skip
_ODD_BOOLS = ["t", "f", "True", "False", "1", "0", "0x1", "01", "00", "2", "-0", "T", "TRUE", "yes", "1.0", "'true'"]
_ODD_TEXTS = [r"'\a\b\f\n\r\t\v\\\?\'\"'", r"'\1\12\1234\0'", r"'\400'", r"'\x41\x4\x414'", r"'\X41'", r"'\x'", r"'\u0041'", r"'\u41'",
              r"'\U0001F600'", r"'\U0011FFFF'", r"'\U00200000'", r"'\ud83d\ude00'", r"'\q'", r"'\8'", r"'\N{SPACE}'", "'a\nb'",
              "'a\tb\rc\x01\x7f'", "'a\\\n'", "'a", '"', "'\\", "'é'", "'日本' \"x\"", r"'\303\251'", r"'\303' '\251'", "''", "'#'",
              "'\"'", "a", "a-b", "1", "true", '"a"b', "[ 'a' ]", "'a' # c\n 'b'", "'a'\"b\"", "`a`", "'\\\\'", "'a\\'", "'\0'"]  # fmt: skip
_SPACES = [" "] * 12 + ["\n", "\n  ", "\t", "\r\n", "  ", " # comment {\n", "\n#\n", "\v\f"]


class Maker:
    """Makes texts. `odd` is how often a scalar has an odd spelling, `wrong` how often a rule of the grammar is broken."""

    def __init__(
        self, source: random.Random, *, odd: float, wrong: float, without: frozenset[str] = frozenset()
    ) -> None:
        self.random, self.odd, self.wrong, self.without = source, odd, wrong, without

    def text(self) -> str:
        """A whole file."""
        return self._gap() + self._fields(ModelConfig.DESCRIPTOR, 6) + self._gap()

    def _one(self, of: list[Any]) -> Any:
        return of[self.random.randrange(len(of))]

    def _rarely(self, how_often: float) -> bool:
        return self.random.random() < how_often

    def _gap(self, *, needed: bool = False) -> str:
        return "" if not needed and self._rarely(0.4) else self._one(_SPACES)

    def _fields(self, message: Descriptor, most: int) -> str:
        parts = []
        taken: set[str] = set()
        fields = [field for field in message.fields if field.name not in self.without]
        for _ in range(self.random.randrange(most + 1) if fields else 0):
            field = self._one(fields)
            group = field.containing_oneof.name if field.containing_oneof else field.name
            if group in taken and not field.is_repeated and not self._rarely(self.wrong):
                continue
            taken.add(group)
            parts.append(self._field(field, most - 1))
            parts.append(
                self._one([" ", "\n", ",", ";", " ; ", ",\n"] if not self._rarely(self.wrong / 4) else [",,", "; ;"])
            )
        return "".join(parts)

    def _field(self, field: FieldDescriptor, most: int) -> str:
        name = field.name if not self._rarely(self.wrong / 8) else self._one([field.name.upper(), "x", "1", "[a.b]"])
        is_message = field.message_type is not None
        colon = ":" if not is_message or self._rarely(0.3) else ""
        if self._rarely(self.wrong / 8):
            colon = self._one(["", "=", "::"])
        if field.is_repeated and self._rarely(0.6):
            items = [self._value(field, most) for _ in range(self.random.randrange(4))]
            comma = "," if not self._rarely(self.wrong / 4) else self._one(["", ";", ",,"])
            inner = f"{self._gap()}{comma}{self._gap()}".join(items)
            return f"{name}{self._gap()}{colon}{self._gap()}[{self._gap()}{inner}{self._gap()}]"
        return f"{name}{self._gap()}{colon}{self._gap(needed=not colon)}{self._value(field, most)}"

    def _value(self, field: FieldDescriptor, most: int) -> str:
        if field.message_type is not None:
            opened, closed = self._one(["{}", "{}", "{}", "<>"])
            if self._rarely(self.wrong / 16):
                closed = self._one([">", "}", "]", ""])
            inside = self._map_entry(field.message_type, most) if field.message_type.GetOptions().map_entry else None
            return f"{opened}{self._gap()}{inside or self._fields(field.message_type, max(most, 1))}{closed}"
        return str(self._scalar(field))

    def _map_entry(self, entry: Descriptor, most: int) -> str:
        key, value = (self._field(field, most) for field in entry.fields)
        return f"{key}{self._gap(needed=True)}{value}{self._gap()}" if self._rarely(0.8) else ""

    def _scalar(self, field: FieldDescriptor) -> str:
        odd = self._rarely(self.odd)
        kind = field.cpp_type
        if kind == FieldDescriptor.CPPTYPE_STRING:
            return (
                self._one(_ODD_TEXTS) if odd else self._one(["'a'", '"b c"', '"é"', "'x' 'y'", '"a\\n"', "''", "'1'"])
            )
        if kind == FieldDescriptor.CPPTYPE_BOOL:
            return self._one(_ODD_BOOLS) if odd else self._one(["true", "false"])
        if kind == FieldDescriptor.CPPTYPE_ENUM:
            names = [value.name for value in field.enum_type.values]
            return (
                self._one([*_ODD_INTEGERS, "NONE", "'x'", names[0].lower()]) if odd else self._one([*names, "1", "0"])
            )
        if kind in _REALS:
            return self._one(_ODD_REALS) if odd else self._one(["0", "1", "0.5", "-2.25", "1e-3"])
        if odd:
            return self._one(_ODD_INTEGERS)
        bits = _SIGNED.get(kind) or _UNSIGNED[kind]
        numbers = ["0", "1", "4", "32", str(2 ** (bits - 1) - 1)]
        return self._one([*numbers, "-1"] if kind in _SIGNED else numbers)


def mutated(text: str, source: random.Random) -> str:
    """The text with a token or character taken out, doubled, exchanged or put in, once or twice."""
    for _ in range(1 + source.randrange(2)):
        pieces = [piece for piece in re.split(r"(\s+|[{}<>\[\]:,;]|\"[^\"]*\"|'[^']*')", text) if piece]
        if not pieces:
            return "}"
        at, other = source.randrange(len(pieces)), source.randrange(len(pieces))
        what = source.randrange(5)
        if what == 0:
            del pieces[at]
        elif what == 1:
            pieces.insert(at, pieces[other])
        elif what == 2:
            pieces[at], pieces[other] = pieces[other], pieces[at]
        elif what == 3:
            pieces.insert(
                at, source.choice(["{", "}", "[", "]", "<", ">", ":", ",", ";", "'", '"', "-", "#", "x", "1", " "])
            )
        else:
            piece = pieces[at]
            cut = source.randrange(len(piece))
            pieces[at] = piece[:cut] + piece[cut + 1 :]
        text = "".join(pieces)
    return text


# What Python's text_format reads otherwise than the server, by token.
_NUMBER_APART = re.compile(r"0[0-9xXbBoO].*|.*_.*|.*[fF]{2,}")
_TEXT_APART = re.compile(
    r"""\\(?![abfnrtv\\'"]|x[0-9a-fA-F]|u(?![dD][89a-fA-F])[0-9a-fA-F]{4}|U000[0-9a-fA-F]{5}|U0010|(?![4-7][0-7]{2})[0-7])"""
)
_SPACE_APART = re.compile("[\x00\x1c-\x1f\x85\u00a0\u2000-\u200a\u2028\u2029\u3000]")


def read_apart_by_python(text: str) -> bool:
    """Whether a text has something that Python's text_format is known to read otherwise than the server."""
    source = Source(text, "")
    tokens = source.tokens
    for index, (before, token) in enumerate(zip(["", *tokens], tokens, strict=False)):
        if token == "+" or (before == "-" and (token == "0" or text[source.offsets[index] - 1] != "-")):
            return True
        if token[:1].isdigit() and _NUMBER_APART.fullmatch(token):
            return True
        if token.lower() in ("inff", "infinityf", "nanf") or (token[:1] in ("'", '"') and _TEXT_APART.search(token)):
            return True
        # The server remembers that a map's entry has an empty key; Python takes it for none.
        if token in ("''", '""', "0") and before in ("key", "value", ":"):
            return True
    return bool(_SPACE_APART.search(text))
