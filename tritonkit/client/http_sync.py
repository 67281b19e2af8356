"""HTTP for ordinary code, on tritonclient.http, which runs on gevent: a greenlet a request in one thread.

A client whose request failed half-way is thrown away with its connection.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Mapping
from typing import Any

import gevent
import gevent.event
import tritonclient.http as triton
from geventhttpclient.response import HTTPParseError
from tritonclient.utils import InferenceServerException

from tritonkit.client.errors import ItemError
from tritonkit.client.exchange import Options, Reply
from tritonkit.client.threaded import CLOSED, Job, ThreadedTransport
from tritonkit.client.values import Array, infer_inputs
from tritonkit.client.wire import http_fault, names_in

# Sockets give up at the deadline by themselves; this much later the request is ended whatever it does.
_GRACE_S = 0.1


class HttpTransport(ThreadedTransport):
    """The thread owns gevent's event loop and all clients."""

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self._wake: Any = None  # gevent's async watcher: its send() may be called from any thread
        self._idle: list[Any] = []

    def config(self) -> Mapping[str, Any] | ItemError:
        """The model's configuration as JSON."""
        reply: Mapping[str, Any] | ItemError = self._call(
            lambda client: client.get_model_config(self._name, self._version)
        )
        return reply

    def models(self) -> list[str]:
        """Names of the server's models; none if it does not tell."""
        statistics = self._call(lambda client: client.get_inference_statistics())
        return [] if isinstance(statistics, ItemError) else names_in(statistics.get("model_stats", ()))

    def metadata(self) -> Mapping[str, Any]:
        """What the server says of the model to everybody; empty if it does not tell."""
        found: Mapping[str, Any] | ItemError = self._call(lambda client: client.get_model_metadata(self._name))
        return {} if isinstance(found, ItemError) else found

    def send(self, arrays: Mapping[str, Array], done: Callable[[Reply, int], None]) -> Callable[[], None]:
        """Sends one request; `done` is called once, in the transport's thread."""
        inputs = infer_inputs(triton.InferInput, arrays)
        course = self._retries.course()

        def work(client: Any) -> Any:
            return client.infer(self._name, inputs, self._version)

        return self._post(Job(work, lambda reply: done(reply, course.attempts), course))

    def _put(self, job: Job | None) -> None:
        super()._put(job)
        if self._wake is not None:
            self._wake.send()

    def _run(self, started: threading.Event) -> None:
        hub = gevent.get_hub()
        woken = gevent.event.Event()
        wake = hub.loop.async_()
        wake.start(woken.set)
        self._wake = wake
        started.set()
        running: dict[Any, Job] = {}
        while self._take_all(running):
            woken.wait()
            woken.clear()
        jobs = list(running.values())
        gevent.killall(list(running))
        for job in jobs:
            job.reply(CLOSED)
        while self._idle:
            self._idle.pop().close()
        with self._lock:  # nobody may wake a loop that is gone
            self._wake = None
            wake.stop()
            wake.close()
        hub.destroy(destroy_loop=True)

    def _take_all(self, running: dict[Any, Job]) -> bool:
        """Begins or cancels what is in the inbox; False once it is closed."""
        with contextlib.suppress(queue.Empty):
            while (job := self._inbox.get_nowait()) is not None:
                self._begin_or_cancel(job, running)
            return False
        return True

    def _begin_or_cancel(self, job: Job, running: dict[Any, Job]) -> None:
        if job.handle is not None:
            job.handle.kill(block=False)
        elif not job.cancelled:
            job.handle = gevent.spawn(self._serve, job)
            running[job.handle] = job
            job.handle.link(running.pop)

    def _serve(self, job: Job) -> None:
        while (pause_s := job.course.pause_s(reply := self._asked(job))) is not None:
            gevent.sleep(pause_s)
        job.reply(reply)

    def _asked(self, job: Job) -> Any:
        client = self._idle.pop() if self._idle else self._new_client()
        reusable = False
        try:
            # Not gevent's own exception: a request that ends by that while it is sent leaves its socket open.
            with gevent.Timeout(job.course.left_s + _GRACE_S, TimeoutError()):
                reply = job.work(client)
            reusable = True
        except Exception as error:  # noqa: BLE001 - whatever breaks is this request's error, not the thread's end
            reusable = isinstance(error, InferenceServerException)  # the answer was read to its end
            reply = http_fault(error, self._deadline_s, (HTTPParseError,))
        finally:
            if reusable:
                self._idle.append(client)
            else:
                client.close()
        return reply

    def _new_client(self) -> Any:
        limit_s = self._deadline_s
        return triton.InferenceServerClient(self._address, connection_timeout=limit_s, network_timeout=limit_s)
