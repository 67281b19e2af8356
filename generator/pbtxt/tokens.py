"""The words of a text-proto file, and where they stand.

One pattern finds every token with what is skipped before it, so that splitting a file is one call; positions are
counted when somebody asks for the first one, which a file without problems never does.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property

from generator.problems import Place

# What stands between tokens. The server's white space is these six characters; Python's text_format also takes
# U+0085, U+00A0, U+001C to U+001F and more. A comment ends at a NUL, which is then a token that nothing accepts.
_SKIPPED = r"(?:[ \t\n\r\v\f]++|[#][^\n\0]*+)*+"
# A number takes all that touches it, as `1.5f`, `0x1F`, and also `1_0` or `4name`, which no reading accepts. Text
# ends at its quote; without one at the line's end or a NUL, with a backslash before them as its last character.
_UNIT = r"""(?:
    [A-Za-z_][A-Za-z0-9_]*+
  | \.?[0-9](?:[eE][+-]|[A-Za-z0-9_.])*+
  | "(?:[^"\\\n\0]++|\\[^\n\0])*+["\\]?+
  | '(?:[^'\\\n\0]++|\\[^\n\0])*+['\\]?+
  | .
  | \Z
)"""
# No group in _UNIT captures: a match's only group is the token itself.
_PATTERN = re.compile(f"{_SKIPPED}({_UNIT})", re.DOTALL | re.VERBOSE)
_WORD = re.compile(r"[^\s\x00-\x1f\x7f\"'{}<>\[\],;:#]+")
_COMMENT = re.compile(r"#[^\n\0]*")
_LINE_BREAK = re.compile(r"\r\n|\r|\n")  # as generator.report counts lines
_CLOSES = {"}": "{", ">": "<", "]": "["}

END = ""


@dataclass(frozen=True)
class Comment:
    """`# …` without its line break. `token` is the index of the token that follows it."""

    text: str
    place: Place
    token: int


class Source:
    """A file's tokens by index, the last one END; and the place of each, which is counted when it is asked for."""

    def __init__(self, data: str | bytes, file: str) -> None:
        # A byte that is not UTF-8 becomes a lone surrogate: comments may have some, text may not.
        self.text = data.decode("utf-8", "surrogateescape") if isinstance(data, bytes) else data
        self.file = file
        self.tokens: list[str] = _PATTERN.findall(self.text)
        # An end is found again at the end where white space precedes it; looking one token ahead is always possible.
        self.tokens += (END, END)

    @cached_property
    def offsets(self) -> list[int]:
        """Where each token starts, in characters from the file's start."""
        found = [match.start(1) for match in _PATTERN.finditer(self.text)]
        return found + [len(self.text)] * (len(self.tokens) - len(found))

    @cached_property
    def _line_starts(self) -> list[int]:
        return [0, *(match.end() for match in _LINE_BREAK.finditer(self.text))]

    @cached_property
    def partners(self) -> dict[int, int]:
        """The closing bracket of each opening one that has one. Brackets that are left out are closed by others."""
        found: dict[int, int] = {}
        opened: list[int] = []
        counts = dict.fromkeys(_CLOSES.values(), 0)
        for index, token in enumerate(self.tokens):
            if token in counts:
                opened.append(index)
                counts[token] += 1
            elif (wanted := _CLOSES.get(token)) and counts[wanted]:
                while True:
                    last = opened.pop()
                    counts[self.tokens[last]] -= 1
                    if self.tokens[last] == wanted:
                        break
                found[last] = index
        return found

    @cached_property
    def comments(self) -> list[Comment]:
        """The comments, in the file's order."""
        found: list[Comment] = []
        end = 0
        for index, offset in enumerate(self.offsets):
            if offset - end > 0 and self.text.find("#", end, offset) >= 0:
                for match in _COMMENT.finditer(self.text, end, offset):
                    found.append(Comment(match[0].rstrip("\r"), self.place_at(match.start()), index))
            end = offset + len(self.tokens[index])
        return found

    def place(self, token: int, within: int = 0) -> Place:
        """The place of a token, or of its character number `within`."""
        return self.place_at(self.offsets[token] + within)

    def place_at(self, offset: int) -> Place:
        """Line and column of a character, both from 1."""
        line = bisect_right(self._line_starts, offset)
        return Place(self.file, line, offset - self._line_starts[line - 1] + 1)

    def starts_line(self, token: int) -> bool:
        """Whether no other token stands before this one in its line."""
        end = self.offsets[token - 1] + len(self.tokens[token - 1]) if token else 0
        return token == 0 or _LINE_BREAK.search(self.text, end, self.offsets[token]) is not None

    def word(self, token: int) -> tuple[str, int]:
        """All that touches a token as one word, such as `resnet-50/v1`, and the index of the token behind it."""
        start = self.offsets[token]
        match = _WORD.match(self.text, start)
        if match is None:
            return self.tokens[token], token + 1
        behind = token + 1
        while self.tokens[behind] != END and self.offsets[behind] < match.end():
            behind += 1
        return match[0], behind
