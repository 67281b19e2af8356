"""Requests that do not fit the pipeline `digits`, sent by tritonclient alone, and what comes back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hostile_files import digit
from story_tools import Array, Protocol, encoded, texts

from tritonkit.client.errors import Code, of_grpc, of_http

PATIENCE_S = 10.0  # a request that takes longer is taken for hung


@dataclass(frozen=True)
class Request:
    """One request; `inputs` have their batch axis."""

    inputs: Mapping[str, Array]
    outputs: tuple[str, ...] = ()
    model: str = "digits"
    version: str = ""


@dataclass(frozen=True)
class Outcome:
    """An answer's tensors, or an error's code (in tritonkit's words) and the server's sentence."""

    outputs: dict[str, Any] = field(default_factory=dict)
    code: Code | None = None
    message: str = ""

    @property
    def labels(self) -> Any:
        """Texts [N, 3]."""
        return texts(self.outputs["label"])


def ask(address: str, protocol: Protocol, request: Request) -> Outcome:
    """Sends it with a client of its own."""
    from tritonclient.utils import InferenceServerException, np_to_triton_dtype

    if protocol == "grpc":
        import tritonclient.grpc as triton

        client = triton.InferenceServerClient(address)
        options = {"client_timeout": PATIENCE_S}
    else:
        import tritonclient.http as triton

        client = triton.InferenceServerClient(address, connection_timeout=PATIENCE_S, network_timeout=PATIENCE_S)
        options = {}
    inputs = []
    for name, array in request.inputs.items():
        tensor = triton.InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
        inputs.append(tensor.set_data_from_numpy(array))
    outputs = [triton.InferRequestedOutput(name) for name in request.outputs] or None
    try:
        answer = client.infer(request.model, inputs, request.version, outputs, **options)
        found = answer.get_response(as_json=True) if protocol == "grpc" else answer.get_response()
        names = [str(output["name"]) for output in found["outputs"]]
        return Outcome({name: answer.as_numpy(name) for name in names})
    except InferenceServerException as error:
        status, message = str(error.status()), str(error.message())
        fault = (
            of_grpc(status, message, PATIENCE_S)
            if protocol == "grpc"
            else of_http(status, message, error.debug_details(), PATIENCE_S)
        )
        return Outcome(code=fault.code, message=fault.message)
    finally:
        client.close()


def images(items: Sequence[bytes]) -> Request:
    """Encoded images as one request."""
    return Request({"image": encoded(items)})


def bad_requests() -> dict[str, Request]:
    """What is wrong -> the request; docs/how-to/errors.md has a row for each."""
    image = encoded([digit()])
    mixed = [digit(index) for index in range(32)]
    for index, data in {3: b"", 4: b"a text", 17: b"", 20: b"GIF89a", 31: b""}.items():
        mixed[index] = data
    return {
        "a `UINT8` tensor instead of encoded bytes": Request({"image": np.zeros((1, 64), np.uint8)}),
        "two values an item, shape `[1, 2]`": Request({"image": encoded([digit(), digit()]).reshape(1, 2)}),
        "no batch axis, shape `[1]`": Request({"image": image[0]}),
        "an axis too many, shape `[1, 1, 1]`": Request({"image": image[np.newaxis]}),
        "no items, shape `[0, 1]`": Request({"image": image[:0]}),
        "no input": Request({}),
        "an input of another name": Request({"picture": image}),
        "an input that the pipeline does not have": Request({"image": image, "extra": image}),
        "an output that the pipeline does not have": Request({"image": image}, ("lable",)),
        "1,000 images in one request": images([digit()] * 1000),
        "32 images in one request, some of them bad": images(mixed),
        "a pipeline that the server does not have": Request({"image": image}, model="digitz"),
        "a version that the server does not have": Request({"image": image}, version="7"),
    }
