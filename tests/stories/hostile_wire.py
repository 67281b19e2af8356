"""Requests whose bytes lie, as no client library would send them: raw HTTP, and gRPC messages put together by hand.

Two kinds are left out of all that is made here by chance, because Triton 2.51 does not survive them:
`ends_the_server` has them.
"""

from __future__ import annotations

import json
import random
import re
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hostile_files import digit
from hostile_requests import PATIENCE_S

from tritonkit.client.errors import of_grpc, of_http

INFER = "/v2/models/digits/infer"
LETHAL = ("classification", '"data"')


def strings(*items: bytes) -> bytes:
    """A BYTES tensor as it travels: each string after its length."""
    return b"".join(struct.pack("<I", len(item)) + item for item in items)


@dataclass(frozen=True)
class Tensor:
    """The one input of a request, and the bytes sent for it."""

    content: bytes
    shape: tuple[int, ...] = (1, 1)
    dtype: str = "BYTES"


def lying_tensors() -> dict[str, tuple[Tensor, str]]:
    """What is wrong -> the tensor, and the start of the server's sentence. Both protocols can carry these."""
    png = digit()
    good = strings(png)
    return {
        "a string that says it is shorter": (
            Tensor(struct.pack("<I", len(png) - 5) + png),
            "unexpected number of string elements 2 for inference input 'image'",
        ),
        "a length cut short": (Tensor(b"\0\0\0"), "incomplete string length indicator for inference input 'image'"),
        "two strings for one item": (Tensor(good * 2), "unexpected number of string elements 2 for inference input"),
        "one string for two items": (Tensor(good, (2, 1)), "expected 2 string elements for inference input 'image'"),
        "nothing for one item": (Tensor(b""), "expected 1 string elements for inference input 'image'"),
        "a type that does not exist": (
            Tensor(good, dtype="CHAR"),
            "inference input 'image' data-type is '<invalid>'",
        ),
        "sizes whose product overflows": (Tensor(good, (2**32, 2**32)), "unexpected shape for input 'image'"),
    }


def spoiling_tensors() -> dict[str, tuple[Tensor, str]]:
    """As `lying_tensors`: strings that are shorter than they say.

    Triton counts such a string and does not look whether it ends; its Python backend does, when it has put a batch
    together, and fails the whole batch: requests of others get the error too.
    """
    png = digit()
    sentence = "incomplete string data for inference input 'image', expecting string of length"
    return {
        "a string that says it is longer": (
            Tensor(struct.pack("<I", len(png) + 5) + png),
            f"{sentence} {len(png) + 5}",
        ),
        "a string of 4 GiB": (Tensor(struct.pack("<I", 2**32 - 1) + png), f"{sentence} {2**32 - 1}"),
    }


# HTTP ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class HttpReply:
    """The status and the body; status 0: the server closed the connection without an answer."""

    status: int
    body: bytes

    @property
    def message(self) -> str:
        """Triton's sentence, as tritonkit shows it."""
        return of_http(str(self.status), str(json.loads(self.body)["error"]), None, PATIENCE_S).message


def exchange(address: str, sent: bytes, *, half_closed: bool = False, patience_s: float = PATIENCE_S) -> HttpReply:
    """Sends bytes and reads one answer. Raises TimeoutError if neither an answer nor the end comes."""
    host, _, port = address.partition(":")
    received = b""
    with socket.create_connection((host, int(port)), patience_s) as connection:
        try:
            connection.sendall(sent)
            if half_closed:
                connection.shutdown(socket.SHUT_WR)
            while (reply := _reply(received)) is None:
                part = connection.recv(1 << 16)
                if not part:
                    return HttpReply(0, received)
                received += part
            return reply
        except (ConnectionResetError, BrokenPipeError):
            return HttpReply(0, received)


def _reply(received: bytes) -> HttpReply | None:
    head, end, body = received.partition(b"\r\n\r\n")
    status = re.match(rb"HTTP/1\.\S* (\d{3})", head)
    length = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
    if not end or status is None or length is None or len(body) < int(length[1]):
        return None
    return HttpReply(int(status[1]), body[: int(length[1])])


def post(body: bytes, headers: str = "", path: str = INFER, length: object = None) -> bytes:
    """A POST request; `length` is what it says of its body, if not the truth."""
    said = len(body) if length is None else length
    return f"POST {path} HTTP/1.1\r\nHost: here\r\n{headers}Content-Length: {said}\r\n\r\n".encode() + body


def http_request(tensor: Tensor, *, size: object = None, header: object = None, path: str = INFER) -> bytes:
    """An inference request; `size` and `header` are lies about the tensor's bytes and the JSON's."""
    said = len(tensor.content) if size is None else size
    entry = {
        "name": "image",
        "shape": tensor.shape,
        "datatype": tensor.dtype,
        "parameters": {"binary_data_size": said},
    }
    words = json.dumps({"inputs": [entry]}).encode()
    length = len(words) if header is None else header
    return post(words + tensor.content, f"Inference-Header-Content-Length: {length}\r\n", path)


def malformed_http() -> dict[str, tuple[bytes, int]]:
    """What is wrong -> the bytes, and the status of the answer (0: the connection is closed)."""
    good = Tensor(strings(digit()))
    whole = http_request(good)
    chunks = b'Transfer-Encoding: chunked\r\n\r\n5\r\n{"inp\r\n0\r\n\r\n'
    return {
        "a JSON header that is cut": (http_request(good, header=10), 500),
        "a JSON header beyond the body": (http_request(good, header=1_000_000), 400),
        "a JSON header of negative length": (http_request(good, header=-1), 400),
        "a JSON header of a length in words": (http_request(good, header="abc"), 400),
        "a tensor that says it is longer": (http_request(good, size=len(good.content) + 10), 400),
        "a tensor that says it is shorter": (http_request(good, size=len(good.content) - 10), 400),
        "a tensor of negative size": (http_request(good, size=-1), 500),
        "a tensor of 2^63 bytes": (http_request(good, size=2**63), 400),
        "a size in words": (http_request(good, size="many"), 500),
        "no JSON": (post(b"{inputs: image"), 500),
        "JSON of another kind": (post(b"[1, 2]"), 500),
        "JSON a hundred thousand levels deep": (post(b"[" * 100_000), 500),
        "inputs that are no list": (post(b'{"inputs": 5}'), 500),
        "a path that does not exist": (post(b"{}", path="/v2/models/digits/train"), 404),
        "a version in words": (http_request(good, path="/v2/models/digits/versions/new/infer"), 404),
        "a body that is said to be compressed": (post(whole, "Content-Encoding: gzip\r\n"), 400),
        "a broken chunk": (f"POST {INFER} HTTP/1.1\r\nHost: here\r\n".encode() + chunks, 500),
        "GET instead of POST": (f"GET {INFER} HTTP/1.1\r\nHost: here\r\n\r\n".encode(), 405),
        "a body of negative length": (post(b"{}", length=-1), 0),
        "headers of 10 MB": (b"GET /v2 HTTP/1.1\r\nHost: " + bytes(10_000_000), 0),
        "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500), 0),
        "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 0),
        "no HTTP at all": (b"\x00\x01\x02\x03\r\n\r\n", 0),
        "100 MB": (http_request(Tensor(strings(bytes(100_000_000)))), 400),
    }


# gRPC ------------------------------------------------------------------------------------------------------


def grpc_request(tensor: Tensor, *, raw: Sequence[bytes] | None = None, model: str = "digits") -> Any:
    """A ModelInferRequest; `raw` is what is sent instead of the tensor's bytes."""
    from tritonclient.grpc import service_pb2

    message = service_pb2.ModelInferRequest(model_name=model)
    message.inputs.add(name="image", datatype=tensor.dtype, shape=tensor.shape)
    message.raw_input_contents.extend([tensor.content] if raw is None else raw)
    return message


def malformed_grpc() -> dict[str, tuple[bytes, str]]:
    """What is wrong -> the serialized message, and tritonkit's code for the answer."""
    good = Tensor(strings(digit()))
    both = grpc_request(good)
    both.inputs[0].contents.bytes_contents.append(digit())
    other = grpc_request(good, raw=())
    other.inputs[0].contents.int_contents.append(1)
    found = {
        "a tensor without its bytes": (grpc_request(good, raw=()), "invalid_argument"),
        "contents of two kinds": (both, "invalid_argument"),
        "contents of another type": (other, "invalid_argument"),
        "a negative size": (grpc_request(Tensor(good.content, (1, -1))), "invalid_argument"),
        "no shape": (grpc_request(Tensor(good.content, ())), "invalid_argument"),
        "the name of a pipeline of 100,000 letters": (grpc_request(good, model="x" * 100_000), "resource_exhausted"),
    }
    messages = {name: (message.SerializeToString(), code) for name, (message, code) in found.items()}
    return {**messages, "no message at all": (b"\xff" * 100, "internal")}


class Grpc:
    """A channel that sends any bytes as a message."""

    def __init__(self, address: str) -> None:
        import grpc

        self._error = grpc.RpcError
        self._channel = grpc.insecure_channel(address, [("grpc.max_send_message_length", -1)])
        self._call = self._channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")

    def send(self, message: bytes) -> tuple[str, str]:
        """Code and sentence as tritonkit shows them; ok with the answer's bytes as latin-1 if it is answered."""
        try:
            return "ok", bytes(self._call(message, timeout=PATIENCE_S)).decode("latin-1")
        except self._error as error:
            fault = of_grpc(str(error.code()), str(error.details()), PATIENCE_S)
            return fault.code, fault.message

    def close(self) -> None:
        """Ends the connection."""
        self._channel.close()


# By chance, and what is lethal -----------------------------------------------------------------------------


def mutated(chance: random.Random, sent: bytes) -> bytes:
    """Some bytes changed, dropped, repeated or put in; never one of the requests that end the server."""
    words = [b"-1", b"4294967296", b"18446744073709551616", b"null", b"{}", b"\r\n", b"\0", b"\xff" * 4, b"chunked"]
    while True:
        data = bytearray(sent)
        for _ in range(chance.choice((1, 1, 2, 4, 10))):
            start = chance.randrange(len(data) + 1)
            end = start + chance.choice((0, 1, 4, 64))
            put = chance.choice((b"", chance.randbytes(1), chance.choice(words), bytes(data[start : start + 40])))
            data[start:end] = put
        if not any(word.encode() in data for word in LETHAL):
            return bytes(data)


def ends_the_server() -> dict[str, bytes]:
    """HTTP requests that Triton 2.51 does not survive, by what is wrong with them."""
    content = strings(digit())
    image: dict[str, Any] = {"name": "image", "shape": [1, 1], "datatype": "BYTES"}
    image["parameters"] = {"binary_data_size": len(content)}
    classes = {"inputs": [image], "outputs": [{"name": "label", "parameters": {"classification": 1}}]}
    words = json.dumps(classes).encode()
    huge = {"inputs": [{"name": "image", "shape": [1, 2**50], "datatype": "UINT8", "data": [1]}]}
    return {
        "the classes of a STRING output": post(words + content, f"Inference-Header-Content-Length: {len(words)}\r\n"),
        "a JSON tensor of a huge shape": post(json.dumps(huge).encode()),
    }
