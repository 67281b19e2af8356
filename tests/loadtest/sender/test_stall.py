"""wrk2's experiment: a server that stands still for 1.4 s of 10 shows in p99 of an open loop, and not in a closed one."""

from __future__ import annotations

import itertools
import signal
import threading
from pathlib import Path

import numpy as np
from sender_tools import SmallServer, eventually, orders, payloads, samples_of, schedule, small_server

from loadtest.raw_http import ClosedLoop
from loadtest.sender.process import Sending

RATE_RPS, SECONDS, STALL_S = 500, 10, 1.4


def stall(server: SmallServer, over: threading.Event) -> None:
    server.signal(signal.SIGSTOP)
    over.wait(STALL_S)
    server.signal(signal.SIGCONT)


def p99_ms(latencies_us: object) -> float:
    return float(np.percentile(latencies_us, 99)) / 1000  # type: ignore[call-overload]


def test_a_stall_shows_where_it_must(tmp_path: Path) -> None:
    words, never = payloads(b"a"), threading.Event()
    with small_server("http") as server:
        arrivals = schedule([0] * RATE_RPS * SECONDS, RATE_RPS)
        told = orders(server.address, connections=1024)
        with Sending(told, arrivals, {"words": words}, tmp_path) as sending:
            sending.start()
            assert eventually(lambda: sending.progress()[0] >= 3 * RATE_RPS)
            stall(server, never)
            sending.wait(60)
        open_loop = samples_of(sending)

        [request] = words.http(server.address, "words")
        timer = threading.Timer(3, stall, (server, never))
        with ClosedLoop(server.address, 4) as loop:
            timer.start()
            closed = [reply.latency_us for reply in loop.run([request], itertools.repeat(0), SECONDS)]
        timer.join()

    assert max(closed) > STALL_S * 0.95e6  # the stall was there,
    assert p99_ms(closed) < 500  # and is hidden: only four requests have met it.
    assert p99_ms(open_loop["latency_us"]) > 1000
    # Of the same samples, counted from when they were sent: here nothing is late, so a late send hides nothing.
    assert len(open_loop) == RATE_RPS * SECONDS
