"""How FastAPI behind uvicorn is started: two workers, uvloop and httptools, no access log."""

from __future__ import annotations

import json
import os
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import psutil

from loadtest.raw_http import ClosedLoop, Reply, post
from photos_systems.served import Running
from photos_systems.work import Answers, Photos

WORKERS = 2
_READY_S, _END_S = 30.0, 10.0


def fastapi(model: Path, photos: Photos) -> Callable[[ExitStack], Running]:
    """How to start it with an ONNX file."""

    def start(stack: ExitStack) -> Running:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        process = subprocess.Popen(
            [
                sys.executable, "-m", "uvicorn", "photos_systems.web_app:app", "--fd", str(listener.fileno()),
                "--workers", str(WORKERS), "--loop", "uvloop", "--http", "httptools", "--no-access-log",
                "--log-level", "warning",
            ],
            cwd=Path(__file__).parents[1],
            env={**os.environ, "PHOTOS_ONNX": str(model)},
            pass_fds=[listener.fileno()],
        )  # fmt: skip
        stack.callback(_end, process)
        workers = _wait_for_workers(process, address, post(address, "/photos", photos.files[0]))

        def request(items: Sequence[int]) -> bytes:
            if len(items) == 1:
                return post(address, "/photos", photos.files[items[0]])
            files = [photos.files[item] for item in items]
            return post(address, "/photos/several", b"".join(struct.pack("<I", len(f)) + f for f in files))

        groups = {"supervisor": [process.pid], **{f"worker {n}": [pid] for n, pid in enumerate(workers, 1)}}
        return Running(address, request, _answers, groups, has_statistics=False)

    return start


def _wait_for_workers(process: subprocess.Popen[bytes], address: str, request: bytes) -> list[int]:
    """Their process ids, once every one of them has answered: both listen on the same socket."""
    deadline = time.monotonic() + _READY_S
    while time.monotonic() < deadline and process.poll() is None:
        with ClosedLoop(address, 2 * WORKERS) as loop:
            loop.run([request], [0] * 8 * WORKERS, _READY_S)
        children = psutil.Process(process.pid).children()
        workers = [child for child in children if "spawn_main" in " ".join(child.cmdline())]
        if len(workers) == WORKERS and all(_has_listened(worker) for worker in workers):
            return [worker.pid for worker in workers]
    raise RuntimeError("uvicorn's workers did not start")


def _has_listened(worker: psutil.Process) -> bool:
    """Whether its application is loaded: then it holds a session's memory."""
    return any("onnxruntime" in region.path for region in worker.memory_maps())


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_END_S)
    except subprocess.TimeoutExpired:
        for child in psutil.Process(process.pid).children(recursive=True):
            child.kill()
        process.kill()
        process.wait()


def _answers(reply: Reply) -> Answers:
    if reply.status != 200:
        raise ValueError(f"status {reply.status}: {reply.body.decode(errors='replace')}")
    found = json.loads(reply.body)
    return Answers(np.array(found["label"], np.int64), np.array(found["score"], np.float32))
