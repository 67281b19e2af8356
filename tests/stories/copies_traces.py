"""What the tests of copies share: a pipeline of two classes, payloads with marks, a relay that counts bytes."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from generator.project import Project

ITEM_BYTES, ITEMS = 1 << 18, 4
PAYLOAD_BYTES = ITEM_BYTES * ITEMS
_STEP = 4096  # a mark stands in each so many bytes
_KEYS = {"a": 0, "b": 1, "c": 3}  # what the classes have changed in the bytes by then

_SPEC = """
name: marked
inputs:  {{a: {{type: uint8, dims: [{dims}]}}}}
outputs:
  c: {{type: uint8, dims: [{dims}]}}
  in_shm: {{type: bool, dims: [1]}}
models:
  one:
    python: steps/marked.py:One
    inputs: {{a: {{type: uint8, dims: [{dims}]}}}}
    outputs: {{b: {{type: uint8, dims: [{dims}]}}, in_shm: {{type: bool, dims: [1]}}}}
  two:
    python: steps/marked.py:Two
    inputs: {{b: {{type: uint8, dims: [{dims}]}}}}
    outputs: {{c: {{type: uint8, dims: [{dims}]}}}}
flow:
  - {{model: one, outputs: {{b: b, in_shm: in_shm}}}}
  - {{model: two}}
layout: {layout}
batching: {{max_batch_size: 4, max_queue_delay_us: 0, queue: null}}
"""
_CODE = '''
"""Two classes that change every byte of what they get."""
import numpy as np


def lies_in_shm(array):
    """Whether the array's memory is mapped from /dev/shm."""
    address = array.__array_interface__["data"][0]
    for line in open("/proc/self/maps"):
        if "/dev/shm" in line:
            first, last = (int(end, 16) for end in line.split()[0].split("-"))
            if first <= address < last:
                return True
    return False


class One:
    def __init__(self, parameters):
        pass

    def run(self, tensors, fail):
        array = tensors["a"]
        return {"b": array ^ 1, "in_shm": np.full((len(array), 1), lies_in_shm(array))}


class Two:
    def __init__(self, parameters):
        pass

    def run(self, tensors, fail):
        return {"c": tensors["b"] ^ 2}
'''


def marked_project(root: Path, layout: str, item_bytes: int = ITEM_BYTES) -> Project:
    """`marked`: a -> one -> b -> two -> c, each UINT8 of `item_bytes` an item."""
    (root / "specs").mkdir(parents=True)
    (root / "steps").mkdir()
    (root / "specs" / "marked.yaml").write_text(_SPEC.format(layout=layout, dims=item_bytes))
    (root / "steps" / "marked.py").write_text(_CODE)
    return Project(root)


def payload(mark: bytes, items: int = ITEMS, item_bytes: int = ITEM_BYTES) -> np.ndarray[Any, Any]:
    """UINT8 [items, item_bytes], zeros with `mark` in every 4,096 bytes."""
    array = np.zeros((items, item_bytes), np.uint8)
    array.reshape(-1, _STEP)[:, 100 : 100 + len(mark)] = np.frombuffer(mark, np.uint8)
    return array


def marked_bytes(data: bytes, mark: bytes) -> dict[str, int]:
    """How many bytes of each tensor lie in `data`, counted by their marks."""
    changed = {name: bytes(byte ^ key for byte in mark) for name, key in _KEYS.items()}
    return {name: _STEP * len(re.findall(re.escape(text), data)) for name, text in changed.items()}


@dataclass
class Relay:
    """Where it listens, and the bytes that went each way."""

    address: str
    sent: int = 0
    received: int = 0


@contextmanager
def relay(address: str) -> Iterator[Relay]:
    """Passes connections on to `address`, and counts."""
    host, _, port = address.rpartition(":")
    listener = socket.create_server(("127.0.0.1", 0))
    counted = Relay(f"127.0.0.1:{listener.getsockname()[1]}")
    open_sockets: list[socket.socket] = [listener]

    def pump(source: socket.socket, to: socket.socket, field: str) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                setattr(counted, field, getattr(counted, field) + len(data))
                to.sendall(data)
            to.shutdown(socket.SHUT_WR)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                server = socket.create_connection((host, int(port)))
                open_sockets.extend((client, server))
                threading.Thread(target=pump, args=(client, server, "sent"), daemon=True).start()
                threading.Thread(target=pump, args=(server, client, "received"), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield counted
    finally:
        for one in open_sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
