"""What both sync transports share: one thread that alone touches the client library, and its inbox.

gevent's HTTP client may be used by one thread only. gRPC's may be shared, but Ctrl-C, which Python raises in the main
thread between any two instructions, would leave its books wrong and its channel impossible to close. So callers only
put jobs into an inbox and wait for replies.
"""

from __future__ import annotations

import abc
import contextlib
import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from tritonkit.client.errors import ItemError, PipelineError
from tritonkit.client.exchange import Options
from tritonkit.client.retry import Course, Retries

CLOSED = ItemError("cancelled", "the client was closed")
# Ctrl-C that comes just as a wait begins is noticed when the wait ends: no wait is longer than this.
_TURN_S = 0.2

T = TypeVar("T")


def take_from(replies: queue.SimpleQueue[T]) -> T:
    """The next reply; Ctrl-C is never missed."""
    while True:
        with contextlib.suppress(queue.Empty):
            return replies.get(timeout=_TURN_S)


class Job:
    """Work for the thread. `done` gets one reply: what came of it, or an ItemError.

    `handle` is what the thread needs to cancel it; None until it has begun. `due_s` is when it begins, of the
    monotonic clock: at once, unless it is tried again.
    """

    def __init__(self, work: Callable[..., Any], done: Callable[[Any], None], course: Course) -> None:
        self.work, self._done, self.course = work, done, course
        self.due_s = 0.0
        self.handle: Any = None
        self.cancelled = self._replied = False

    def reply(self, value: object) -> None:
        """Hands the value on, the first time."""
        if not self._replied:
            self._replied = True
            self._done(value)


class ThreadedTransport(abc.ABC):
    """The thread starts with the first job. Safe to use from several threads."""

    def __init__(self, options: Options) -> None:
        self._name, self._address, self._deadline_s = options.name, options.address, options.deadline_s
        self._retries = Retries(options.retry, options.deadline_s)
        self._version = options.version or ""  # as tritonclient says "the newest"
        self._inbox: queue.SimpleQueue[Job | None] = queue.SimpleQueue()  # None: the end
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = False

    def close(self) -> None:
        """Ends all requests, connections and the thread; may be called again."""
        with self._lock:
            if self._thread is not None and not self._closed:
                self._put(None)
            self._closed = True
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()

    @abc.abstractmethod
    def _run(self, started: threading.Event) -> None:
        """Sets `started`, then serves the inbox until None comes, and ends what is under way."""

    def _put(self, job: Job | None) -> None:
        """Called with the lock held."""
        self._inbox.put(job)

    def _post(self, job: Job) -> Callable[[], None]:
        """Hands a job to the thread; gives what cancels it."""
        with self._lock:
            if self._closed:
                raise PipelineError(f"this Pipeline of {self._name!r} was closed")
            if self._thread is None:
                started = threading.Event()
                self._thread = threading.Thread(target=self._main, args=(started,), name="tritonkit", daemon=True)
                self._thread.start()
                started.wait()
            self._put(job)

        def cancel() -> None:
            job.cancelled = True
            with self._lock:
                if not self._closed:
                    self._put(job)

        return cancel

    def _call(self, work: Callable[..., Any]) -> Any:
        """Runs a job to its end and gives its reply."""
        replies: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._post(Job(work, replies.put, self._retries.course()))
        return take_from(replies)

    def _main(self, started: threading.Event) -> None:
        try:
            self._run(started)
        finally:
            with contextlib.suppress(queue.Empty):
                while True:
                    if (job := self._inbox.get_nowait()) is not None:
                        job.reply(CLOSED)
