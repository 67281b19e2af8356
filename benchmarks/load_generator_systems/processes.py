"""Responders, and the systems that are not ours: closed loops that send as fast as they are answered."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

HERE = Path(__file__).parent
CONNECTIONS = 64
_RATE = re.compile(r"Requests/sec:\s+([\d.]+)")
_WRK_SCRIPT = """
local file = io.open("{body}", "rb")
wrk.method, wrk.body = "POST", file:read("*a")
wrk.headers["Content-Type"] = "application/octet-stream"
"""


@contextmanager
def responders(protocol: str, count: int) -> Iterator[list[str]]:
    """The addresses of so many, each a process of its own."""
    with ExitStack() as stack:
        addresses = []
        for _ in range(count):
            process = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, str(HERE / "responder.py"), protocol],
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                )
            )  # fmt: skip
            assert process.stdin  # noqa: S101
            assert process.stdout  # noqa: S101
            stack.callback(process.stdin.close)
            addresses.append(f"127.0.0.1:{process.stdout.readline().strip()}")
        yield addresses


def wrk(addresses: Sequence[str], body: Path, seconds: float) -> float:
    """Requests a second of one wrk with one thread for each address."""
    script = body.with_name("body.lua")
    script.write_text(_WRK_SCRIPT.format(body=body))
    commands = [
        [
            "wrk",
            "-t1",
            f"-c{CONNECTIONS}",
            f"-d{seconds:.0f}s",
            f"-s{script}",
            f"http://{address}/v2/models/model/infer",
        ]
        for address in addresses
    ]
    return sum(float(_RATE.findall(told)[0]) for told in _all(commands, body))


def locust(addresses: Sequence[str], body: Path, seconds: float, user: str) -> float:
    """Requests a second of one Locust process for each address."""
    commands = [
        [str(Path(sys.executable).with_name("locust")), "-f", str(HERE / "locust_users.py"), "--headless", "--json",
         "--users", str(CONNECTIONS), "--spawn-rate", "1000", "--run-time", f"{seconds:.0f}s", "--stop-timeout", "1",
         "--host", f"http://{address}", "--loglevel", "ERROR", user]
        for address in addresses
    ]  # fmt: skip
    rates = []
    for told in _all(commands, body):
        [entry] = json.loads(told)
        if entry["num_failures"]:
            raise SystemExit(f"Locust failed: {entry}")
        rates.append(int(entry["num_requests"]) / float(entry["last_request_timestamp"] - entry["start_time"]))
    return float(sum(rates))


def _all(commands: Sequence[Sequence[str]], body: Path) -> list[str]:
    """What they print, run at the same time."""
    environment = {**os.environ, "BODY_FILE": str(body)}
    started = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment)
        for command in commands
    ]
    told = [process.communicate()[0] for process in started]
    for process, command in zip(started, commands, strict=True):
        if process.returncode:
            raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return told
