"""What a token says as a value of a field, in the words of the server's parser, and where Python's differs."""

from __future__ import annotations

import math
import re

# Decimal, hexadecimal and octal. Python's text_format also takes `+5`, `-0` for unsigned fields, `1_0`, `0b1`, `0o7`;
# for enums it does not take `05`, for booleans neither `0x1` nor `01`, and no space behind a minus: the server does.
_DECIMAL = re.compile(r"0|[1-9][0-9]*")
_OCTAL = re.compile(r"0[0-7]+")
_HEXADECIMAL = re.compile(r"0[xX][0-9A-Fa-f]+")
# No hexadecimal and no octal numbers. Python's also takes `+1`, `1_0`, `inff`, `nanf` and `1ff`.
_REAL = re.compile(r"(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?[fF]?")
_REAL_WORDS = {"inf": math.inf, "infinity": math.inf, "nan": math.nan}  # in any case
_MOST_DIGITS = 20  # of 64 bits; Python refuses to read thousands of them

BOOLS = {"true": True, "True": True, "t": True, "1": True, "false": False, "False": False, "f": False, "0": False}

_BACKSLASHED = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
# Two surrogates in a row are one character, if the second is `\u`. Python's text_format keeps `\?` and unknown
# escapes as they stand, takes `\X41` and `\N{…}`, and takes neither surrogates nor octal numbers above `\377`.
_ESCAPE = re.compile(
    r"""\\(?:
        (?:u|U0000)([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})
      | u([0-9a-fA-F]{4})
      | U(00[01][0-9a-fA-F]{5})
      | x([0-9a-fA-F]{1,2})
      | ([0-7]{1,3})
      | ([abfnrtv\\?'"])
      | (.?)
    )""",
    re.VERBOSE | re.DOTALL,
)
QUOTES = frozenset("\"'")


def integer(token: str) -> int | None:
    """The number that an unsigned token says, None where it says none; of far too large ones only that."""
    if _DECIMAL.fullmatch(token):
        return int(token) if len(token) <= _MOST_DIGITS else 10**_MOST_DIGITS
    if _HEXADECIMAL.fullmatch(token):
        return int(token, 16)
    return int(token, 8) if _OCTAL.fullmatch(token) else None


def real(token: str) -> float | None:
    """The number that an unsigned token says; None where it says none. Too large ones are infinite."""
    if _REAL.fullmatch(token):
        return float(token.rstrip("fF"))
    return _REAL_WORDS.get(token.lower())


def is_closed(token: str) -> bool:
    """Whether a text's token ends in its own quote, which no backslash escapes."""
    if len(token) < 2 or token[-1] != token[0]:
        return False
    before = len(token) - 1 - len(token[:-1].rstrip("\\"))
    return before % 2 == 0


def unescaped(token: str) -> str:
    """What a text's token says without its quotes; bytes given by number are lone surrogates (see `joined`)."""
    return _ESCAPE.sub(_replaced, token[1:-1])


def wrong_escape(token: str) -> tuple[int, str] | None:
    """Position and text of the first escape in a token that the server does not know."""
    for match in _ESCAPE.finditer(token, 1, len(token) - 1):
        if match[8] is not None:
            return match.start(), match[0]
    return None


def joined(parts: list[str]) -> str | None:
    """The text of its parts; None where its bytes are not UTF-8.

    The server's parser takes any bytes. It then cuts such a text off at its first wrong byte, and one that is a map's
    key ends the whole server (seen on 24.10), so that nobody wants them accepted.
    """
    text = "".join(parts)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        try:
            return text.encode("utf-8", "surrogateescape").decode("utf-8")
        except UnicodeDecodeError:
            return None
    return text


def _replaced(match: re.Match[str]) -> str:
    head, trail, four, eight, two, octal, named, _ = match.groups()
    if head is not None:
        return chr(0x10000 + ((int(head, 16) - 0xD800) << 10) + int(trail, 16) - 0xDC00)
    if four is not None or eight is not None:
        return _character(int(four or eight, 16))
    if two is not None or octal is not None:
        return _byte(int(two, 16) if two is not None else int(octal, 8) & 0xFF)
    return _BACKSLASHED.get(named, named or "")


def _character(code: int) -> str:
    if code > 0x10FFFF:
        return f"\\U{code:08x}"  # the server's parser takes it, and says it again
    if 0xD800 <= code <= 0xDFFF:
        return "".join(map(_byte, chr(code).encode("utf-8", "surrogatepass")))
    return chr(code)


def _byte(value: int) -> str:
    return chr(value) if value < 0x80 else chr(0xDC00 + value)
