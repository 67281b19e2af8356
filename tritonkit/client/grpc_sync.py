"""gRPC for ordinary code, on tritonclient.grpc."""

from __future__ import annotations

import heapq
import itertools
import queue
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

from tritonkit.client.errors import ItemError
from tritonkit.client.exchange import Options, Reply
from tritonkit.client.threaded import CLOSED, Job, ThreadedTransport
from tritonkit.client.values import Array, infer_inputs
from tritonkit.client.wire import grpc_channel, grpc_config, grpc_fault, names_in


class GrpcTransport(ThreadedTransport):
    """The thread begins calls; gRPC's own threads bring the answers."""

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self._paused: list[tuple[float, int, Job]] = []  # a heap of what is tried again, the thread's own
        self._numbers = itertools.count()

    def config(self) -> Mapping[str, Any] | ItemError:
        """The model's configuration as JSON."""

        def work(client: Any, job: Job) -> None:
            limit_s = job.course.left_s
            job.reply(client.get_model_config(self._name, self._version, as_json=True, client_timeout=limit_s))

        reply = self._call(work)
        return reply if isinstance(reply, ItemError) else grpc_config(reply)

    def models(self) -> list[str]:
        """Names of the server's models; none if it does not tell."""

        def work(client: Any, job: Job) -> None:
            job.reply(client.get_inference_statistics(as_json=True, client_timeout=job.course.left_s))

        statistics = self._call(work)
        return [] if isinstance(statistics, ItemError) else names_in(statistics.get("model_stats", ()))

    def metadata(self) -> Mapping[str, Any]:
        """What the server says of the model to everybody; empty if it does not tell."""

        def work(client: Any, job: Job) -> None:
            job.reply(client.get_model_metadata(self._name, as_json=True, client_timeout=job.course.left_s))

        found: Mapping[str, Any] | ItemError = self._call(work)
        return {} if isinstance(found, ItemError) else found

    def send(self, arrays: Mapping[str, Array], done: Callable[[Reply, int], None]) -> Callable[[], None]:
        """Sends one request; `done` is called once, in a thread of gRPC."""

        def work(client: Any, job: Job) -> Any:
            def callback(result: Any, error: InferenceServerException | None) -> None:
                if error is None:
                    job.reply(result)
                else:
                    self._failed(job, grpc_fault(error, self._deadline_s))

            inputs = infer_inputs(triton.InferInput, arrays)
            limit_s = job.course.left_s
            return client.async_infer(
                self._name, inputs, callback, model_version=self._version, client_timeout=limit_s
            )

        course = self._retries.course()
        return self._post(Job(work, lambda reply: done(reply, course.attempts), course))

    def _run(self, started: threading.Event) -> None:
        client = triton.InferenceServerClient(self._address, channel_args=grpc_channel(self._address))
        started.set()
        while (job := self._next()) is not None:
            if job.cancelled:
                if job.handle is not None:
                    job.handle.cancel()
            elif job.due_s > time.monotonic():
                heapq.heappush(self._paused, (job.due_s, next(self._numbers), job))
            else:
                self._begin(client, job)
        client.close()
        for _, _, job in self._paused:
            job.reply(CLOSED)

    def _next(self) -> Job | None:
        """What is posted, or what was paused for long enough; None once it is closed."""
        try:
            if not self._paused:
                return self._inbox.get()
            return self._inbox.get(timeout=max(0.0, self._paused[0][0] - time.monotonic()))
        except queue.Empty:
            return heapq.heappop(self._paused)[2]

    def _failed(self, job: Job, error: ItemError) -> None:
        """Tries it again after a pause, or gives the error as the reply. In any thread."""
        pause_s = None if job.cancelled else job.course.pause_s(error)
        if pause_s is None:
            job.reply(error)
            return
        job.due_s = time.monotonic() + pause_s
        with self._lock:
            if not self._closed:
                self._put(job)
                return
        job.reply(CLOSED)

    def _begin(self, client: Any, job: Job) -> None:
        try:
            job.handle = job.work(client, job)
        except InferenceServerException as error:
            self._failed(job, grpc_fault(error, self._deadline_s))
        except Exception as error:  # noqa: BLE001 - whatever breaks is this request's error, not the thread's end
            job.reply(ItemError("internal", f"the client failed: {error!r}", repr(error)))
