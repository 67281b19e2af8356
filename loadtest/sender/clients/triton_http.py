"""tritonclient over HTTP, as an application uses it: a client a thread, because it is not thread-safe."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Sequence
from typing import Any

from loadtest.samples.record import Outcome
from loadtest.sender.clients.base import Work
from loadtest.sender.clients.threaded import Threaded, connected
from loadtest.sender.clients.triton_inputs import failure_of, inputs_of

THREADS_BEFORE, MOST_THREADS = 8, 128
_LEAVE_S = 2.0


class TritonHttp(Threaded):
    """A `Client`. `requests`: pipeline → each of its payloads as a serialized ModelInferRequest.

    Each thread has one connection and one request in flight; there are as many as there may be connections, and no
    more than MOST_THREADS.
    """

    def __init__(self, work: Work, requests: Sequence[Sequence[bytes]]) -> None:
        super().__init__(work)
        import tritonclient.http as triton

        self._inputs = [[inputs_of(request, triton) for request in each] for each in requests]
        orders = work.orders
        self._options: dict[str, Any] = {
            "priority": orders.priority, "timeout": orders.server_timeout_us or None,
            "headers": orders.headers or None,
        }  # fmt: skip
        self._most = min(orders.connections, MOST_THREADS)
        self._to_send: queue.SimpleQueue[tuple[int, int] | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []

    @property
    def most_in_flight(self) -> int:
        """One on each thread's connection."""
        return self._most

    def open(self) -> None:
        """Starts the first threads. Raises OSError when the server cannot be reached."""
        client = self._new_client()
        connected(client.is_server_live)
        client.close()
        for _ in range(min(THREADS_BEFORE, self._most)):
            self._start_thread()

    def send(self, index: int) -> None:
        """Hands it to a thread that is idle, to a new one, or to the first that will be."""
        self.in_flight += 1
        self._taken_ns[index] = now_ns = self._now_ns()
        waits_from_ns = 0
        if self.in_flight > len(self._threads):
            if len(self._threads) < self._most:
                self._start_thread()
            else:
                self.waited_for_connection += 1
                waits_from_ns = now_ns
        self._to_send.put((index, waits_from_ns))

    def expire(self, now_ns: int) -> None:
        """The clients keep the deadlines."""

    def close(self) -> None:
        """Ends the threads; one whose request is not answered is left behind."""
        for _ in self._threads:
            self._to_send.put(None)
        for thread in self._threads:
            thread.join(0 if self.in_flight else _LEAVE_S)

    def _start_thread(self) -> None:
        thread = threading.Thread(target=self._work_off, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _work_off(self) -> None:
        """In a thread of its own."""
        work, client = self._work, None
        while (told := self._to_send.get()) is not None:
            index, waits_from_ns = told
            # Of one that found a thread, how late that thread began is the sender's lag.
            sent_ns = waits_from_ns or self._now_ns()
            answer: Any = None
            try:
                if self._left_s(index) <= 0:
                    raise TimeoutError
                client = client or self._new_client()
                pipeline = work.pipeline[index]
                tensors = self._inputs[pipeline][work.payload[index]]
                answer = client.infer(work.orders.pipelines[pipeline], tensors, **self._options)
            except Exception as error:  # noqa: BLE001  (whatever it is, the request has failed)
                answer = error
                if client and failure_of(error)[0] is not Outcome.REFUSED:  # the connection is done for
                    with contextlib.suppress(Exception):
                        client.close()
                    client = None
            self.finished.append((index, sent_ns, self._now_ns(), answer))
        if client:
            client.close()

    def _new_client(self) -> Any:
        import tritonclient.http as triton

        self.connections_opened += 1
        deadline_s = self._deadline_ns / 1e9
        return triton.InferenceServerClient(
            self._work.orders.address, connection_timeout=deadline_s, network_timeout=deadline_s
        )
