"""What an engine process says of images: which files it decodes, and which it could not."""

from __future__ import annotations

import socket

import pytest

from tritonkit_runtime.engine_process import wire
from tritonkit_runtime.engine_process.merging import Times

Pair = tuple[socket.socket, socket.socket]
KINDS = frozenset({(0xC0, b"\x22\x11\x11"), (0xC2, b"\x11")})


def test_kinds_come_as_they_were_said(pair: Pair) -> None:
    for kinds in (KINDS, frozenset[tuple[int, bytes]]()):
        wire.send_kinds(pair[0], kinds)
        assert wire.receive_kinds(pair[1]) == kinds
    pair[0].close()
    with pytest.raises(EOFError):
        wire.receive_kinds(pair[1])


def test_an_answer_is_words_or_rows(pair: Pair) -> None:
    for words in ("", "the batch was not run: made up"):
        wire.send_words(pair[0], words)
        assert wire.receive_answer(pair[1]) == words
    rows = tuple(range(0, 8192, 3))
    wire.send_refused(pair[0], rows)
    assert wire.receive_answer(pair[1]) == rows
    pair[0].close()
    with pytest.raises(EOFError):
        wire.receive_answer(pair[1])


def test_what_preparing_takes_is_learnt_by_the_item() -> None:
    times = Times()
    assert times.preparing_s == 0
    times.learn_preparing(4, 0.4)
    assert times.preparing_s == pytest.approx(0.1)
    for _ in range(60):
        times.learn_preparing(10, 0.2)
    assert times.preparing_s == pytest.approx(0.02, rel=0.01)
