"""gRPC for asyncio, on tritonclient.grpc.aio."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tritonclient.grpc.aio as triton
from tritonclient.utils import InferenceServerException

from tritonkit.client.errors import ItemError
from tritonkit.client.exchange import Reply
from tritonkit.client.values import Array, infer_inputs
from tritonkit.client.wire import GRPC_CHANNEL, grpc_config, grpc_fault, names_in


class AsyncGrpcTransport:
    """Belongs to the event loop that runs when it is made."""

    def __init__(self, name: str, address: str, deadline_s: float) -> None:
        self._name, self._deadline_s = name, deadline_s
        self._client = triton.InferenceServerClient(address, channel_args=GRPC_CHANNEL)

    async def config(self) -> Mapping[str, Any] | ItemError:
        """The model's configuration as JSON."""
        limit_s = self._deadline_s
        try:
            reply = await self._client.get_model_config(self._name, as_json=True, client_timeout=limit_s)
        except InferenceServerException as error:
            return grpc_fault(error, limit_s)
        return grpc_config(reply)

    async def models(self) -> list[str]:
        """Names of the server's models; none if it does not tell."""
        limit_s = self._deadline_s
        try:
            index = await self._client.get_model_repository_index(as_json=True, client_timeout=limit_s)
        except InferenceServerException:
            return []
        return names_in(index.get("models", ()))

    async def send(self, arrays: Mapping[str, Array]) -> Reply:
        """Sends one request and waits for its answer."""
        inputs = infer_inputs(triton.InferInput, arrays)
        try:
            result: Reply = await self._client.infer(self._name, inputs, client_timeout=self._deadline_s)
        except InferenceServerException as error:
            return grpc_fault(error, self._deadline_s)
        return result

    async def close(self) -> None:
        """Ends the channel."""
        await self._client.close()
