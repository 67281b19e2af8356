"""HTTP for ordinary code: tritonclient.http in one thread of its own.

tritonclient's HTTP client runs on gevent and may not be shared between threads. So one thread owns the event loop
and all clients, with a greenlet a request; callers only put jobs into its inbox. A client whose request failed
half-way is thrown away with its connection.
"""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import threading
from collections.abc import Callable, Mapping
from typing import Any

import gevent
import gevent.event
import tritonclient.http as triton
from geventhttpclient.response import HTTPParseError
from tritonclient.utils import InferenceServerException

from tritonkit.client.errors import ItemError, PipelineError
from tritonkit.client.exchange import Reply
from tritonkit.client.values import Array, infer_inputs
from tritonkit.client.wire import http_fault, names_in

# Sockets give up at the deadline by themselves; this much later the request is ended whatever it does.
_GRACE_S = 0.1


class _Job:
    """Work for the thread: `done` gets what `work` returns, or the ItemError of its failure, once."""

    def __init__(self, work: Callable[[Any], Any], done: Callable[[Any], None]) -> None:
        self.work, self._done = work, done
        self.greenlet: Any = None
        self.cancelled = self._replied = False

    def reply(self, value: object) -> None:
        """Hands the value on, the first time."""
        if not self._replied:
            self._replied = True
            self._done(value)


class HttpTransport:
    """Safe to use from several threads; its own thread starts with the first request."""

    def __init__(self, name: str, address: str, deadline_s: float) -> None:
        self._name, self._address, self._deadline_s = name, address, deadline_s
        self._lock = threading.Lock()
        self._inbox: collections.deque[_Job] = collections.deque()
        self._thread: threading.Thread | None = None
        self._wake: Any = None  # gevent's async watcher: its send() may be called from any thread
        self._closed = False
        self._idle: list[Any] = []

    def config(self) -> Mapping[str, Any] | ItemError:
        """The model's configuration as JSON."""
        reply: Mapping[str, Any] | ItemError = self._call(lambda client: client.get_model_config(self._name))
        return reply

    def models(self) -> list[str]:
        """Names of the server's models; none if it does not tell."""
        index = self._call(lambda client: client.get_model_repository_index())
        return [] if isinstance(index, ItemError) else names_in(index)

    def send(self, arrays: Mapping[str, Array], done: Callable[[Reply], None]) -> Callable[[], None]:
        """Sends one request; `done` is called once, in the transport's thread."""
        inputs = infer_inputs(triton.InferInput, arrays)
        job = _Job(lambda client: client.infer(self._name, inputs), done)
        self._post(job)

        def cancel() -> None:
            job.cancelled = True
            with contextlib.suppress(PipelineError):
                self._post(job)

        return cancel

    def close(self) -> None:
        """Ends all requests, connections and the thread."""
        with self._lock:
            self._closed = True
            if self._wake is not None:
                self._wake.send()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()

    def _call(self, work: Callable[[Any], Any]) -> Any:
        future: concurrent.futures.Future[Any] = concurrent.futures.Future()
        self._post(_Job(work, future.set_result))
        return future.result()

    def _post(self, job: _Job) -> None:
        with self._lock:
            if self._closed:
                raise PipelineError(f"this Pipeline of {self._name!r} was closed")
            if self._thread is None:
                started = threading.Event()
                self._thread = threading.Thread(target=self._run, args=(started,), name="tritonkit-http", daemon=True)
                self._thread.start()
                started.wait()
            self._inbox.append(job)
            self._wake.send()

    def _run(self, started: threading.Event) -> None:
        hub = gevent.get_hub()
        woken = gevent.event.Event()
        wake = hub.loop.async_()
        wake.start(woken.set)
        self._wake = wake
        started.set()
        running: dict[Any, _Job] = {}
        while not self._closed:
            woken.wait()
            woken.clear()
            while self._inbox:
                self._begin_or_cancel(self._inbox.popleft(), running)
        jobs = list(running.values())
        gevent.killall(list(running))
        for job in jobs:
            job.reply(ItemError("cancelled", "the client was closed"))
        while self._idle:
            self._idle.pop().close()
        with self._lock:  # nobody may wake a loop that is gone
            self._wake = None
            wake.stop()
            wake.close()
        hub.destroy(destroy_loop=True)

    def _begin_or_cancel(self, job: _Job, running: dict[Any, _Job]) -> None:
        if job.greenlet is not None:
            job.greenlet.kill(block=False)
        elif not job.cancelled:
            job.greenlet = gevent.spawn(self._serve, job)
            running[job.greenlet] = job
            job.greenlet.link(running.pop)

    def _serve(self, job: _Job) -> None:
        client = self._idle.pop() if self._idle else self._new_client()
        reusable = False
        try:
            with gevent.Timeout(self._deadline_s + _GRACE_S):
                reply = job.work(client)
            reusable = True
        except gevent.Timeout:
            reply = http_fault(TimeoutError(), self._deadline_s, ())
        except Exception as error:  # noqa: BLE001 - whatever breaks is this request's error, not the thread's end
            reusable = isinstance(error, InferenceServerException)  # the answer was read to its end
            reply = http_fault(error, self._deadline_s, (HTTPParseError,))
        finally:
            if reusable:
                self._idle.append(client)
            else:
                client.close()
        job.reply(reply)

    def _new_client(self) -> Any:
        limit_s = self._deadline_s
        return triton.InferenceServerClient(self._address, connection_timeout=limit_s, network_timeout=limit_s)
