"""`python small_grpc_server.py PORT [STREAMS]`: a gRPC server that does what the tensor of a request says.

Prints its port. A connection may have so many streams; SIGTERM shuts it down in order.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from tritonclient.grpc import service_pb2

WORDS = "will not:\n100 % of it, für niemanden"
QUEUE_WORDS = "Exceeds maximum queue size"


def answer(request: Any) -> Any:
    """The request's own bytes again."""
    made = service_pb2.ModelInferResponse(model_name=request.model_name, id=request.id)
    made.outputs.add(name="echo", datatype="UINT8", shape=[len(request.raw_input_contents[0])])
    made.raw_output_contents.append(request.raw_input_contents[0])
    return made


def infer(data: bytes, context: grpc.ServicerContext) -> bytes:
    request = service_pb2.ModelInferRequest.FromString(data)
    word = request.raw_input_contents[0]
    if b"refuse" in word:
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, WORDS)
    if b"cancel" in word:
        context.abort(grpc.StatusCode.CANCELLED, "the server would rather not")
    if b"queue" in word:
        context.abort(grpc.StatusCode.UNAVAILABLE, QUEUE_WORDS)
    if b"silent" in word:
        over = threading.Event()
        context.add_callback(over.set)
        over.wait(20)
    if b"slow" in word:
        time.sleep(0.05)
    if b"metadata" in word:
        said = {pair.key: pair.value for pair in context.invocation_metadata()}
        request.raw_input_contents[0] = repr(sorted(said.items())).encode()
    made: bytes = answer(request).SerializeToString()
    return made


def stream(requests: Iterator[bytes], _: grpc.ServicerContext) -> Iterator[bytes]:
    """Every other request is answered after the one that follows it."""
    held: list[Any] = []
    for data in requests:
        request = service_pb2.ModelInferRequest.FromString(data)
        word, made = request.raw_input_contents[0], service_pb2.ModelStreamInferResponse()
        if b"refuse" in word:
            made.error_message = WORDS
            made.infer_response.id = request.id
        else:
            made.infer_response.CopyFrom(answer(request))
        if b"silent" in word:
            continue
        held.append(made)
        if len(held) == 2 or b"now" in word:
            yield from (each.SerializeToString() for each in reversed(held))
            held.clear()


class Handlers(grpc.GenericRpcHandler):  # type: ignore[misc]
    def service(self, details: grpc.HandlerCallDetails) -> Any:
        name = details.method.rpartition("/")[2]
        if name == "ModelInfer":
            return grpc.unary_unary_rpc_method_handler(infer)
        if name == "ModelStreamInfer":
            return grpc.stream_stream_rpc_method_handler(stream)
        live = service_pb2.ServerLiveResponse(live=True).SerializeToString()
        return grpc.unary_unary_rpc_method_handler(lambda *_: live)


def main(port: int, streams: int = 1000) -> None:
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    options.append(("grpc.max_concurrent_streams", streams))
    server = grpc.server(ThreadPoolExecutor(64), (Handlers(),), options=options)
    taken = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    signal.signal(signal.SIGTERM, lambda *_: server.stop(5))
    print(taken, flush=True)
    server.wait_for_termination()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
