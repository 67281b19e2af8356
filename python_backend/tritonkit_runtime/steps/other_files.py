"""Names what a client has sent instead of a PNG or JPEG, and says how to mend it."""

from __future__ import annotations

from collections.abc import Iterable

_CONVERT = "convert it to PNG or JPEG"
_UNPACK = "unpack it first"
_OWN_BYTES = "send the image's own bytes"
_DECODE = "decode it and send the image's own bytes"
_BINARY = "read the file in binary mode"

# First bytes -> what it is, and what to do.
_BEGINNINGS: tuple[tuple[tuple[bytes, ...], str, str], ...] = (
    ((b"GIF8",), "a GIF", _CONVERT),
    ((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), "a TIFF", _CONVERT),
    ((b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51"), "a JPEG 2000", _CONVERT),
    ((b"\0\0\0\x0cJXL ", b"\xff\x0a"), "a JPEG XL", _CONVERT),
    ((b"8BPS",), "a Photoshop file", _CONVERT),
    ((b"\0\0\1\0",), "an icon (ICO)", _CONVERT),
    ((b"P1\n", b"P2\n", b"P3\n", b"P4\n", b"P5\n", b"P6\n", b"P7\n"), "a PNM", _CONVERT),
    ((b"%PDF",), "a PDF", _CONVERT),
    ((b"\x93NUMPY",), "a NumPy file", _CONVERT),
    ((b"\x1f\x8b",), "gzip data", _UNPACK),
    ((b"PK\3\4", b"PK\5\6"), "a ZIP archive", _UNPACK),
    # What reading a binary file as text makes of it: replaced bytes, or Latin-1 written as UTF-8.
    ((b"\x89PNG\n", b"\xef\xbf\xbd", b"\xc2\x89PNG", b"\xc3\xbf\xc3\x98"), "a file that was read as text", _BINARY),
)
# Of an ISO media file: the brand behind `ftyp` -> what it is.
_BRANDS: tuple[tuple[tuple[bytes, ...], str], ...] = (
    ((b"avif", b"avis"), "an AVIF"),
    ((b"hei", b"hev", b"mif1", b"msf1"), "a HEIC"),
    ((b"",), "a video (MP4)"),
)
# Beginnings of text, in small letters.
_TEXTS: tuple[tuple[tuple[bytes, ...], str, str], ...] = (
    ((b"data:",), "a data: URL", _DECODE),
    ((b"ivborw0kggo",), "a PNG's base64 text", _DECODE),
    ((b"/9j/",), "a JPEG's base64 text", _DECODE),
    ((b"r0lgod", b"uklgr"), "base64 text", _DECODE),
    ((b"http://", b"https://", b"file://"), "a URL", "nothing is fetched, send the image's own bytes"),
    ((b"<svg",), "an SVG", _CONVERT),
    ((b"<!doctype html", b"<html"), "HTML", _OWN_BYTES),
    ((b"<",), "XML", _OWN_BYTES),
    ((b"{", b"["), "JSON", _OWN_BYTES),
)
_SHOWN_CHARACTERS = 20


def what_instead(data: bytes) -> str:
    """A phrase for the client; `data` is neither empty nor a PNG or JPEG."""
    what, mend = _binary(data) or _text(data) or ("", "")
    if not what:
        return f"not a PNG or JPEG image (first bytes {data[:4].hex(' ')})"
    return f"not a PNG or JPEG image but {what}: {mend}"


def _binary(data: bytes) -> tuple[str, str] | None:
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "a WebP", _CONVERT
    if data.startswith(b"BM") and data[6:10] == bytes(4):  # two letters alone may begin a text
        return "a BMP", _CONVERT
    if data[4:8] == b"ftyp":
        return next((name, _CONVERT) for brands, name in _BRANDS if data.startswith(brands, 8))
    if data[4:].startswith((b"\x89PNG\r\n", b"\xff\xd8\xff")):
        return "one behind 4 other bytes", "send the image's own bytes, without a length before them"
    return _first(data, _BEGINNINGS)


def _text(data: bytes) -> tuple[str, str] | None:
    start = data[:200].removeprefix(b"\xef\xbb\xbf").lstrip(b" \t\r\n\"'").removeprefix(b"b'")
    shown = " ".join(start.decode("latin-1").split())
    if not shown.isascii() or not shown.isprintable() or not shown:
        return None
    if start.lower().startswith(b"<?xml") and b"<svg" in data[:1000].lower():
        return "an SVG", _CONVERT
    cut = shown if len(shown) <= _SHOWN_CHARACTERS else f"{shown[:_SHOWN_CHARACTERS]}..."
    return _first(start.lower(), _TEXTS) or (f'text ("{cut}")', _OWN_BYTES)


def _first(data: bytes, table: Iterable[tuple[tuple[bytes, ...], str, str]]) -> tuple[str, str] | None:
    return next(((what, mend) for beginnings, what, mend in table if data.startswith(beginnings)), None)
