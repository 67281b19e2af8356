"""The bound: the pipeline's own code in two processes, no server, no network, fed from memory in batches of eight."""

from __future__ import annotations

import itertools
import multiprocessing
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from generator.engine import Alone
from generator.plan import Plan
from loadtest.turns import endless_order
from photos_systems.work import MODES, Answers, Done, Mode, Photos, Slice

PROCESSES = 2
BATCH = 8  # of 1, 4, 8, 16 and 32 the size that takes the least CPU an image
_HEAD_START_S = 0.05


class Bound:
    """Two processes that each run whole batches of the pipeline, with nothing in between."""

    name = "bound"
    modes: tuple[Mode, ...] = MODES

    def __init__(self, plan: Plan, files: dict[str, bytes], photos: Photos, expected: Answers) -> None:
        self._parts = (plan.name, files, photos)
        self._plan, self._expected = plan, expected
        self._workers: list[tuple[Any, Connection]] = []

    def expected(self) -> Answers:
        """As everywhere."""
        return self._expected

    def __enter__(self) -> Bound:
        context = multiprocessing.get_context("spawn")
        _, files, photos = self._parts
        for number in range(PROCESSES):
            ours, theirs = context.Pipe()
            worker = context.Process(target=_work, args=(theirs, number, self._plan, files, photos), daemon=True)
            worker.start()
            theirs.close()
            self._workers.append((worker, ours))
        for _, connection in self._workers:
            connection.recv()  # it is warm
        return self

    def __exit__(self, *_: object) -> None:
        for worker, connection in self._workers:
            connection.close()
            worker.join()
        self._workers.clear()

    def measure(self, mode: Mode, seconds: float, seed: int) -> Slice:
        """Both processes share one order of requests, each takes every other batch."""
        task = _Task(mode, seconds, seed, time.perf_counter() + _HEAD_START_S)
        for _, connection in self._workers:
            connection.send(task)
        done: list[Done] = []
        cpu = 0.0
        for _, connection in self._workers:
            found, used = connection.recv()
            done += found
            cpu += used
        return Slice(done, seconds, {"processes": cpu}, 0.0, {"processes": float(max(BATCH, mode.images))})


def _work(connection: Connection, number: int, plan: Plan, files: dict[str, bytes], photos: Photos) -> None:
    with Alone(plan, files) as pipeline:
        for _ in range(2):
            pipeline.run({"image": photos.column(range(BATCH))})
        connection.send(None)
        while True:
            try:
                task = connection.recv()
            except EOFError:
                return
            connection.send(_run(pipeline, photos, task, number))


@dataclass(frozen=True)
class _Task:
    """A slice, as both processes are told of it. `start` is on the monotonic clock."""

    mode: Mode
    seconds: float
    seed: int
    start: float


def _run(pipeline: Alone, photos: Photos, task: _Task, number: int) -> tuple[list[Done], float]:
    """Every other batch of requests until the time is over; what was done, and the CPU seconds it took."""
    mode, seconds, seed, start = task.mode, task.seconds, task.seed, task.start
    requests = photos.requests(mode)
    order = endless_order(len(requests), seed)
    together = max(1, BATCH // mode.images)
    done: list[tuple[list[int], float, float, Any]] = []
    while time.perf_counter() < start:
        time.sleep(0.001)
    used = time.process_time()
    for turn in itertools.count():
        batch = [next(order) for _ in range(together)]
        if turn % PROCESSES != number:
            continue
        began = time.perf_counter() - start
        if began >= seconds:
            break
        answer = pipeline.run({"image": photos.column([item for index in batch for item in requests[index]])})
        done.append((batch, began, time.perf_counter() - start, answer))
    used = time.process_time() - used
    return [reply for batch in done for reply in _replies(mode, *batch)], used


def _replies(mode: Mode, batch: list[int], began: float, ended: float, answer: Any) -> list[Done]:
    if answer.failed:
        raise RuntimeError(f"the bound failed: {answer.failed}")
    labels, scores = answer.outputs["label"], answer.outputs["score"]
    times = round(began * 1e6), round(ended * 1e6)
    rows = [slice(place * mode.images, (place + 1) * mode.images) for place in range(len(batch))]
    return [
        Done(request, *times, Answers(labels[part], scores[part])) for request, part in zip(batch, rows, strict=True)
    ]
