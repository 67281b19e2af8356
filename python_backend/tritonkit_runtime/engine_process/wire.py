"""What instances and the engine process say to each other: messages over a Unix socket that keeps their borders.

An instance says hello, with the descriptor of its shared memory; the answer comes when the engine is ready, and says
that it is, or why it never will be. After that: batches to run, one at a time, and how each went. A process that has
the kernel before the engine too says which files it decodes as soon as it is ready, and which it could not.
"""

from __future__ import annotations

import json
import os
import socket
import struct
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

# Larger than any message: a batch of many tensors, an error's whole text.
LONGEST_BYTES = 1 << 16
_HEAD, _OFFSET = struct.Struct("<I"), struct.Struct("<Q")
_HELLO = struct.Struct("<8sQ")
_NAME = b"tritkit1"
_WORDS, _REFUSED = b"\0", b"\1"  # what an answer begins with
_OWNER = struct.Struct("3i")  # process, user, group, as the kernel has them


class Asked(NamedTuple):
    """A batch to run: its items, and where each input, each output and, for a kernel, the images begin in the
    instance's memory.
    """

    items: int
    offsets: tuple[int, ...]

    def packed(self) -> bytes:
        """The message."""
        return _HEAD.pack(self.items) + b"".join(map(_OFFSET.pack, self.offsets))

    @classmethod
    def unpacked(cls, message: bytes, tensors: int) -> Asked:
        """What a message asks for; ValueError where it is none of ours."""
        if len(message) != _HEAD.size + tensors * _OFFSET.size:
            raise ValueError(f"a message of {len(message)} bytes for {tensors} tensors")
        [items] = _HEAD.unpack_from(message)
        places = range(_HEAD.size, len(message), _OFFSET.size)
        return cls(items, tuple(_OFFSET.unpack_from(message, place)[0] for place in places))


def send_hello(connection: socket.socket, descriptor: int, size_bytes: int) -> None:
    """The first message of an instance: how large its shared memory is, and the memory itself."""
    socket.send_fds(connection, [_HELLO.pack(_NAME, size_bytes)], [descriptor])


def receive_hello(connection: socket.socket) -> tuple[int, int]:
    """The descriptor of an instance's memory, which is the caller's to close, and its size.

    EOFError when the instance is gone, ValueError for something else.
    """
    message, descriptors, _, _ = socket.recv_fds(connection, LONGEST_BYTES, 1)
    if not message:
        raise EOFError
    if len(descriptors) == 1 and len(message) == _HELLO.size and message.startswith(_NAME):
        return descriptors[0], int(_HELLO.unpack(message)[1])
    for descriptor in descriptors:
        os.close(descriptor)
    raise ValueError("the first message is no hello")


def user_of(connection: socket.socket) -> int:
    """Who is on the other side: an address of this kind has no owner in the file system, and any user may use it."""
    said = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _OWNER.size)
    return int(_OWNER.unpack(said)[1])


def send_words(connection: socket.socket, words: str) -> None:
    """What became of a hello or of a batch: no words where all went well. Who reads no answers holds nobody up."""
    message = _WORDS + words.encode(errors="replace")[: LONGEST_BYTES // 2]
    connection.send(message, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)


def receive_words(connection: socket.socket) -> str:
    """What became of it; EOFError when the other side is gone."""
    message = connection.recv(LONGEST_BYTES)
    if not message:
        raise EOFError
    return message[1:].decode(errors="replace")


def send_refused(connection: socket.socket, rows: Sequence[int]) -> None:
    """Instead of words: a batch was run, but files of these rows were not decoded. Nobody is held up."""
    message = _REFUSED + b"".join(map(_HEAD.pack, rows))
    connection.send(message, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)


def receive_answer(connection: socket.socket) -> str | tuple[int, ...]:
    """What became of a batch: words as above, or the rows whose files were not decoded. EOFError, ValueError."""
    message = connection.recv(LONGEST_BYTES)
    if not message:
        raise EOFError
    if message.startswith(_REFUSED):
        return tuple(row for (row,) in _HEAD.iter_unpack(message[1:]))
    return message[1:].decode(errors="replace")


def send_kinds(connection: socket.socket, kinds: Collection[tuple[int, bytes]]) -> None:
    """Which kinds of JPEG the process decodes: the frame's marker, and how components are sampled."""
    connection.send(json.dumps([[marker, sampling.hex()] for marker, sampling in kinds]).encode())


def receive_kinds(connection: socket.socket) -> frozenset[tuple[int, bytes]]:
    """The same; EOFError when the other side is gone."""
    message = connection.recv(LONGEST_BYTES)
    if not message:
        raise EOFError
    return frozenset((marker, bytes.fromhex(sampling)) for marker, sampling in json.loads(message))


def shown(tensors: Sequence[Any]) -> list[dict[str, Any]]:
    """Declared tensors, as JSON holds them."""
    return [{"name": tensor.name, "dtype": tensor.dtype, "dims": list(tensor.dims)} for tensor in tensors]
