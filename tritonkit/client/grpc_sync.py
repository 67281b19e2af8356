"""gRPC for ordinary code, on tritonclient.grpc."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

from tritonkit.client.errors import ItemError, PipelineError
from tritonkit.client.exchange import Reply
from tritonkit.client.values import Array, infer_inputs
from tritonkit.client.wire import GRPC_CHANNEL, grpc_config, grpc_fault, names_in


class GrpcTransport:
    """Calls run in gRPC's own threads; the caller's thread only waits."""

    def __init__(self, name: str, address: str, deadline_s: float) -> None:
        self._name, self._deadline_s = name, deadline_s
        self._client = triton.InferenceServerClient(address, channel_args=GRPC_CHANNEL)

    def config(self) -> Mapping[str, Any] | ItemError:
        """The model's configuration as JSON."""
        try:
            reply = self._client.get_model_config(self._name, as_json=True, client_timeout=self._deadline_s)
        except InferenceServerException as error:
            return grpc_fault(error, self._deadline_s)
        return grpc_config(reply)

    def models(self) -> list[str]:
        """Names of the server's models; none if it does not tell."""
        try:
            index = self._client.get_model_repository_index(as_json=True, client_timeout=self._deadline_s)
        except InferenceServerException:
            return []
        return names_in(index.get("models", ()))

    def send(self, arrays: Mapping[str, Array], done: Callable[[Reply], None]) -> Callable[[], None]:
        """Sends one request; `done` is called once, in a thread of gRPC."""

        def callback(result: Any, error: InferenceServerException | None) -> None:
            done(result if error is None else grpc_fault(error, self._deadline_s))

        inputs = infer_inputs(triton.InferInput, arrays)
        try:
            call = self._client.async_infer(self._name, inputs, callback, client_timeout=self._deadline_s)
        except ValueError as error:  # gRPC's word for a channel that another thread has closed
            raise PipelineError(f"this Pipeline of {self._name!r} was closed") from error
        cancel: Callable[[], None] = call.cancel
        return cancel

    def close(self) -> None:
        """Ends the channel and its threads."""
        self._client.close()
