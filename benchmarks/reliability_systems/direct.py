"""gRPC clients without a proxy: they balance over the pods by the Service's name; the pods tell them to move."""

from __future__ import annotations

import asyncio
import re
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass
from typing import Any

import numpy as np
import tritonclient.grpc.aio as triton
from tritonclient.utils import InferenceServerException

from generator.gate_set import read_gate_set
from generator.plan import Plan
from tritonkit import Answer, AsyncPipeline, Contract, Retry
from tritonkit.client.values import Item, encode, infer_inputs
from tritonkit.client.wire import grpc_fault

from .load import DEADLINE_S, ROOT, Traffic

CLIENTS = 4
Way = Callable[[Item], Coroutine[Any, Any, Answer]]
_SUCCESS = re.compile(r'nv_inference_request_success\{model="digits".*\} (\d+)')


@dataclass(frozen=True)
class Calls:
    """What became of the calls: when each was due (seconds), and its answer."""

    due_s: list[float]
    answers: list[Answer]

    def told(self) -> dict[str, Any]:
        """Counts, for a result."""
        errors = Counter(answer.error.message for answer in self.answers if answer.error is not None)
        lost = [due for due, answer in zip(self.due_s, self.answers, strict=True) if not answer.ok]
        return {
            "requests": len(self.answers), "lost": len(lost), "errors": dict(errors),
            "sent_again": sum(answer.attempts > 1 for answer in self.answers),
            "p99_ms": float(np.percentile([answer.latency_us for answer in self.answers], 99)) / 1000,
            "lost_at_s": [round(due, 2) for due in lost[:20]],
        }  # fmt: skip


class Calling:
    """Open-loop calls from a thread of their own; a context manager that waits for them to end.

    `lookup_ms` None: through our own client, which sends again as `retry` says. Else: through `tritonclient` with
    balancing turned on and so long between two look-ups of the name, which is 30,000 by default.
    """

    def __init__(
        self, plan: Plan, target: str, traffic: Traffic, *, retry: Retry | None, lookup_ms: int | None
    ) -> None:
        self._items = read_gate_set(ROOT / "data" / "digits-gate.npz", plan.inputs).items
        self._contract, self._target, self._retry, self._lookup_ms = Contract.of_plan(plan), target, retry, lookup_ms
        count = round(traffic.rate_rps * traffic.duration_s)
        pauses_s = np.random.default_rng(traffic.seed).exponential(1 / traffic.rate_rps, count)
        self._due_s = np.cumsum(pauses_s)
        self._answers: list[Answer] = []
        self._failure: BaseException | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Calling:
        self.began = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    @property
    def seconds(self) -> float:
        """Since the first call could be due."""
        return time.monotonic() - self.began

    def finish(self, *, until_the_end: bool = False) -> Calls:
        """Begins no more calls, or all that are left, and waits until they have ended. Raises what clients raised."""
        if not until_the_end:
            self._ended.set()
        self._thread.join()
        if self._failure is not None:
            raise self._failure
        return Calls(self._due_s.tolist()[: len(self._answers)], self._answers)

    def _run(self) -> None:
        try:
            self._answers = asyncio.run(self._call())
        except BaseException as error:  # noqa: BLE001 - raised again where the answers are asked for
            self._failure = error

    async def _call(self) -> list[Answer]:
        make = self._ours if self._lookup_ms is None else self._plain
        async with AsyncExitStack() as stack:
            ways = [await make(stack) for _ in range(CLIENTS)]
            calls: list[asyncio.Task[Answer]] = []
            for number, due_s in enumerate(self._due_s):
                await asyncio.sleep(max(0.0, due_s - self.seconds))
                if self._ended.is_set():
                    break
                item = self._items[number % len(self._items)]
                calls.append(asyncio.create_task(ways[number % CLIENTS](item)))
            return list(await asyncio.gather(*calls))

    async def _ours(self, stack: AsyncExitStack) -> Way:
        """`tritonkit.AsyncPipeline`: one stream of one item, since `infer` raises where no server was reached."""
        client = await stack.enter_async_context(
            AsyncPipeline("digits", self._target, deadline_s=DEADLINE_S, retry=self._retry)
        )
        await client.contract()

        async def call(item: Item) -> Answer:
            async with aclosing(client.stream([item])) as answers:
                return await anext(answers)

        return call

    async def _plain(self, stack: AsyncExitStack) -> Way:
        """`tritonclient.grpc.aio`, told to balance; an error is an answer's error."""
        settings = [
            ("grpc.lb_policy_name", "round_robin"),
            ("grpc.dns_min_time_between_resolutions_ms", self._lookup_ms),
            ("grpc.use_local_subchannel_pool", 1),
        ]
        client = triton.InferenceServerClient(self._target, channel_args=settings)
        stack.push_async_callback(client.close)
        await client.is_server_live()

        async def call(item: Item) -> Answer:
            inputs = infer_inputs(triton.InferInput, encode(self._contract, item))
            began = time.monotonic()
            error = None
            try:
                await client.infer("digits", inputs, client_timeout=DEADLINE_S)
            except InferenceServerException as fault:
                error = grpc_fault(fault, DEADLINE_S)
            return Answer(0, error=error, latency_us=round((time.monotonic() - began) * 1e6), attempts=1)

        return call


def answered_by(address: str, metrics_port: int) -> int:
    """How many requests of `digits` a pod has answered, from its metrics."""
    with urllib.request.urlopen(f"http://{address}:{metrics_port}/metrics", timeout=5) as reply:
        found = _SUCCESS.search(reply.read().decode())
    return int(found[1]) if found else 0
