"""Small servers in processes of their own, and what is sent to them."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from loadtest.samples.file import read_samples
from loadtest.samples.record import Samples
from loadtest.sender.orders import Orders, SenderReport
from loadtest.sender.process import Sending
from loadtest.traffic.payloads import Payloads
from loadtest.traffic.schedule import Schedule

HERE = Path(__file__).parent
DONE_S = 60.0
SERVERS = {"http": HERE / "small_http_server.py", "grpc": HERE / "small_grpc_server.py"}


class SmallServer:
    """One of the small servers; it may be killed, and started again at the same port."""

    def __init__(self, protocol: str, *options: str) -> None:
        self._program, self._port, self._options = SERVERS[protocol], 0, options
        self.start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._port}"

    def start(self) -> None:
        words = [sys.executable, str(self._program), str(self._port), *self._options]
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout
        self._port = int(self.process.stdout.readline())

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout
        self.process.stdout.close()


@contextmanager
def small_server(protocol: str) -> Iterator[SmallServer]:
    server = SmallServer(protocol)
    try:
        yield server
    finally:
        server.kill()


def payloads(*words: bytes) -> Payloads:
    """A request for each of the words."""
    requests = tuple({"word": ("UINT8", np.frombuffer(word, np.uint8))} for word in words)
    return Payloads("words", requests, (1,) * len(words))


def schedule(payload: Sequence[int], rate_rps: float) -> Schedule:
    """A request for each of `payload`, at equal distances."""
    count = len(payload)
    due_ns = (np.arange(count) * 1e9 / rate_rps).astype(np.int64)
    return Schedule(due_ns, np.zeros(count, np.uint8), np.array(payload, np.uint32), {"kind": "constant"})


def orders(address: str, client: str = "http-raw", **options: Any) -> Orders:
    """`client`: protocol-client."""
    protocol, _, kind = client.partition("-")
    options = {"deadline_us": 5_000_000, **options}
    return Orders(protocol, kind, address, ("words",), **options)  # type: ignore[arg-type]


def send(
    told: Orders, arrivals: Schedule, words: Payloads, folder: Path, **options: Any
) -> tuple[Samples, SenderReport]:
    """Sends all of it, to the end."""
    with Sending(told, arrivals, {"words": words}, folder, **options) as sending:
        sending.start()
        report = sending.wait(arrivals.duration_s + DONE_S)
    return samples_of(sending), report


def samples_of(sending: Sending) -> Samples:
    _, samples = read_samples(sending.samples_path)
    return samples


def eventually(condition: Callable[[], Any], timeout_s: float = 20.0) -> bool:
    """Polls until the condition holds; False when it does not within the time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True
