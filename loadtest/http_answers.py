"""Where an answer of HTTP/1 ends, read from what has come of it, for all that have sockets of their own."""

from __future__ import annotations

import re

HEAD_END = b"\r\n\r\n"
LONGEST_HEAD_BYTES = 1 << 16
_BEGINNING = b"HTTP/1."
# Of an answer itself: what has a status of 1xx comes before one, to who asked for it, and nobody here does.
_FIRST_LINE = re.compile(rb"HTTP/1\.[01] [2-9]\d\d[ \r]")
_INTERIM = re.compile(rb"HTTP/1\.[01] (1\d\d)[ \r]")
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,18})", re.IGNORECASE)
_TLS = re.compile(rb"[\x15\x16]\x03[\x00-\x04]")  # a record of its own: a warning, or the beginning of a handshake


class NoAnswerError(ConnectionError):
    """What came is no answer that has an end: the message says what it is."""


def ends_of(data: bytes | bytearray) -> tuple[int, int] | None:
    """Where the head of the answer that `data` begins with ends, and where the answer does; None until that is there.

    Raises NoAnswerError.
    """
    end = data.find(HEAD_END)
    if end >= 0:
        found = _LENGTH.search(data, 0, end + 2)
        if found is not None and _FIRST_LINE.match(data):
            return end + 4, end + 4 + int(found[1])
    elif len(data) <= LONGEST_HEAD_BYTES and _BEGINNING.startswith(bytes(data[: len(_BEGINNING)])):
        return None
    raise no_answer(data)


def no_answer(data: bytes | bytearray) -> NoAnswerError:
    """What to raise of what came, which is no answer."""
    return NoAnswerError(f"{_what(data)}, which cannot be read")


def _what(data: bytes | bytearray) -> str:
    if speaks_tls(data):
        return "TLS"
    if interim := _INTERIM.match(data):
        return f"an answer before the answer (status {interim[1].decode()})"
    if not _FIRST_LINE.match(data):
        return "no HTTP"
    return "an answer without Content-Length" if HEAD_END in data else "an answer whose head does not end"


def speaks_tls(data: bytes | bytearray) -> bool:
    """Whether what came first is TLS: such a server refuses what is not, in its own words."""
    return _TLS.match(data) is not None
