"""Frames and headers of HTTP/2, whole and cut, and what is no HTTP/2 at all."""

from __future__ import annotations

from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.sender.clients.http2 import (
    END_HEADERS,
    PADDED,
    PRIORITY,
    Frames,
    Kind,
    UnreadableError,
    frame,
    headers_block,
    read_block,
    settings_of,
    unpadded,
    window_update,
)

FRAMES = st.lists(
    st.tuples(st.sampled_from(list(Kind)), st.integers(0, 255), st.integers(0, 2**31 - 1), st.binary(max_size=300)),
    max_size=8,
)
NAMES = st.text("abcdefghijklmnopqrstuvwxyz-", min_size=1, max_size=200)
VALUES = st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=400)


@given(FRAMES, st.lists(st.integers(0, 3000), max_size=6))
def test_frames_come_whole_however_they_are_cut(made: list[tuple[Kind, int, int, bytes]], cuts: list[int]) -> None:
    data = b"".join(frame(*each) for each in made)
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    frames = Frames()
    found = [each for start, end in pairwise(places) for each in frames.take(data[start:end])]
    assert found == made
    assert frames.rest == b""


@given(st.dictionaries(NAMES, VALUES, max_size=5))
def test_headers_are_read_as_they_were_written(headers: dict[str, str]) -> None:
    found = read_block(headers_block("/some.Service/Call", "127.0.0.1:8001", headers))
    wanted = {"content-type": "application/grpc", "te": "trailers", **headers}
    assert found == {name.encode(): value.encode("latin-1") for name, value in wanted.items()}


def test_what_servers_say() -> None:
    # A literal that is to be indexed, one that never is, the size of a table of 0, and statuses of the static table.
    assert read_block(b"\x20\x88") == {b":status": b"200"}
    assert read_block(b"\x40\x0bgrpc-status\x0213") == {b"grpc-status": b"13"}
    assert read_block(b"\x10\x0cgrpc-message\x05a%20b") == {b"grpc-message": b"a%20b"}
    assert read_block(b"\x08\x03404") == {b":status": b"404"}
    assert read_block(b"\x5f\x10application/grpc") == {}


@pytest.mark.parametrize(
    "block",
    [
        b"\xbe",  # the first of a table that there is none of
        b"\x40\x88\x9a\xca\xc8\xb2\x12\x34\xda\x8f\x010",  # Huffman's code
    ],
)
def test_what_cannot_be_read_is_said(block: bytes) -> None:
    with pytest.raises(UnreadableError):
        read_block(block)


@pytest.mark.parametrize("block", [b"\x40\x0bgrpc", b"\x40", b"\xff", b"\x00\x7f\xff\xff\xff\xff\xff\xff\xff\x7f"])
def test_what_is_cut_short(block: bytes) -> None:
    with pytest.raises(IndexError):
        read_block(block)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with suppress(UnreadableError, IndexError):
        read_block(data)
    with suppress(ConnectionError):
        for _, flags, _, payload in Frames().take(data):
            with suppress(IndexError):
                unpadded(flags, payload)


def test_padding_and_priority_are_left_out() -> None:
    assert unpadded(END_HEADERS, b"text") == b"text"
    assert unpadded(PADDED, b"\x02textxx") == b"text"
    assert unpadded(PRIORITY, b"12345text") == b"text"
    assert unpadded(PADDED | PRIORITY, b"\x0112345textx") == b"text"


def test_settings_and_windows() -> None:
    assert settings_of(bytes.fromhex("000400010000000300000064")) == {4: 65536, 3: 100}
    assert window_update(5, 1000) == bytes.fromhex("000004080000000005000003e8")


def test_what_is_no_frame() -> None:
    with pytest.raises(ConnectionError, match="larger than it may be"):
        list(Frames().take(b"SSH-2.0-OpenSSH_9.2 and so on"))
