"""HTTP for asyncio, on tritonclient.http.aio."""

from __future__ import annotations

import asyncio
import contextlib
import io
import socket
import weakref
from collections.abc import Awaitable, Mapping
from typing import Any

import aiohttp
import tritonclient.http.aio as triton

from tritonkit.client.errors import ItemError
from tritonkit.client.exchange import Options, Reply
from tritonkit.client.values import Array, infer_inputs
from tritonkit.client.wire import http_fault, names_in

_WARNED_BYTES = 2**20
_CLOSING_TURNS = 20  # of the event loop, for sockets to be told of their end; two suffice


class _Client(triton.InferenceServerClient):  # type: ignore[misc]
    """tritonclient's, with an aiohttp session of our own, and bodies that aiohttp does not warn of."""

    _stub: aiohttp.ClientSession

    def __init__(self, address: str, deadline_s: float) -> None:
        super().__init__(address)
        self._stub.detach()
        self._sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        # No limit of connections: the pipeline limits requests, and waiting for a connection would eat the deadline.
        self._conn = aiohttp.TCPConnector(limit=0, socket_factory=self._socket)
        timeout = aiohttp.ClientTimeout(total=deadline_s)
        self._stub = aiohttp.ClientSession(connector=self._conn, timeout=timeout, auto_decompress=False)

    async def close(self) -> None:
        """Ends the connections, also those that a hung server keeps from sending what they still hold."""
        await super().close()
        for each in self._sockets:
            if each.fileno() >= 0:
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
        for _ in range(_CLOSING_TURNS):
            if all(each.fileno() < 0 for each in self._sockets):
                break
            await asyncio.sleep(0)

    def _socket(self, address: tuple[Any, ...]) -> socket.socket:
        family, kind, protocol, *_ = address
        made = socket.socket(family, kind, protocol)
        made.setblocking(False)
        self._sockets.add(made)
        return made

    async def _post(self, request_uri: str, request_body: Any, headers: Any, query_params: Any) -> Any:
        if len(request_body) > _WARNED_BYTES:
            request_body = io.BytesIO(request_body)
        return await super()._post(request_uri, request_body, headers, query_params)


class AsyncHttpTransport:
    """Belongs to the event loop that runs when it is made."""

    def __init__(self, options: Options) -> None:
        self._name, self._version, self._deadline_s = options.name, options.version or "", options.deadline_s
        self._client = _Client(options.address, options.deadline_s)

    async def config(self, limit_s: float) -> Mapping[str, Any] | ItemError:
        """The model's configuration as JSON."""
        reply: Mapping[str, Any] | ItemError = await self._call(
            self._client.get_model_config(self._name, self._version), limit_s
        )
        return reply

    async def models(self) -> list[str]:
        """Names of the server's models; none if it does not tell."""
        statistics = await self._call(self._client.get_inference_statistics(), self._deadline_s)
        return [] if isinstance(statistics, ItemError) else names_in(statistics.get("model_stats", ()))

    async def metadata(self) -> Mapping[str, Any]:
        """What the server says of the model to everybody; empty if it does not tell."""
        found: Mapping[str, Any] | ItemError = await self._call(
            self._client.get_model_metadata(self._name), self._deadline_s
        )
        return {} if isinstance(found, ItemError) else found

    async def send(self, arrays: Mapping[str, Array], limit_s: float) -> Reply:
        """Sends one request and waits for its answer, at most so long."""
        inputs = infer_inputs(triton.InferInput, arrays)
        reply: Reply = await self._call(self._client.infer(self._name, inputs, self._version), limit_s)
        return reply

    async def close(self) -> None:
        """Ends the connections."""
        await self._client.close()

    async def _call(self, request: Awaitable[Any], limit_s: float) -> Any:
        try:
            async with asyncio.timeout(limit_s):
                return await request
        except Exception as error:  # noqa: BLE001 - whatever breaks is this request's error
            return http_fault(error, self._deadline_s, (aiohttp.ClientError,))
