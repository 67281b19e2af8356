"""Requests as tritonclient wants them, from serialized ModelInferRequests, and what its errors mean."""

from __future__ import annotations

from typing import Any

from loadtest.samples.record import Outcome
from loadtest.traffic.payloads import from_wire

# How gRPC puts it into words when a connection cannot be made or breaks. A server's own UNAVAILABLE has other words.
_BROKEN_WORDS = (
    "failed to connect", "connection refused", "connection reset", "socket closed", "broken pipe", "goaway",
    "endpoint", "recvmsg", "sendmsg", "stream removed", "transport closed", "end of tcp stream", "dns resolution",
    "tcp handshaker",
)  # fmt: skip


def inputs_of(request: bytes, module: Any) -> list[Any]:
    """The request's tensors as InferInput of `module`: tritonclient.http or tritonclient.grpc."""
    from tritonclient.grpc import service_pb2

    message = service_pb2.ModelInferRequest.FromString(request)
    raw = iter(message.raw_input_contents)
    inputs = []
    for tensor in message.inputs:
        made = module.InferInput(tensor.name, list(tensor.shape), tensor.datatype)
        region = tensor.parameters["shared_memory_region"].string_param
        if region:
            size = tensor.parameters["shared_memory_byte_size"].int64_param
            made.set_shared_memory(region, size, tensor.parameters["shared_memory_offset"].int64_param)
        else:
            made.set_data_from_numpy(from_wire(tensor.datatype, tensor.shape, next(raw)))
        inputs.append(made)
    return inputs


def failure_of(error: Exception) -> tuple[Outcome, int, str]:
    """Outcome, status and words of what tritonclient, gevent or a socket raised.

    A cancellation is a refusal here, for servers cancel too: the ledger knows which requests the sender cancels.
    """
    import grpc
    from tritonclient.utils import InferenceServerException

    if isinstance(error, InferenceServerException):
        words, name = str(error.message() or ""), str(error.status() or "")
        if not name.startswith("StatusCode."):
            return Outcome.REFUSED, int(name) if name.isdigit() else 0, words
        code = grpc.StatusCode[name.partition(".")[2]]
        status = int(code.value[0])
        if code is grpc.StatusCode.DEADLINE_EXCEEDED:
            return Outcome.TIMEOUT, status, words
        away = code is grpc.StatusCode.UNAVAILABLE and any(part in words.lower() for part in _BROKEN_WORDS)
        return Outcome.BROKEN if away else Outcome.REFUSED, status, words
    if isinstance(error, TimeoutError) or "timed out" in str(error):
        return Outcome.TIMEOUT, 0, "no answer within the deadline"
    return Outcome.BROKEN, 0, str(error) or type(error).__name__
