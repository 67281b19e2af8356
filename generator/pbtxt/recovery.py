"""Where to go on behind a mistake: at the next value, field or closing bracket. One mistake is one problem."""

from __future__ import annotations

from functools import cached_property

from generator.pbtxt.schema import Message
from generator.pbtxt.tokens import END, Source
from generator.pbtxt.tree import Node
from generator.pbtxt.values import QUOTES

CLOSE = {"{": "}", "<": ">", "[": "]"}
_OPEN = {close: opened for opened, close in CLOSE.items()}
OPENERS, CLOSERS = frozenset(CLOSE), frozenset(_OPEN)


class Recovery:
    """A source, the messages that are open (outermost first), and ways forward. Tokens are given by index."""

    def __init__(self, source: Source) -> None:
        self.source, self.tokens = source, source.tokens
        self.open: list[Node] = []
        self.root: Message | None = None
        # Messages by their first token of which it is told already that a bracket is missing.
        self.told: set[int] = set()

    @cached_property
    def _opened_at(self) -> dict[int, int]:
        """The opening bracket of each closing one that closes something."""
        return {close: opened for opened, close in self.source.partners.items()}

    def closes_before(self, at: int, start: int) -> bool:
        """Whether the bracket at `at` closes one that was opened before `start`."""
        return self._opened_at.get(at, start) < start

    @cached_property
    def _balance(self) -> dict[str, int]:
        """How many brackets of each kind the file opens and does not close, less those that are told already."""
        return {kind: self.tokens.count(kind) - self.tokens.count(close) for kind, close in CLOSE.items()}

    def is_missing(self, opened: str) -> bool:
        """Whether the file closes fewer brackets of this kind than it opens."""
        return self._balance.get(opened, 0) > 0

    def is_surplus(self, at: int) -> bool:
        """Whether the file closes more brackets of the kind at `at` than it opens."""
        return self._balance.get(_OPEN.get(self.tokens[at], ""), 0) < 0

    def count_missing(self, opened: str) -> None:
        """It is told that a bracket is not closed."""
        self._balance[opened] -= 1

    def count_surplus(self, close: str) -> None:
        """It is told that a closing bracket has no opening one."""
        self._balance[_OPEN[close]] += 1

    def is_name(self, at: int) -> bool:
        """Whether a token can be the name of a field."""
        here = self.tokens[at]
        return here.isascii() and here.isidentifier()

    def begins_field(self, at: int) -> bool:
        """Whether a token looks like the name of a field: known, or with what stands behind names."""
        if not self.is_name(at):
            return False
        behind = self.tokens[at + 1]
        return behind in (":", "{", "<") or (behind == "[" and self.is_known(at))

    def begins_value(self, at: int) -> bool:
        """Whether a scalar or a bracket begins here."""
        here = self.tokens[at]
        return here[:1] in QUOTES or here in OPENERS or here == "-" or self.is_name(at) or is_number(here)

    def is_known(self, at: int) -> bool:
        """Whether an open message has a field of this name."""
        return any(self.tokens[at] in message.fields for message in self._messages())

    def belongs_above(self, at: int) -> bool:
        """Whether the innermost message lacks its closing bracket, and a field of one around it begins here."""
        node = self.open[-1]
        if len(self.open) < 2 or not self.is_name(at):
            return False
        if node.start not in self.told and not self.is_missing(self.tokens[node.start]):
            return False
        return self.begins_field(at) and self.is_known(at)

    def _messages(self) -> list[Message]:
        inner = [node.field.message for node in self.open if node.field is not None]
        return [message for message in [self.root, *inner] if message is not None]

    def skip_value(self, at: int) -> int:
        """Behind one value: texts in a row, a whole bracket, or a word. Stays where none begins."""
        here = self.tokens[at]
        if here in OPENERS:
            return self.skip_bracket(at)
        if here[:1] in QUOTES:
            while self.tokens[at][:1] in QUOTES:
                at += 1
            return at
        if here in ("-", "+"):
            return at + 2 if self.is_name(at + 1) or is_number(self.tokens[at + 1]) else at + 1
        if self.is_name(at) or is_number(here):
            behind = self.source.word(at)[1]
            # A quote that touches a word is the end of a text that lacks its first one.
            touching = self.tokens[behind][:1] in QUOTES and len(self.tokens[behind]) > 0
            start = self.source.offsets
            if touching and start[behind] == start[behind - 1] + len(self.tokens[behind - 1]):
                return behind + 1
            return behind
        return at

    def skip_bracket(self, at: int) -> int:
        """Behind the bracket that opens here; of one that is not closed, where a known field begins."""
        partner = self.source.partners.get(at)
        if partner is not None:
            return partner + 1
        at += 1
        while self.tokens[at] != END:
            if self.tokens[at] in CLOSERS or (self.begins_field(at) and self.is_known(at)):
                return at
            at = self.source.partners.get(at, at) + 1
        return at

    def skip_field(self, at: int) -> int:
        """Behind what follows the name of an unknown field, with one separator."""
        if self.tokens[at] in (":", "="):
            at += 1
        if self.tokens[at] in OPENERS or not self.begins_field(at):
            at = self.skip_value(at)
        return at + 1 if self.tokens[at] in (",", ";") else at

    def next_field(self, at: int) -> int:
        """Where a field or a closing bracket comes next, from `at` on."""
        while self.tokens[at] != END and self.tokens[at] not in CLOSERS:
            if self.begins_field(at) or (self.is_name(at) and self.is_known(at) and self.source.starts_line(at)):
                break
            at = self.source.partners.get(at, at) + 1
        return at

    def next_item(self, at: int) -> int:
        """Where the next comma, closing bracket or field stands, from `at` on."""
        while self.tokens[at] not in (END, ",") and self.tokens[at] not in CLOSERS and not self.begins_field(at):
            at = self.source.partners.get(at, at) + 1
        return at

    def next_line(self, at: int) -> int:
        """The first token of a later line than that of `at`."""
        at += 1
        while self.tokens[at] != END and not self.source.starts_line(at):
            at += 1
        return at


def is_number(here: str) -> bool:
    """Whether a token begins as a number does."""
    return "0" <= here < ":" or (here[:1] == "." and len(here) > 1)
