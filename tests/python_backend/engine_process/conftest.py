"""What the tests of engine processes share is importable by its file's name, and the fake device of the ring's."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "buffered")]

from engine_instances import Instance, Spin, ended, save_spins  # noqa: E402 — its folder is on the path only now


@pytest.fixture
def spins(tmp_path: Path) -> Iterator[Spin]:
    """A model whose batches take as long as a test wants; no engine process of it may stay."""
    save_spins(tmp_path / "spins.onnx")
    yield Spin(tmp_path / "spins.onnx")
    assert ended(tmp_path), "an engine process stayed"


@pytest.fixture
def instance(spins: Spin) -> Iterator[Callable[..., Instance]]:
    """Starts instances as processes of their own; those that still run are ended."""
    yield spins.instance
    for one in spins.instances:
        one.close()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two connected sides, as an instance and its engine process have them."""
    sides = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    yield sides
    for side in sides:
        side.close()
