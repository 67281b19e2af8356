"""Reads what copy_trace.c writes: copies on a GPU, waits for one, and memory for it, of every process of a server."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

_KINDS = {1: "HtoD", 2: "DtoH", 8: "DtoD", 9: "HtoH", 10: "PtoP"}
_PLACES = {0: "unknown", 1: "pageable", 2: "pinned", 3: "GPU", 4: "array", 5: "managed", 6: "GPU", 7: "managed"}
_WAITS = {1: "event", 3: "stream", 4: "context"}
_GPU_WAITS = 2  # a stream waits for an event there, and the host for nothing
_ENGINE_PROCESS = "tritonkit_runtime.engine_process"  # what it runs has its model first, as JSON
_DEADLINE_S = 20.0
_MOST_ROUNDS = 20


class TraceError(Exception):
    """A process could not write its trace, or does not answer."""


class Copy(NamedTuple):
    """One copy: its kind (HtoD, DtoH, DtoD), from where to where (pageable, pinned, GPU), how many bytes."""

    kind: str
    source: str
    to: str
    size: int
    is_asynchronous: bool
    start_ns: int
    end_ns: int
    stream: int
    in_graph: bool

    @property
    def holds_the_host(self) -> bool:
        """Whether the call returns only when the bytes are there: into pageable memory it always does."""
        return self.kind == "DtoH" and not self.in_graph and (self.to == "pageable" or not self.is_asynchronous)


class Wait(NamedTuple):
    """A wait of the host that ended: for an event, a stream or a context. Those for an event may have been asked
    for again and again, awake, until it had passed.
    """

    what: str
    start_ns: int
    end_ns: int
    stream: int


class Calls(NamedTuple):
    """How often the driver was called, and said that it is done."""

    queries: int = 0
    events: int = 0
    streams: int = 0
    contexts: int = 0

    def since(self, before: Calls) -> Calls:
        """What came after."""
        return Calls(*(now - then for now, then in zip(self, before, strict=True)))


@dataclass
class Seen:
    """What one process did in a stretch of time."""

    copies: list[Copy] = field(default_factory=list)
    waits: list[Wait] = field(default_factory=list)
    calls: Calls = field(default_factory=Calls)

    def host_waits(self) -> Counter[str]:
        """How often the host waited, by what for. A copy that held it is one wait together with the wait that follows.

        Waits for an event are in the driver's calls for certain, and in CUPTI's records with most of its versions.
        """
        found = Counter(wait.what for wait in self.waits)
        found["event"] = max(found["event"], self.calls.queries + self.calls.events)
        holding = [copy for copy in self.copies if copy.holds_the_host]
        followed = sum(
            any(_next_after(copy, self.copies, wait) for wait in self.waits if wait.what == "stream")
            for copy in holding
        )  # fmt: skip
        found["copy"] = len(holding) - followed
        return +found


class Block(NamedTuple):
    """Memory that a process has taken: where (device, async, physical, pinned, registered, managed), how many bytes."""

    where: str
    size: int


@dataclass
class Held:
    """What a process holds for a GPU. `taken` since the last time it was asked, `most`: bytes at once by then."""

    blocks: dict[int, Block] = field(default_factory=dict)
    taken: list[Block] = field(default_factory=list)
    most: Counter[str] = field(default_factory=Counter)

    def sizes(self, where: str) -> Counter[int]:
        """Bytes of a block -> how many of them there are."""
        return Counter(block.size for block in self.blocks.values() if block.where == where)

    def bytes_of(self, where: str) -> int:
        """Of all blocks that are there."""
        return sum(size * count for size, count in self.sizes(where).items())

    def take(self, address: int, block: Block) -> None:
        """One block more; what is told twice is there already."""
        if self.blocks.get(address) == block:
            return
        self.blocks[address] = block
        self.taken.append(block)
        self.most[block.where] = max(self.most[block.where], self.bytes_of(block.where))

    def begin(self) -> None:
        """A new stretch of time, which begins with what is there."""
        self.taken = []
        self.most = Counter(
            {where: self.bytes_of(where) for where in {block.where for block in self.blocks.values()}}
        )


def _next_after(copy: Copy, copies: Iterable[Copy], wait: Wait) -> bool:
    """Whether a wait for the copy's stream ended after it, and no other copy of that stream began in between."""
    return (
        wait.stream == copy.stream
        and wait.end_ns >= copy.end_ns
        and not any(c.stream == copy.stream and copy.end_ns <= c.start_ns < wait.end_ns for c in copies if c != copy)
    )


@dataclass
class Process:
    """One file: whose it is, and how far it was read."""

    path: Path
    number: int
    name: str = ""
    cupti: int = 0
    asked: int = 0
    total: Calls = field(default_factory=Calls)
    told: Calls = field(default_factory=Calls)
    offset: int = 0
    seen: Seen = field(default_factory=Seen)
    held: Held = field(default_factory=Held)

    def read(self) -> int:
        """Takes whole lines that are new; how many copies and waits there were among them."""
        with self.path.open("rb") as file:
            file.seek(self.offset)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        self.offset += len(whole)
        before = len(self.seen.copies) + len(self.seen.waits)
        for line in whole.decode(errors="replace").splitlines():
            self._take(*line.split(" ", 1))
        return len(self.seen.copies) + len(self.seen.waits) - before

    def _take(self, word: str, rest: str = "") -> None:
        if word == "error":
            raise TraceError(f"{self.name or self.path.name}: {rest}")
        if word == "process":
            self.name = name_of(rest.split(" ")[1:])
            return
        if word == "alloc":
            where, address, size = rest.split()
            self.held.take(int(address), Block(where, int(size)))
            return
        numbers = [int(number) for number in rest.split()]
        if word == "free":
            self.held.blocks.pop(numbers[0], None)  # of what was never taken: cuMemFree of nothing
        elif word == "ready":
            [self.cupti] = numbers
        elif word == "asked":
            [self.asked] = numbers
        elif word == "calls":
            self.total = Calls(*numbers)
        elif word == "copy":
            kind, source, to, asynchronous, size, start, end, stream, node = numbers
            self.seen.copies.append(
                Copy(_KINDS.get(kind, f"kind {kind}"), _PLACES.get(source, f"place {source}"),
                     _PLACES.get(to, f"place {to}"), size, bool(asynchronous), start, end, stream, bool(node))
            )  # fmt: skip
        elif word == "wait":
            what, status, start, end, stream = numbers
            if what != _GPU_WAITS and status == 0:
                self.seen.waits.append(Wait(_WAITS.get(what, f"type {what}"), start, end, stream))
        else:
            raise TraceError(f"{self.path.name} has a line that begins with {word!r}")

    def give(self) -> Seen:
        """What was read since the last time."""
        found, self.seen = self.seen, Seen()
        found.calls, self.told = self.total.since(self.told), self.total
        return found


def name_of(command: list[str]) -> str:
    """`server`, `stub of MODEL`, `engine process of MODEL`, or the program's name."""
    program = Path(command[0]).name if command and command[0] else "unknown"
    if program == "tritonserver":
        return "server"
    models = [Path(word) for word in command if word.endswith("/model.py")]
    if models:
        return f"stub of {models[0].parent.parent.name}"
    if _ENGINE_PROCESS in command and (found := re.search(r'"model": "([^"]+)"', " ".join(command))):
        return f"engine process of {found[1]}"
    return program


def is_alive(number: int) -> bool:
    """Whether the process runs, and has not only not been buried."""
    try:
        told = Path(f"/proc/{number}/stat").read_text()
    except OSError:
        return False
    return told.rsplit(")", 1)[1].split()[0] not in ("Z", "X")


class Tracing:
    """The folder that processes write to; `alive` says whether a process still runs."""

    def __init__(self, folder: Path, alive: Callable[[int], bool] = is_alive) -> None:
        self.folder, self._alive = folder, alive
        self._asked = 0
        self.processes: dict[Path, Process] = {}

    def taken(self) -> dict[str, Seen]:
        """Process -> what it did since the last call, once all have handed over what they have. TraceError."""
        for _ in range(_MOST_ROUNDS):
            if not self._round():
                found: dict[str, Seen] = {}
                for process in self.processes.values():
                    seen = process.give()
                    if seen != Seen():
                        number = f" ({process.number})" if process.name in found else ""
                        found[process.name + number] = seen
                return found
        raise TraceError("the processes do not come to rest: something other than the requests uses the GPU")

    def _round(self) -> int:
        """Asks all, and waits for their answers; how much came."""
        self._asked += 1
        new = self.folder / "ask.new"
        new.write_text(f"{self._asked}\n")
        new.replace(self.folder / "ask")
        came, deadline = 0, time.monotonic() + _DEADLINE_S
        while True:
            for path in self.folder.glob("*.trace"):
                process = self.processes.setdefault(path, Process(path, int(path.stem)))
                came += process.read()
            silent = [p for p in self.processes.values() if p.asked < self._asked and self._alive(p.number)]
            if not silent:
                # A process that ended meanwhile may have written its last lines after they were read.
                return came + sum(process.read() for process in self.processes.values())
            if time.monotonic() > deadline:
                told = ", ".join(f"{process.name} ({process.number})" for process in silent)
                raise TraceError(f"no answer from {told} in {_DEADLINE_S:g} s")
            time.sleep(0.002)
