"""What the Python processes of a server hold, told by themselves: a thread beside each model answers when it is asked.

Seen from outside, a process that keeps what it has freed (kept_memory.keep) grows with the largest batch that it ever
met; a leak of a few bytes a request fills what was freed before, and shows late. What is in use does neither.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from deploy.embedded.stubs import Stub

_WINDOW = """

import ctypes, gc, json, os, sys, threading


class _Mallinfo2(ctypes.Structure):
    _names = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"
    _fields_ = [(name, ctypes.c_size_t) for name in _names.split()]


def _answer(path):
    libc = ctypes.CDLL(None)
    libc.mallinfo2.restype = _Mallinfo2
    os.mkfifo(path + ".answer")
    os.mkfifo(path)
    while True:
        with open(path) as asked:
            asked.read()
        gc.collect()
        libc.malloc_trim(ctypes.c_size_t(0))
        heap = libc.mallinfo2()
        held = {"heap_bytes": heap.uordblks + heap.hblkhd, "objects": sys.getallocatedblocks()}
        with open(path + ".answer", "w") as answer:
            json.dump(held, answer)


threading.Thread(target=_answer, args=(FOLDER + "/" + str(os.getpid()),), daemon=True).start()
"""


@dataclass(frozen=True)
class Held:
    """What a process uses: of the C library's heap, and how many objects of Python's own (of 512 bytes and less)."""

    heap_bytes: int
    objects: int


def open_windows(repository: Path, folder: Path) -> None:
    """Gives every Python model of a rendered repository its thread; `folder` must stay until the server has ended."""
    models = list(repository.rglob("model.py"))
    assert models
    for file in models:
        text = _WINDOW.replace("FOLDER", repr(str(folder)))
        file.write_text(file.read_text(encoding="utf-8") + text, encoding="utf-8")


def held(folder: Path, stub: Stub) -> Held:
    """What the process uses now, after what is garbage is collected and what is free went back to the kernel."""
    path = folder / str(stub.pid)
    path.write_text("")
    with (folder / f"{path.name}.answer").open() as answer:
        return Held(**json.load(answer))
