"""As much of HTTP/2 and HPACK as one client of one gRPC server needs (RFC 9113, RFC 7541).

The server is told to keep no table of headers (SETTINGS_HEADER_TABLE_SIZE 0), so that a block of them means the same
at any time: requests are made once, and what answers mean is looked up.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
LARGEST_WINDOW = 2**31 - 1
FIRST_WINDOW = 65_535  # of a connection and of each stream, until a side says otherwise
FRAME_BYTES = 16_384  # what every server takes in a frame
HEAD_BYTES = 9
END_STREAM, END_HEADERS, ACK, PADDED, PRIORITY = 0x1, 0x4, 0x1, 0x8, 0x20
CANCEL = 8  # why a stream is ended

_HEAD = struct.Struct(">IBI")  # the length (24 bits) and the kind (8 bits) in one
_SETTING = struct.Struct(">HI")
_TABLE_SIZE, _PUSH, MOST_STREAMS, STREAM_WINDOW, _LARGEST_FRAME = 1, 2, 3, 4, 5
_STATUS = {8: b"200", 9: b"204", 10: b"206", 11: b"304", 12: b"400", 13: b"404", 14: b"500"}
_LAST_STATIC = 61
_LARGEST_FRAME_BYTES = 1 << 20


class Kind(IntEnum):
    """Of a frame."""

    DATA = 0
    HEADERS = 1
    RST_STREAM = 3
    SETTINGS = 4
    PING = 6
    GOAWAY = 7
    WINDOW_UPDATE = 8
    CONTINUATION = 9


class UnreadableError(Exception):
    """The server says something in a way that this client has not asked for."""


def frame(kind: Kind, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """One frame."""
    return _HEAD.pack(len(payload) << 8 | kind, flags, stream) + payload


def opening() -> bytes:
    """What a connection begins with: no table of headers, no pushes, and windows that never stop the server."""
    settings = {_TABLE_SIZE: 0, _PUSH: 0, STREAM_WINDOW: LARGEST_WINDOW, _LARGEST_FRAME: _LARGEST_FRAME_BYTES}
    packed = b"".join(_SETTING.pack(*setting) for setting in settings.items())
    return PREFACE + frame(Kind.SETTINGS, 0, 0, packed) + window_update(0, LARGEST_WINDOW - FIRST_WINDOW)


def window_update(stream: int, count: int) -> bytes:
    """Lets the server send so many bytes more."""
    return frame(Kind.WINDOW_UPDATE, 0, stream, count.to_bytes(4, "big"))


def settings_of(payload: bytes) -> dict[int, int]:
    """Of a SETTINGS frame."""
    return dict(_SETTING.iter_unpack(payload))


@dataclass
class Frames:
    """Cuts what is received into frames."""

    rest: bytes = b""

    def take(self, data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
        """Kind, flags, stream and payload of each whole frame so far. ConnectionError when these are no frames."""
        data = self.rest + data if self.rest else data
        start, end = 0, len(data)
        while end - start >= HEAD_BYTES:
            length, flags, stream = _HEAD.unpack_from(data, start)
            after = start + HEAD_BYTES + (length >> 8)
            if length >> 8 > _LARGEST_FRAME_BYTES:
                raise ConnectionError("it does not speak gRPC: a frame is larger than it may be")
            if after > end:
                break
            yield length & 0xFF, flags, stream & LARGEST_WINDOW, data[start + HEAD_BYTES : after]
            start = after
        self.rest = data[start:]


def unpadded(flags: int, payload: bytes) -> bytes:
    """The payload of a DATA or HEADERS frame without padding and priority."""
    if flags & PADDED:
        payload = payload[1 : len(payload) - payload[0]]
    return payload[5:] if flags & PRIORITY else payload


def headers_block(path: str, authority: str, headers: Mapping[str, str]) -> bytes:
    """A gRPC request's headers, as the payload of a HEADERS frame."""
    block = b"\x83\x86" + b"\x04" + _text(path) + b"\x01" + _text(authority)  # POST, http
    fixed = {"content-type": "application/grpc", "te": "trailers"}
    for name, value in {**fixed, **{name.lower(): value for name, value in headers.items()}}.items():
        block += b"\x00" + _text(name) + _text(value)
    return block


def _text(text: str) -> bytes:
    data = text.encode("latin-1")
    return _number(len(data)) + data


def _number(value: int) -> bytes:
    """With a prefix of 7 bits."""
    if value < 127:
        return bytes([value])
    made, value = bytearray([127]), value - 127
    while value >= 128:
        made.append(value & 127 | 128)
        value >>= 7
    return bytes([*made, value])


def read_block(block: bytes) -> dict[bytes, bytes]:
    """Headers by name; those whose name is one of the static table's are left out, but for `:status`.

    Raises UnreadableError for what needs a table, or Huffman's code; IndexError for what is cut short.
    """
    found: dict[bytes, bytes] = {}
    place = 0
    while place < len(block):
        first = block[place]
        if first & 0x80:
            index, place = _read_number(block, place, 0x7F)
            found |= {b":status": _STATUS[index]} if index in _STATUS else {}
        elif first & 0xE0 == 0x20:
            _, place = _read_number(block, place, 0x1F)  # the size of the table
            continue
        else:
            index, place = _read_number(block, place, 0x3F if first & 0x40 else 0x0F)
            name = b":status" if index in _STATUS else b""
            if not index:
                name, place = _read_text(block, place)
            value, place = _read_text(block, place)
            if name:
                found[name] = value
        if index > _LAST_STATIC:
            raise UnreadableError("the server uses a table of headers that it was asked not to use")
    return found


def _read_number(block: bytes, place: int, mask: int) -> tuple[int, int]:
    value = block[place] & mask
    place += 1
    if value == mask:
        shift = 0
        while True:
            value += (block[place] & 127) << shift
            shift += 7
            place += 1
            if not block[place - 1] & 128:
                break
    return value, place


def _read_text(block: bytes, place: int) -> tuple[bytes, int]:
    packed = block[place] & 0x80
    length, place = _read_number(block, place, 0x7F)
    if packed:
        raise UnreadableError("the server compresses its headers, which the raw client does not read")
    if place + length > len(block):
        raise IndexError(length)
    return block[place : place + length], place + length
