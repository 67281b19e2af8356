"""gRPC for asyncio, on tritonclient.grpc.aio."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tritonclient.grpc.aio as triton
from tritonclient.utils import InferenceServerException

from tritonkit.client.errors import ItemError
from tritonkit.client.exchange import Options, Reply
from tritonkit.client.values import Array, infer_inputs
from tritonkit.client.wire import grpc_channel, grpc_config, grpc_fault, names_in


class AsyncGrpcTransport:
    """Belongs to the event loop that runs when it is made."""

    def __init__(self, options: Options) -> None:
        self._name, self._version, self._deadline_s = options.name, options.version or "", options.deadline_s
        self._client = triton.InferenceServerClient(options.address, channel_args=grpc_channel(options.address))

    async def config(self, limit_s: float) -> Mapping[str, Any] | ItemError:
        """The model's configuration as JSON."""
        try:
            reply = await self._client.get_model_config(
                self._name, self._version, as_json=True, client_timeout=limit_s
            )
        except InferenceServerException as error:
            return grpc_fault(error, self._deadline_s)
        return grpc_config(reply)

    async def models(self) -> list[str]:
        """Names of the server's models; none if it does not tell."""
        limit_s = self._deadline_s
        try:
            statistics = await self._client.get_inference_statistics(as_json=True, client_timeout=limit_s)
        except InferenceServerException:
            return []
        return names_in(statistics.get("model_stats", ()))

    async def metadata(self) -> Mapping[str, Any]:
        """What the server says of the model to everybody; empty if it does not tell."""
        limit_s = self._deadline_s
        try:
            found: Mapping[str, Any] = await self._client.get_model_metadata(
                self._name, as_json=True, client_timeout=limit_s
            )
        except InferenceServerException:
            return {}
        return found

    async def send(self, arrays: Mapping[str, Array], limit_s: float) -> Reply:
        """Sends one request and waits for its answer, at most so long."""
        inputs = infer_inputs(triton.InferInput, arrays)
        try:
            result: Reply = await self._client.infer(self._name, inputs, self._version, client_timeout=limit_s)
        except InferenceServerException as error:
            return grpc_fault(error, self._deadline_s)
        return result

    async def close(self) -> None:
        """Ends the channel."""
        await self._client.close()
