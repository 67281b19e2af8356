"""The client for ordinary code: one request an item, many in flight, answers in the order of the items."""

from __future__ import annotations

import functools
import queue
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, Literal, Protocol, Self

from tritonkit.client.answer import Answer
from tritonkit.client.contract import Contract
from tritonkit.client.errors import ItemError, PipelineError
from tritonkit.client.exchange import (
    Options,
    Outgoing,
    Reply,
    agree,
    asks_further,
    check_items,
    check_reached,
    finish,
    first_fault,
    prepare,
)
from tritonkit.client.retry import RETRY, Retry
from tritonkit.client.threaded import take_from
from tritonkit.client.values import Array, Item
from tritonkit.client.wire import versions_in

Cancel = Callable[[], None]
Done = Callable[[Reply, int], None]
"""Gets the reply, and how often the request was sent."""


class Transport(Protocol):
    """One protocol's way to the server. Safe to use from several threads."""

    def config(self) -> Mapping[str, Any] | ItemError:
        """The model's configuration as JSON."""

    def models(self) -> list[str]:
        """Names of the server's models; none if it does not tell."""

    def metadata(self) -> Mapping[str, Any]:
        """What the server says of the model to everybody; empty if it does not tell."""

    def send(self, arrays: Mapping[str, Array], done: Done) -> Cancel:
        """Sends one request; `done` is called once, in any thread, unless the request is cancelled."""

    def close(self) -> None:
        """Ends connections and threads; may be called again."""


class Pipeline:
    """A served pipeline, called over gRPC or HTTP.

    `address` is host:port of that protocol. `deadline_s` is the longest wait for one item's answer, `in_flight` the
    most requests under way at once. `version` is a version that the server serves ("2"; default: the newest).
    A request that was refused is sent again within its deadline: see `Retry`; with None nothing is.
    The contract is asked from the server at first use; one that is given is compared with the server's then. Safe to
    share between threads; close it, or use it in a `with` statement.

    Raises, at first use: ServerUnreachableError, UnknownPipelineError, UnknownVersionError, ContractError (all of
    them PipelineErrors).
    """

    def __init__(
        self,
        name: str,
        address: str,
        *,
        protocol: Literal["grpc", "http"] = "grpc",
        deadline_s: float = 10.0,
        in_flight: int = 32,
        contract: Contract | None = None,
        version: str | None = None,
        retry: Retry | None = RETRY,
    ) -> None:
        self._options = Options(name, address, protocol, deadline_s, in_flight, version, retry)
        self._given = contract
        self._agreed: Contract | None = None
        self._lock = threading.Lock()
        self._transport = _transport(self._options)
        # Also closes a pipeline that nobody closed, at the latest when the interpreter ends.
        self._close = weakref.finalize(self, self._transport.close)

    @property
    def contract(self) -> Contract:
        """What the pipeline takes and gives; asks the server the first time."""
        with self._lock:
            if not self._close.alive:
                raise PipelineError(f"this Pipeline of {self._options.name!r} is closed; make a new one")
            if self._agreed is None:
                config = self._transport.config()
                about = self._transport.metadata() if asks_further(config) else {}
                if isinstance(config, ItemError) and not (about and config.code == "permission_denied"):
                    models = self._transport.models() if asks_further(config) else ()
                    raise first_fault(self._options, config, models, versions_in(about))
                self._agreed = agree(self._options, self._given, about if isinstance(config, ItemError) else config)
            return self._agreed

    def infer(self, items: Iterable[Item]) -> list[Answer]:
        """Answers in the order of the items; a bad item has an error and spoils no other.

        An item is a file (`str`, `Path`: its bytes, or the array of a .npy file), `bytes`, a numpy array of one
        item (no batch axis), or a dict of such values by input name. Raises as at first use, and
        ServerUnreachableError if none of the items reached the server.
        """
        check_items(items)
        contract = self.contract
        answers: dict[int, Answer] = {}
        waiting: dict[int, Cancel] = {}
        arrived: queue.SimpleQueue[tuple[Outgoing, Reply, int, int]] = queue.SimpleQueue()

        def take() -> None:
            sent, reply, latency_us, attempts = take_from(arrived)
            del waiting[sent.index]
            answers[sent.index] = finish(contract, sent, reply, latency_us, attempts)

        try:
            for index, item in enumerate(items):
                while len(waiting) >= self._options.in_flight:
                    take()
                ready = prepare(contract, index, item)
                if isinstance(ready, Answer):
                    answers[index] = ready
                else:
                    done = functools.partial(_arrive, arrived, ready, time.perf_counter_ns())
                    waiting[index] = self._transport.send(ready.arrays, done)
            while waiting:
                take()
        except BaseException:  # Ctrl-C, or the caller's iterator failed: leave nothing under way
            for cancel in waiting.values():
                cancel()
            raise
        check_reached(self._options, answers.values())
        return [answers[index] for index in range(len(answers))]

    def infer_one(self, item: Item) -> Answer:
        """The answer to one item; otherwise as `infer`."""
        return self.infer([item])[0]

    def close(self) -> None:
        """Ends connections and threads; the pipeline cannot be used again."""
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _arrive(
    arrived: queue.SimpleQueue[tuple[Outgoing, Reply, int, int]],
    sent: Outgoing,
    start_ns: int,
    reply: Reply,
    attempts: int,
) -> None:
    arrived.put((sent, reply, (time.perf_counter_ns() - start_ns) // 1000, attempts))


def _transport(options: Options) -> Transport:
    if options.protocol == "http":
        from tritonkit.client.http_sync import HttpTransport

        return HttpTransport(options)
    from tritonkit.client.grpc_sync import GrpcTransport

    return GrpcTransport(options)
