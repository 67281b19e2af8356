"""What samples cost: memory before they are sent and while they are kept, bytes on the disk, and time.

`python -m load_generator_systems.memory COUNT FOLDER` keeps so many, and prints what it took as JSON.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from load_generator_systems.ours import MODEL, requests
from loadtest.samples.file import SampleWriter
from loadtest.samples.record import Outcome
from loadtest.sender.ledger import Ledger
from loadtest.sender.orders import Orders
from loadtest.sender.process import Sending
from loadtest.traffic.schedule import Schedule

RATE_RPS, IN_FLIGHT, FLUSH = 10_000, 200, 2_000


def measure(count: int, folder: Path, address: str) -> dict[str, Any]:
    """Of a sender that has its schedule and only has to begin; then of one that keeps samples, without a network.

    Each is a process of its own: what it takes is its alone.
    """
    orders = Orders("http", "raw", address, (MODEL,), 1_000_000)
    with Sending(orders, schedule_of(count), {MODEL: requests()}, folder) as sending:
        sending.prepare()
        status = Path(f"/proc/{sending.pid}/status").read_text()
    ready_bytes = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")) * 1024
    done = subprocess.run(
        [sys.executable, "-m", "load_generator_systems.memory", str(count), str(folder)],
        cwd=Path(__file__).parents[1], capture_output=True, text=True, check=True,
    )  # fmt: skip
    return {"ready_bytes": ready_bytes, **json.loads(done.stdout)}


def schedule_of(count: int) -> Schedule:
    """So many arrivals at equal distances."""
    due_ns = np.arange(count, dtype=np.int64) * (10**9 // RATE_RPS)
    return Schedule(due_ns, np.zeros(count, np.uint8), np.zeros(count, np.uint32))


def main(count: int, folder: Path) -> None:
    """Samples that come in out of order, as many as are in flight at a time."""
    schedule = schedule_of(count)
    path = folder / "samples.bin"
    with SampleWriter(path, {}) as samples:
        ledger = Ledger(samples.append, schedule.due_ns.data, schedule.pipeline.data, schedule.payload.data)
        before, start = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
        for first in range(0, count, IN_FLIGHT):
            for index in reversed(range(first, min(first + IN_FLIGHT, count))):
                ledger.record(index, index * 100_000 + 20_000, index * 100_000 + 3_000_000, Outcome.OK, 200)
            if first % FLUSH == 0:
                ledger.flush()
        ledger.finish()
        seconds, after = time.monotonic() - start, resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps({
        "samples": count, "grown_bytes": (after.ru_maxrss - before.ru_maxrss) * 1024,
        "file_bytes": path.stat().st_size, "us_a_sample": seconds / count * 1e6,
    }))  # fmt: skip
    path.unlink()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
