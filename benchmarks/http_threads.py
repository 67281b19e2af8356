"""Claim: connections to a Triton server with nothing to do share few of its HTTP threads, however many it has.

    python benchmarks/http_threads.py [--connections 64] [--seconds 2] [--out FILE]

Each connection belongs to one of the server's HTTP threads for good. They are made in four ways: one after the other
to an idle server; one after the other, each with a question at once, as tritonkit's sender makes them; while requests
are under way; and so that every thread has as many, which clients cannot see to (gpu_served_even.py). Then the same
closed loop sends images of 150 kB over them to a model that only answers. In turns, each on connections of its own;
told are the requests a second, and how many cores the threads took.
Writes http_threads.json and the table of http_threads.md.
"""

from __future__ import annotations

import argparse
import json
import selectors
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from _common import HERE, machine, median, put_table, rounds

sys.path.insert(0, str(HERE.parent))
sys.path.insert(0, str(HERE.parent / "python_backend"))

from gpu_served_even import Asked, even
from gpu_served_models import ANSWERS_ALONE
from gpu_served_requests import request
from gpu_served_turns import ticks

from deploy.embedded.flags import ServerNeeds
from deploy.embedded.server import EmbeddedServer
from loadtest.raw_http import ClosedLoop
from loadtest.turns import endless_order

IMAGE = (224, 224, 3)
HTTP_THREADS, INSTANCES, ROUNDS, PAUSE_S = 8, 4, 7, 0.005
CONFIG = f"""name: "idle" backend: "python" max_batch_size: 64
input [{{name: "image" data_type: TYPE_UINT8 dims: {list(IMAGE)}}}]
output [{{name: "score" data_type: TYPE_FP32 dims: [5]}}]
dynamic_batching {{ max_queue_delay_microseconds: 300 }}
instance_group [{{kind: KIND_CPU count: {INSTANCES}}}]
"""


class OneByOne(ClosedLoop):
    """Connections to a server that does nothing: the thread that took one sleeps again when the next comes."""

    greeting = b""

    def __init__(self, address: str, in_flight: int) -> None:
        super().__init__(address, 0)
        for _ in range(in_flight):
            connection = self._connect()
            if self.greeting:
                connection.socket.send(self.greeting)
            else:
                time.sleep(PAUSE_S)
        self._in_flight = in_flight
        for connection in self._connections if self.greeting else ():
            selector = selectors.DefaultSelector()
            selector.register(connection.socket, selectors.EVENT_READ)
            while connection.read() is None:
                selector.select(5)
            selector.close()


class Greeted(OneByOne):
    """Each asks something at once, and the next does not wait for the answer."""

    greeting = b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"


WAYS = ("one by one, idle", "each with a question", "while it serves", "evenly")


def connections(way: str, server: EmbeddedServer, in_flight: int) -> ClosedLoop:
    """As many, made this way."""
    address = server.http_address
    if way == "while it serves":  # each sends a request as soon as it stands
        return ClosedLoop(address, in_flight, over_s=0.2)
    if way == "evenly":
        asked = Asked(address, "idle", server.pid, HTTP_THREADS)
        return ClosedLoop(address, in_flight, made=even(asked, in_flight))
    return {"one by one, idle": OneByOne, "each with a question": Greeted}[way](address, in_flight)


def turn(server: EmbeddedServer, way: str, count: int, payload: bytes, seconds: float) -> dict[str, Any]:
    """One way, once. `threads`: shares of the busiest threads of the server, the instances' among them."""
    with connections(way, server, count) as loop:
        loop.run([payload], endless_order(1, 1), 0.5)
        before = ticks(server.pid)
        replies = loop.run([payload], endless_order(1, 2), seconds)
        spent = sorted((now - before.get(thread, 0) for thread, now in ticks(server.pid).items()), reverse=True)
    wrong = sum(reply.status != 200 for reply in replies)
    times = [reply.done_us - reply.sent_us for reply in replies]
    return {
        "requests_per_s": len(replies) / seconds, "wrong": wrong, "p99_ms": float(np.percentile(times, 99)) / 1000,
        "cores": sum(spent) / 100 / seconds, "threads": [round(one / 100 / seconds, 3) for one in spent[:16]],
    }  # fmt: skip


def summary(turns: list[Mapping[str, Any]]) -> dict[str, Any]:
    """Medians with their intervals, and every turn."""
    words = ("requests_per_s", "p99_ms", "cores")
    return {
        **{word: median([one[word] for one in turns]) for word in words},
        "busiest_thread_cores": median([one["threads"][0] for one in turns]), "turns": turns,
    }  # fmt: skip


HEAD = ("connections made", "requests/s", "p99, ms", "server's cores", "the busiest threads, cores")


def rows(found: Mapping[str, Any]) -> list[Sequence[str]]:
    """The table of the page: medians with their intervals; of the threads the three busiest."""
    table: list[Sequence[str]] = []
    for way, one in found["ways"].items():
        told = [_told(one[word], digits) for word, digits in (("requests_per_s", 0), ("p99_ms", 1), ("cores", 1))]
        busiest = [float(np.median([turn["threads"][place] for turn in one["turns"]])) for place in range(3)]
        table.append([way, *told, ", ".join(f"{share:.2f}" for share in busiest)])
    return table


def _told(value: Mapping[str, Any], digits: int) -> str:
    median_, low, high = (f"{value[word]:,.{digits}f}" for word in ("median", "low", "high"))
    return f"{median_} ({low} to {high})"


def main() -> None:
    """All ways in turns."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--out", type=Path, default=HERE / "http_threads.json")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="http-threads-") as name:
        version = Path(name) / "idle" / "1"
        version.mkdir(parents=True)
        (version / "model.py").write_text(ANSWERS_ALONE)
        (version.parent / "config.pbtxt").write_text(CONFIG)
        needs = ServerNeeds(python_instances=INSTANCES, shm_default_bytes=64 << 20, http_threads=HTTP_THREADS)
        with EmbeddedServer(Path(name), needs) as server:
            image = np.random.default_rng(1).integers(0, 256, (1, *IMAGE), np.uint8)
            payload = request(server.http_address, "idle", {"image": ("UINT8", image)})
            seen: dict[str, list[Mapping[str, Any]]] = {way: [] for way in WAYS}
            for _, way in rounds(list(WAYS), ROUNDS, 1):
                seen[way].append(turn(server, way, options.connections, payload, options.seconds))
    if wrong := sum(one["wrong"] for turns in seen.values() for one in turns):
        raise SystemExit(f"{wrong} answers were no answers")
    found = {
        "machine": machine(), "connections": options.connections, "http_threads": HTTP_THREADS,
        "ways": {way: summary(turns) for way, turns in seen.items()},
    }  # fmt: skip
    options.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    if options.out == HERE / "http_threads.json":
        put_table("http_threads", HEAD, rows(found))
    for way, one in found["ways"].items():
        rate, busiest, cores = (one[word]["median"] for word in ("requests_per_s", "busiest_thread_cores", "cores"))
        print(f"{way:20} {rate:7.0f}/s, the busiest thread {busiest:.2f} of {cores:.2f} cores")


if __name__ == "__main__":
    main()
