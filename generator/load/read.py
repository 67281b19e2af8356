"""Files to text: what is no small UTF-8 text file is refused before anything parses it."""

from __future__ import annotations

import re
import stat
from pathlib import Path

from generator.load import codes
from generator.problems import Place, Problem

MAX_FILE_BYTES = 1_000_000

# YAML's printable characters, less U+0085, U+2028, U+2029 (line breaks to YAML 1.1 alone, so that line
# numbers would differ from the editor's) and U+FEFF (invisible, and would become a part of a key).
_FORBIDDEN = re.compile(r"[^\t\n\r\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
_LINE_BREAK = re.compile(r"\r\n|\r|\n")
_WIDE_MARKS = {
    b"\x00\x00\xfe\xff": "UTF-32",
    b"\xff\xfe\x00\x00": "UTF-32",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}


def read_bytes(path: Path, shown: str) -> tuple[bytes, list[Problem]]:
    """The bytes of a regular file of at most MAX_FILE_BYTES, or why there are none."""
    whole = Place(shown)
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            hint = "name a YAML file in it"
            return b"", [Problem(codes.FILE_UNREADABLE, whole, "", "this is a directory, not a file", hint)]
        if not stat.S_ISREG(status.st_mode):  # a pipe would wait for ever, a device never end
            return b"", [Problem(codes.FILE_UNREADABLE, whole, "", "this is not a regular file")]
        with path.open("rb") as stream:
            data = stream.read(MAX_FILE_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        return b"", [Problem(codes.FILE_NOT_FOUND, whole, "", "there is no such file", _meant(path, shown))]
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        return b"", [Problem(codes.FILE_UNREADABLE, whole, "", f"the file cannot be read: {reason}")]
    if len(data) > MAX_FILE_BYTES:
        size = max(status.st_size, len(data))
        message = f"the file has {size:,} bytes; valid: at most {MAX_FILE_BYTES:,}"
        return b"", [Problem(codes.FILE_TOO_LARGE, whole, "", message, "is this the file you meant?")]
    return data, []


def _meant(path: Path, shown: str) -> str:
    """The spec of a pipeline that was named without its folder or its ending; empty where there is none."""
    for found in (f"{path.name}.yaml", f"specs/{path.name}", f"specs/{path.name}.yaml"):
        try:
            if (path.parent / found).is_file():
                return f"did you mean {shown.removesuffix(path.name)}{found}?"
        except (OSError, ValueError):  # of a name that no file can have
            return ""
    return ""


def decode(data: bytes, shown: str) -> tuple[str, list[Problem]]:
    """UTF-8 bytes to text without a byte order mark, with what is wrong with the text.

    Text that has problems is returned as well as it can be shown, and must not be parsed.
    """
    for mark, name in _WIDE_MARKS.items():
        if data.startswith(mark):
            message = f"the file is {name} text; valid: UTF-8"
            return "", [Problem(codes.NOT_UTF8, Place(shown), "", message, "save it as UTF-8")]
    data = data.removeprefix(b"\xef\xbb\xbf")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        place = place_of(data[: error.start].decode("utf-8"), shown)
        message = f"byte 0x{data[error.start]:02x} is not UTF-8 text"
        hint = "save the file as UTF-8"
        return data.decode("utf-8", "replace"), [Problem(codes.NOT_UTF8, place, "", message, hint)]
    return text, _forbidden(text, shown)


def _forbidden(text: str, shown: str) -> list[Problem]:
    found = _FORBIDDEN.search(text)
    if found is None:
        return []
    others = sum(1 for _ in _FORBIDDEN.finditer(text)) - 1
    code = ord(found[0])
    escape = f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
    message = f"the character U+{code:04X} is not allowed in YAML" + (f" (and {others} more)" if others else "")
    hint = f'remove it, or write "{escape}" in double quotes'
    return [Problem(codes.FORBIDDEN_CHARACTER, place_of(text[: found.start()], shown), "", message, hint)]


def split_lines(text: str) -> list[str]:
    """The lines of a text as YAML counts them: ended by LF, CR LF or CR."""
    return _LINE_BREAK.split(text)


def place_of(before: str, shown: str) -> Place:
    """The place of what follows the text `before`."""
    lines = split_lines(before)
    return Place(shown, len(lines), len(lines[-1]) + 1)
