"""A server that speaks as much of Triton's HTTP as a load test asks for, with service times that never vary.

`python steady_server.py MODEL [SETTINGS]` prints its port. A request takes a time that follows from its bytes alone,
however many there are at once: no queue, no batches, so two runs of the same requests must show the same latencies.
SETTINGS is JSON: `least_ms` and `spread_ms` of the times, `refuse` (words; every request is refused), `fail_after`
(requests, then the process ends), `not_ready`, `port` (default: one that the system gives).
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import urllib.request
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

ANSWER = b'{"model_name":"m","model_version":"1","outputs":[]}'
_STEPS = 16


class Server:
    """What it has counted, and how it answers."""

    def __init__(self, model: str, settings: dict[str, Any]) -> None:
        self.model, self.settings, self.infers, self.connections = model, settings, 0, 0

    def delay_s(self, body: bytes) -> float:
        """One of 16 times, by the bytes."""
        least, spread = self.settings.get("least_ms", 20.0), self.settings.get("spread_ms", 40.0)
        return (least + spread * (zlib.crc32(body) % _STEPS) / (_STEPS - 1)) / 1000

    def infer(self, body: bytes) -> tuple[int, bytes, float]:
        """Status, body and delay of an answer."""
        self.infers += 1
        if self.infers > self.settings.get("fail_after", 1 << 60):
            sys.exit(3)
        if words := self.settings.get("refuse"):
            return 400, json.dumps({"error": words}).encode(), 0.0
        return 200, ANSWER, self.delay_s(body)

    def ask(self, path: str) -> tuple[int, bytes, float]:
        """What is no inference; `says` are answers in place of its own, by path."""
        if path in self.settings.get("says", {}):
            return 200, self.settings["says"][path].encode(), 0.0
        if path == "/v2/models/stats":
            ns = {"count": self.infers, "ns": self.infers * 1_000_000}
            batches = [{"batch_size": 1, "compute_infer": ns}]
            stats = {"success": ns, "queue": ns, "compute_input": ns, "compute_infer": ns, "compute_output": ns}
            entry = {"name": self.model, "version": "1", "inference_count": self.infers, "execution_count": self.infers,
                     "inference_stats": stats, "batch_stats": batches}  # fmt: skip
            return 200, json.dumps({"model_stats": [entry]}).encode(), 0.0
        if path == f"/v2/models/{self.model}/config":
            return 200, json.dumps({"name": self.model, "max_batch_size": 1}).encode(), 0.0
        if path == f"/v2/models/{self.model}/ready":
            return (400, b'{"error":"it is not ready"}', 0.0) if self.settings.get("not_ready") else (200, b"", 0.0)
        if path in {"/v2", "/v2/health/live", "/v2/health/ready"}:
            return 200, b'{"name":"steady","version":"1"}' if path == "/v2" else b"", 0.0
        if path == "/connections":
            return 200, str(self.connections).encode(), 0.0
        return 404, b'{"error":"there is no such thing"}', 0.0


class Connection(asyncio.Protocol):
    """Answers the requests of one connection, each after its time."""

    def __init__(self, server: Server) -> None:
        self._server, self._received = server, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Counted, so that a test can tell that there was none."""
        self._transport: Any = transport
        self._server.connections += 1

    def data_received(self, data: bytes) -> None:
        """Requests may come in pieces, and several at once."""
        self._received += data
        while True:
            end = self._received.find(b"\r\n\r\n")
            if end < 0:
                return
            head = self._received[:end].decode("latin-1").split("\r\n")
            fields = dict(line.lower().split(": ", 1) for line in head[1:])
            length = int(fields.get("content-length", "0"))
            if len(self._received) < end + 4 + length:
                return
            body = self._received[end + 4 : end + 4 + length]
            self._received = self._received[end + 4 + length :]
            method, path, _ = head[0].split(" ", 2)
            status, answer, delay_s = self._server.infer(body) if method == "POST" else self._server.ask(path)
            text = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(answer)}\r\n\r\n"
            asyncio.get_running_loop().call_later(delay_s, self._answer, text.encode() + answer)

    def _answer(self, data: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(data)


@dataclass(frozen=True)
class Steady:
    """A running one."""

    process: subprocess.Popen[bytes]
    address: str

    def ask(self, path: str) -> Any:
        """The JSON at a path."""
        with urllib.request.urlopen(f"http://{self.address}{path}", timeout=10) as reply:
            return json.load(reply)

    @property
    def infers(self) -> int:
        """How many requests it has answered or refused."""
        count: int = self.ask("/v2/models/stats")["model_stats"][0]["inference_count"]
        return count


@contextmanager
def steady(model: str = "digits", **settings: Any) -> Iterator[Steady]:
    """One of its own, in a process of its own; ended on the way out."""
    process = subprocess.Popen(
        [sys.executable, __file__, model, json.dumps(settings)], stdout=subprocess.PIPE, start_new_session=True
    )
    try:
        assert process.stdout is not None
        yield Steady(process, f"127.0.0.1:{int(process.stdout.readline())}")
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


async def main() -> None:
    """Serves until it is ended."""
    server = Server(sys.argv[1], json.loads(sys.argv[2]) if len(sys.argv) > 2 else {})
    listening = await asyncio.get_running_loop().create_server(
        lambda: Connection(server), "127.0.0.1", server.settings.get("port", 0)
    )
    sys.stdout.write(f"{listening.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await listening.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
