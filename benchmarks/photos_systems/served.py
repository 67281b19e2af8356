"""Systems behind HTTP, each under the same client: a closed loop over raw sockets in this process."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from deploy.embedded.flags import ServerNeeds
from deploy.embedded.server import EmbeddedServer
from loadtest.cpu import cpu_of, spent
from loadtest.raw_http import ClosedLoop, Reply, triton_answer, triton_request
from loadtest.server_statistics import mean_batches, read_counts
from loadtest.turns import endless_order
from photos_systems.work import MODES, Answers, Array, Done, Mode, Photos, Slice

WARM_UP_S, WARM_UP_SEED = 1.0, 0


@dataclass(frozen=True)
class Running:
    """A server that answers. `request` makes the bytes of one request, `groups` are its processes by name."""

    address: str
    request: Callable[[Sequence[int]], bytes]
    answer: Callable[[Reply], Answers]
    groups: Mapping[str, Sequence[int]]
    has_statistics: bool


class Served:
    """A system that `start` starts. `expected` is what it must answer."""

    def __init__(
        self,
        name: str,
        start: Callable[[ExitStack], Running],
        photos: Photos,
        expected: Answers,
        modes: tuple[Mode, ...] = MODES,
    ) -> None:
        self.name, self.modes = name, modes
        self._start, self._photos, self._expected = start, photos, expected

    def expected(self) -> Answers:
        """As given."""
        return self._expected

    def processes(self) -> Mapping[str, Sequence[int]]:
        """The process ids of each group, once it runs."""
        return self._running.groups

    def __enter__(self) -> Served:
        with ExitStack() as stack:
            self._running = self._start(stack)
            self._requests = {mode: self._photos.requests(mode) for mode in self.modes}
            self._payloads = {
                mode: [self._running.request(items) for items in found] for mode, found in self._requests.items()
            }
            for mode in self.modes:
                self.measure(mode, WARM_UP_S, WARM_UP_SEED)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def measure(self, mode: Mode, seconds: float, seed: int) -> Slice:
        """The server's CPU is read when everything is answered, the client's is this process's own.

        Connections are new each time: which of uvicorn's workers gets how many of them is chance.
        """
        running, payloads = self._running, self._payloads[mode]
        counts = read_counts(running.address) if running.has_statistics else {}
        with ClosedLoop(running.address, mode.in_flight) as loop:
            before, used = cpu_of(running.groups), time.process_time()
            replies = loop.run(payloads, endless_order(len(payloads), seed), seconds)
            used, after = time.process_time() - used, cpu_of(running.groups)
        batches = mean_batches(counts, read_counts(running.address)) if running.has_statistics else {}
        done = [Done(r.payload, r.sent_us, r.done_us, running.answer(r)) for r in replies]
        return Slice(done, seconds, spent(before, after), used, batches)


# Triton ----------------------------------------------------------------------------------------------------


def triton(
    repository: Path, needs: ServerNeeds, model: str, photos: Photos, *, as_bytes: bool = False
) -> Callable[[ExitStack], Running]:
    """How to start the embedded server for `repository`. `as_bytes`: a file goes as UINT8 [1, length], no string."""

    def start(stack: ExitStack) -> Running:
        server = stack.enter_context(_ended_at_once(EmbeddedServer(repository, needs)))

        def request(items: Sequence[int]) -> bytes:
            column = photos.column(items)
            tensor = ("UINT8", _as_bytes(column)) if as_bytes else ("BYTES", column)
            return triton_request(server.http_address, model, {"image": tensor})

        return Running(server.http_address, request, _triton_answers, processes_of(server.pid), has_statistics=True)

    return start


@contextmanager
def _ended_at_once(server: EmbeddedServer) -> Iterator[EmbeddedServer]:
    """Nothing is in flight at a round's end."""
    try:
        yield server.start()
    finally:
        server.stop(grace_s=0)


def processes_of(pid: int) -> dict[str, list[int]]:
    """tritonserver, and the stubs of each model."""
    groups = {"tritonserver": [pid]}
    for stub in psutil.Process(pid).children(recursive=True):
        [model] = [word for word in stub.cmdline() if word.endswith("/model.py")]
        groups.setdefault(Path(model).parts[-3], []).append(stub.pid)
    return groups


def _triton_answers(reply: Reply) -> Answers:
    tensors = triton_answer(reply)
    return Answers(tensors["label"], tensors["score"])


def _as_bytes(column: Array) -> Array:
    import numpy as np

    if len(column) != 1:
        raise ValueError("files of unequal length are no rows of one UINT8 tensor")
    return np.frombuffer(column[0, 0], np.uint8)[np.newaxis]
