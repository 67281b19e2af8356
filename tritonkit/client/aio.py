"""The client for asyncio: as `Pipeline`, and a stream of answers for items that come one by one."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import aclosing
from types import TracebackType
from typing import Any, Literal, Protocol, Self, TypeVar

from tritonkit.client.answer import Answer
from tritonkit.client.contract import Contract
from tritonkit.client.errors import ItemError, PipelineError
from tritonkit.client.exchange import (
    Options,
    Reply,
    agree,
    asks_further,
    check_items,
    check_reached,
    finish,
    first_fault,
    prepare,
)
from tritonkit.client.retry import RETRY, Retries, Retry
from tritonkit.client.values import Array, Item, reads_files
from tritonkit.client.wire import versions_in

T = TypeVar("T")
Items = Iterable[Item] | AsyncIterable[Item]
# Answers that wait behind a slow one, or for a slow reader of a stream, as a multiple of in_flight.
_BACKLOG = 4


class AsyncTransport(Protocol):
    """One protocol's way to the server, for one event loop."""

    async def config(self, limit_s: float) -> Mapping[str, Any] | ItemError:
        """The model's configuration as JSON."""

    async def models(self) -> list[str]:
        """Names of the server's models; none if it does not tell."""

    async def metadata(self) -> Mapping[str, Any]:
        """What the server says of the model to everybody; empty if it does not tell."""

    async def send(self, arrays: Mapping[str, Array], limit_s: float) -> Reply:
        """Sends one request and waits for its answer, at most so long."""

    async def close(self) -> None:
        """Ends the connections."""


class AsyncPipeline:
    """As `Pipeline`, for one event loop; use it in an `async with` statement, or close it."""

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
        self._retries = Retries(retry, deadline_s)
        self._given = contract
        self._agreed: Contract | None = None
        self._lock = asyncio.Lock()
        self._open_transport: AsyncTransport | None = None  # made at first use: it belongs to the running loop
        self._closed = False

    async def contract(self) -> Contract:
        """What the pipeline takes and gives; asks the server the first time."""
        async with self._lock:
            transport = self._transport()
            if self._agreed is None:
                config, _ = await self._tried(transport.config)
                about = await transport.metadata() if asks_further(config) else {}
                if isinstance(config, ItemError) and not (about and config.code == "permission_denied"):
                    models = await transport.models() if asks_further(config) else ()
                    raise first_fault(self._options, config, models, versions_in(about))
                self._agreed = agree(self._options, self._given, about if isinstance(config, ItemError) else config)
            return self._agreed

    async def infer(self, items: Items) -> list[Answer]:
        """Answers in the order of the items; as `Pipeline.infer`, and items may come from an async iterable."""
        check_items(items)
        async with aclosing(self._answers(items, backlog=0)) as answers:
            found = [answer async for answer in answers]
        check_reached(self._options, found)
        return found

    async def infer_one(self, item: Item) -> Answer:
        """The answer to one item; otherwise as `infer`."""
        return (await self.infer([item]))[0]

    async def stream(self, items: Items) -> AsyncGenerator[Answer, None]:
        """Yields answers in the order of the items while more items are read and sent.

        Reads at most a few times `in_flight` items ahead of the answers taken. A connection that is lost under way
        is the error of each item; only the first use raises, as `Pipeline` does.
        """
        check_items(items)
        async with aclosing(self._answers(items, backlog=_BACKLOG * self._options.in_flight)) as answers:
            async for answer in answers:
                yield answer

    async def close(self) -> None:
        """Ends the connections; the pipeline cannot be used again."""
        self._closed = True
        transport, self._open_transport = self._open_transport, None
        if transport is not None:
            await transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _answers(self, items: Items, backlog: int) -> AsyncGenerator[Answer, None]:
        """`backlog` limits the answers that nobody has taken yet; 0: no limit."""
        contract = await self.contract()
        slots = asyncio.Semaphore(self._options.in_flight)
        room = asyncio.Semaphore(backlog) if backlog else None
        begun: asyncio.Queue[asyncio.Task[Answer] | None] = asyncio.Queue()
        unfinished: set[asyncio.Task[Any]] = set()

        async def feed() -> None:
            try:
                index = 0
                async for item in _each(items):
                    if room is not None:
                        await room.acquire()
                    await slots.acquire()
                    task = asyncio.create_task(self._one(contract, index, item))
                    unfinished.add(task)
                    task.add_done_callback(unfinished.discard)
                    task.add_done_callback(lambda _: slots.release())
                    begun.put_nowait(task)
                    index += 1
            finally:
                begun.put_nowait(None)

        feeder = asyncio.create_task(feed())
        unfinished.add(feeder)
        try:
            while (task := await begun.get()) is not None:
                answer = await task
                if room is not None:
                    room.release()
                yield answer
            await feeder  # raises what the caller's iterable raised
        finally:
            pending = list(unfinished)
            for each in pending:
                each.cancel()
            await asyncio.gather(*pending, return_exceptions=True)

    async def _one(self, contract: Contract, index: int, item: Item) -> Answer:
        if reads_files(item):
            ready = await asyncio.to_thread(prepare, contract, index, item)
        else:
            ready = prepare(contract, index, item)
        if isinstance(ready, Answer):
            return ready
        start_ns = time.perf_counter_ns()
        reply, attempts = await self._tried(functools.partial(self._transport().send, ready.arrays))
        return finish(contract, ready, reply, (time.perf_counter_ns() - start_ns) // 1000, attempts)

    async def _tried(self, ask: Callable[[float], Awaitable[T]]) -> tuple[T, int]:
        """The last reply of a call that gets the seconds it may take, and how often it was made."""
        course = self._retries.course()
        while (pause_s := course.pause_s(reply := await ask(course.left_s))) is not None:
            await asyncio.sleep(pause_s)
        return reply, course.attempts

    def _transport(self) -> AsyncTransport:
        if self._closed:
            raise PipelineError(f"this AsyncPipeline of {self._options.name!r} is closed; make a new one")
        if self._open_transport is None:
            self._open_transport = _new_transport(self._options)
        return self._open_transport


async def _each(items: Items) -> AsyncIterator[Item]:
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item


def _new_transport(options: Options) -> AsyncTransport:
    if options.protocol == "http":
        from tritonkit.client.http_async import AsyncHttpTransport

        return AsyncHttpTransport(options)
    from tritonkit.client.grpc_async import AsyncGrpcTransport

    return AsyncGrpcTransport(options)
