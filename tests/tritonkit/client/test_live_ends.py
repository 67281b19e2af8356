"""Servers that stop or die, and programs that are interrupted or just end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tritonkit import Answer, Pipeline, ServerUnreachableError

pytestmark = pytest.mark.server

SLOW = np.array([0.2], np.float32)


def test_a_stopped_server_costs_one_deadline_and_a_killed_one_the_rest(own_server: Any) -> None:
    pipelines = [
        Pipeline("slow", own_server.addresses[protocol], protocol=protocol, deadline_s=5, in_flight=4)
        for protocol in ("grpc", "http")
    ]
    stopped = [
        Pipeline("slow", own_server.addresses[protocol], protocol=protocol, deadline_s=0.5)
        for protocol in ("grpc", "http")
    ]
    assert all(p.infer_one(SLOW).ok for p in pipelines + stopped)
    os.kill(own_server.pid, signal.SIGSTOP)
    for pipeline in stopped:
        start = time.monotonic()
        codes = {a.error.code for a in pipeline.infer([SLOW] * 3) if a.error}
        assert codes == {"deadline_exceeded"}
        assert time.monotonic() - start < 1.5
    os.kill(own_server.pid, signal.SIGCONT)

    found: dict[int, list[Answer]] = {}
    both_answered = threading.Barrier(2, action=own_server.kill, timeout=60)

    def use(number: int) -> None:
        found[number] = pipelines[number].infer(items_around(both_answered))

    threads = [threading.Thread(target=use, args=(number,)) for number in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for answers in found.values():
        assert answers[0].ok
        codes = {a.error.code for a in answers if a.error}
        assert codes == {"unreachable"}
        assert [a.index for a in answers] == list(range(len(answers)))
    for pipeline in pipelines:
        # gRPC, told of the loss a moment ago, may still give that as its reason.
        with pytest.raises(ServerUnreachableError, match=r"connection refused|the connection was lost"):
            pipeline.infer([SLOW] * 3)
    for pipeline in pipelines + stopped:
        pipeline.close()


def items_around(death: threading.Barrier) -> Iterator[Any]:
    """Some items that are answered, then the server's death, then some more."""
    for i in range(30):
        if i == 8:
            death.wait()
        yield SLOW


PROGRAMS = {
    "sync": """
        import numpy as np
        from tritonkit import Pipeline
        pipeline = Pipeline("slow", {address!r}, protocol={protocol!r}, deadline_s=60)
        def items():
            yield np.array([0], np.float32)
            yield np.array([0], np.float32)
            print("begun", flush=True)
            while True:
                yield np.array([{seconds}], np.float32)
        if {seconds}:
            pipeline.infer(items())
        else:
            print(pipeline.infer_one(np.array([0], np.float32)).ok, flush=True)
        """,
    "async": """
        import asyncio
        import numpy as np
        from tritonkit import AsyncPipeline
        def items():
            yield np.array([0], np.float32)
            print("begun", flush=True)
            while True:
                yield np.array([{seconds}], np.float32)
        async def main():
            async with AsyncPipeline("slow", {address!r}, protocol={protocol!r}, deadline_s=60) as pipeline:
                if {seconds}:
                    await pipeline.infer(items())
                else:
                    print((await pipeline.infer_one(np.array([0], np.float32))).ok, flush=True)
        asyncio.run(main())
        """,
}


def program(style: str, address: str, protocol: str, seconds: float) -> list[str]:
    code = textwrap.dedent(PROGRAMS[style]).format(address=address, protocol=protocol, seconds=seconds)
    return [sys.executable, "-X", "dev", "-c", code]


@pytest.mark.parametrize("style", list(PROGRAMS))
@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_a_program_that_just_ends_prints_nothing_of_its_own(server: Any, style: str, protocol: str) -> None:
    argv = program(style, server.addresses[protocol], protocol, 0)
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    noise = [line for line in done.stderr.splitlines() if not line.startswith("Executing <")]  # asyncio's dev mode
    assert (done.returncode, done.stdout, noise) == (0, "True\n", [])


@pytest.mark.parametrize("style", list(PROGRAMS))
@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_ctrl_c_ends_promptly_and_quietly(own_server: Any, style: str, protocol: str) -> None:
    argv = program(style, own_server.addresses[protocol], protocol, 30)
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    start = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert time.monotonic() - start < 5
    lines = [line for line in stderr.splitlines() if not line.startswith("Executing <")]
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[-1] == "KeyboardInterrupt"
    assert "Warning" not in stderr
    assert process.returncode == -signal.SIGINT
