"""tritonclient over gRPC, as an application uses it: `async_infer` on one channel."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

from loadtest.sender.clients.base import CANCEL_AFTER_NS, Work
from loadtest.sender.clients.threaded import Threaded, connected
from loadtest.sender.clients.triton_inputs import inputs_of

_LEAST_S = 1e-6
_BACKOFF = [("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 1000)]
# A proxy of the environment would take the load past the check of where it may go.
_DIRECT = [("grpc.enable_http_proxy", 0)]
_UNLIMITED = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]


class TritonGrpc(Threaded):
    """A `Client`. `requests`: pipeline → each of its payloads as a serialized ModelInferRequest without id."""

    def __init__(self, work: Work, requests: Sequence[Sequence[bytes]]) -> None:
        super().__init__(work)
        import tritonclient.grpc as triton

        self._inputs = [[inputs_of(request, triton) for request in each] for each in requests]
        orders = work.orders
        self._options: dict[str, Any] = {
            "priority": orders.priority, "timeout": orders.server_timeout_us or None, "headers": orders.headers,
        }  # fmt: skip
        self._client = triton.InferenceServerClient(orders.address, channel_args=_BACKOFF + _DIRECT + _UNLIMITED)
        self._to_cancel: deque[tuple[int, Any]] = deque()

    @property
    def most_in_flight(self) -> int:
        """Any number."""
        return 0

    def open(self) -> None:
        """Connects. Raises OSError when it cannot."""
        connected(lambda: self._client.is_server_live(client_timeout=max(self._deadline_ns / 1e9, 1.0)))
        self.connections_opened = 1

    def send(self, index: int) -> None:
        """Hands it to gRPC's threads."""
        self.in_flight += 1
        work = self._work
        self._taken_ns[index] = sent_ns = self._now_ns()

        def answered(result: Any, error: Exception | None) -> None:
            self.finished.append((index, sent_ns, self._now_ns(), error or result))

        pipeline = work.pipeline[index]
        try:
            call = self._client.async_infer(
                work.orders.pipelines[pipeline], self._inputs[pipeline][work.payload[index]], answered,
                client_timeout=max(_LEAST_S, self._left_s(index)), **self._options,
            )  # fmt: skip
        except Exception as error:  # noqa: BLE001  (whatever it is, the request has failed)
            answered(None, error)
            return
        if work.cancel is not None and work.cancel[index]:
            self._to_cancel.append((self._now_ns() + CANCEL_AFTER_NS, call))

    def expire(self, now_ns: int) -> None:
        """Cancels what is to be cancelled; gRPC itself keeps the deadlines."""
        while self._to_cancel and self._to_cancel[0][0] <= now_ns:
            self._to_cancel.popleft()[1].cancel()

    def close(self) -> None:
        """Closes the channel."""
        self._client.close()
