"""The problems of single values in words, each with where reading goes on behind it."""

from __future__ import annotations

from generator.pbtxt import codes, words
from generator.pbtxt.complaints import Complaints, is_strange
from generator.pbtxt.recovery import CLOSE, CLOSERS, is_number
from generator.pbtxt.schema import BOOL, ENUM, INTEGER, TEXT, Field
from generator.pbtxt.tokens import END
from generator.pbtxt.values import BOOLS, QUOTES, integer, real

_FEW_CHOICES = 5
_SAID = {"true": "true", "yes": "true", "on": "true", "false": "false", "no": "false", "off": "false"}


class BadValues(Complaints):
    """What is told of a value that its field cannot have."""

    def wrong_value(self, field: Field, at: int) -> int:
        """A value that its field cannot have."""
        here = self.tokens[at]
        known = self.begins_field(at) and self.is_known(at)
        if here == END or here in CLOSERS or here in (",", ";") or known:
            name_at = at - 2 if self.tokens[at - 1] in (":", "=") else at - 1
            return self.no_value(field, name_at, at)
        if not self.begins_value(at) and here != "+":
            if is_strange(here):
                behind = self.strange(at)
                return self.next_item(behind) if field.is_repeated else self.next_field(behind)
            self.problem(codes.SYNTAX, at, f"found {words.found(here)}; valid: {words.valid(field)}", field=field)
            return self.next_item(at + 1)
        end = max(self.skip_value(at), at + 1)
        if here[:1] in QUOTES or here in CLOSE:
            word = here
        else:
            word = "".join(self.tokens[at:end]) if here in ("-", "+") else self.source.word(at)[0]
        is_word = field.kind == ENUM and (word[0].isalpha() or word[0] == "_")
        code = codes.NOT_A_CHOICE if is_word else codes.WRONG_TYPE
        hint = _mend(field, word)
        text = f"found {words.found(word)}"
        # All choices, unless there are many and one of them is meant.
        is_meant = field.kind == ENUM and bool(hint) and len(field.choices) > _FEW_CHOICES
        text += f", which is no value of `{field.name}`" if is_meant else f"; valid: {words.valid(field)}"
        self.problem(code, at, text, hint, field=field)
        # A name that no space parts from the number before it: `4name: "x"`.
        return self.skip_field(end) if is_number(here) and self.tokens[end] == ":" else end

    def out_of_range(self, field: Field, start: int, at: int) -> None:
        """A whole number that its field cannot hold."""
        sign = "-" if at > start else ""
        valid = f"from {field.low} to {field.high}"
        number = f"{sign}{words.shown(self.tokens[at])}"
        self.problem(codes.OUT_OF_RANGE, start, f"`{number}` is out of range; valid: {valid}", field=field)

    def open_text(self, field: Field, at: int) -> int:
        """A text that ends with its line, or before a NUL, instead of with its quote."""
        here = self.tokens[at]
        self.swallowed |= not CLOSERS.isdisjoint(here)
        if self.tokens[at + 1] == "\0":
            text = f"the text `{words.shown(here)}` is cut off by a NUL character"
            self.problem(codes.OPEN_TEXT, at, text, "remove it, or write it as `\\0`", field=field)
            return self.next_line(at)
        text = f"the text `{words.shown(here)}` has no closing quote in its line"
        self.problem(codes.OPEN_TEXT, at, text, f"add `{here[0]}` at its end", field=field)
        return at + 1

    def bad_escape(self, field: Field, at: int, within: int, escape: str) -> None:
        """A backslash with something behind it that the server does not know."""
        valid = "`\\n`, `\\t`, `\\\\`, `\\\"`, `\\'`, `\\x41`, `\\101`, `\\u0041`, `\\U00000041` and the like"
        has_digits = escape[1:] in ("x", "u", "U")
        hint = "give all of its digits" if has_digits else "write `\\\\` for a backslash"
        self.problem(codes.ESCAPE, at, f"`{escape}` is no escape; valid: {valid}", hint, field=field, within=within)

    def not_utf8(self, field: Field, at: int) -> None:
        """A text whose bytes, written or escaped, are not UTF-8."""
        self.problem(codes.NOT_UTF8, at, "the bytes of this text are not UTF-8: the server cuts it off",
                     "write it in UTF-8", field=field)  # fmt: skip


def _mend(field: Field, word: str) -> str:
    """How to write a value of the wrong type, where that is clear."""
    inner = word[1:-1] if word[0] in QUOTES else ""
    if field.kind == TEXT:
        return f'write "{words.shown(word)}"' if word not in CLOSE else ""
    if word[:1] == "[":
        return f"`{field.name}` takes one value"
    if field.kind == ENUM:
        return f"write {inner} without quotes" if inner in field.choices else words.did_you_mean(
            words.guess(inner or word, field.choices)
        )  # fmt: skip
    if field.kind == BOOL:
        return f"write {inner} without quotes" if inner in BOOLS else words.did_you_mean(_SAID.get(word.lower(), ""))
    number = integer(inner) if field.kind == INTEGER else real(inner)
    if number is not None:
        return f"write {words.shown(inner)} without quotes"
    if word[0] == "+":
        return "write it without `+`"
    if word.replace("_", "").isdigit() and "_" in word:
        return f"write {words.shown(word.replace('_', ''))}"
    if word[0] == "0" and word.isdigit():
        return f"a number that begins with 0 is octal: write {words.shown(word.lstrip('0'))}"
    value = real(word.lstrip("-")) if field.kind == INTEGER and not inner else None
    return (
        f"write {word[0].strip(word.lstrip('-')[0])}{int(value)}" if value is not None and value.is_integer() else ""
    )
