"""What is sent: requests made of the spec's own data, in the bytes that Triton's own clients send."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from generator.plan import Plan
from loadtest.layouts.data import data_of, requests_of, tensors_of
from loadtest.raw_http import JSON_BYTES, post
from loadtest.traffic.problem import refused

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

Request = Mapping[str, tuple[str, "Array"]]
MOST_BYTES = 256 << 20  # of all requests of a pipeline: the sender holds them as they are sent


@dataclass(frozen=True)
class Payloads:
    """The requests that a pipeline is asked in turn.

    `requests` are input -> Triton's data type (`BYTES` for strings) and array, with the batch axis where there is
    one; `items` is how many items each has. `source` says in words what they are.
    """

    source: str
    requests: tuple[Request, ...]
    items: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.requests)

    @property
    def bytes_(self) -> tuple[int, ...]:
        """How many bytes the tensors of each request have on the wire."""
        return tuple(sum(len(wire(*tensor)) for tensor in request.values()) for request in self.requests)

    def http(
        self,
        address: str,
        model: str,
        *,
        priority: int = 0,
        timeout_us: int = 0,
        headers: Mapping[str, str] | None = None,
    ) -> list[bytes]:
        """Each request as the bytes of a keep-alive POST to `address` (`host:port`), tensors in binary both ways.

        `priority` and `timeout_us` are Triton's request parameters (0: none); `headers` are sent besides.
        """
        parameters = {"priority": priority, "timeout": timeout_us}
        path = f"/v2/models/{quote(model)}/infer"
        return [_http(address, path, request, parameters, headers or {}) for request in self.requests]

    def grpc(self, model: str, *, priority: int = 0, timeout_us: int = 0) -> list[bytes]:
        """Each request as a serialized ModelInferRequest without an id."""
        from tritonclient.grpc import service_pb2

        found = []
        for request in self.requests:
            message = service_pb2.ModelInferRequest(model_name=model)
            for name, (dtype, array) in request.items():
                message.inputs.add(name=name, datatype=dtype, shape=array.shape)
                message.raw_input_contents.append(wire(dtype, array))
            if priority:
                message.parameters["priority"].uint64_param = priority
            if timeout_us:
                message.parameters["timeout"].int64_param = timeout_us
            found.append(message.SerializeToString(deterministic=True))
        return found


def payloads_of(plan: Plan, root: Path, seed: int, sizes: Sequence[int] = (1,)) -> Payloads:
    """Requests of the data that the spec names, without one made from `seed`: as many of each of `sizes` items.

    Every item is in equally many requests of a size; a size that is given twice is sent twice as often. Where all
    would take more than MOST_BYTES, fewer are made. Raises UserError when the data cannot be read, ProblemsError
    (TK859) for a size that the pipeline does not take.
    """
    most = max(1, plan.max_batch_size)
    for size in sizes:
        if not 1 <= size <= most:
            message = f"a request of {size} items is refused: `batching.max_batch_size` of `{plan.name}` is {most}"
            raise refused("TK859", "--batch", message, f"give sizes from 1 to {most}")
    if not sizes:
        raise refused("TK859", "--batch", "no size of a request is given", f"give sizes from 1 to {most}")
    data = data_of(plan, root, seed)
    all_bytes = sum(len(wire(*tensor)) for item in data.items for tensor in tensors_of(plan, [item]).values())
    item_bytes = max(1.0, all_bytes / len(data.items))
    count = min(len(data.items), max(1, int(MOST_BYTES / (item_bytes * sum(sizes)))))
    places = [index * len(data.items) // count for index in range(count)]
    chosen = [items for size in sizes for items in map(requests_of(len(data.items), size).__getitem__, places)]
    requests = tuple(tensors_of(plan, [data.items[index] for index in items]) for items in chosen)
    return Payloads(data.source, requests, tuple(len(items) for items in chosen))


def _http(
    address: str, path: str, request: Request, parameters: Mapping[str, int], headers: Mapping[str, str]
) -> bytes:
    inputs, data = [], []
    for name, (dtype, array) in request.items():
        data.append(wire(dtype, array))
        size = {"binary_data_size": len(data[-1])}
        inputs.append({"name": name, "shape": list(array.shape), "datatype": dtype, "parameters": size})
    given = {name: value for name, value in parameters.items() if value}
    asked = {"inputs": inputs, "parameters": {**given, "binary_data_output": True}}
    text = json.dumps(asked, separators=(",", ":")).encode()
    said = {"Content-Type": "application/octet-stream", JSON_BYTES: str(len(text)), **headers}
    return post(address, path, b"".join([text, *data]), said)


def wire(dtype: str, array: Array) -> bytes:
    """The bytes of a tensor as Triton takes them: in C order; strings after their lengths.

    BF16 may come as FP32, and is rounded to the nearest.
    """
    import numpy as np
    from tritonclient.utils import serialize_byte_tensor

    if dtype == "BYTES":
        return bytes(serialize_byte_tensor(array).item()) if array.size else b""
    if dtype == "BF16" and array.dtype == np.float32:
        bits = np.ascontiguousarray(array).view(np.uint32)
        array = ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)
    return array.tobytes()


def from_wire(dtype: str, shape: Sequence[int], data: bytes | memoryview) -> Array:
    """The tensor that `wire` made bytes of, BF16 as FP32."""
    import numpy as np
    from tritonclient.utils import deserialize_bytes_tensor, triton_to_np_dtype

    if dtype == "BYTES":
        return np.asarray(deserialize_bytes_tensor(bytes(data)), np.object_).reshape(shape)
    if dtype == "BF16":
        return (np.frombuffer(data, np.uint16).astype(np.uint32) << 16).view(np.float32).reshape(shape)
    return np.frombuffer(data, triton_to_np_dtype(dtype)).reshape(shape)
