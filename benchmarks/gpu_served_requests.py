"""Requests of gpu_served.py as bytes, written by hand: the machine with the GPU has no HTTP client of Triton's."""

from __future__ import annotations

import http.client
import json
import mmap
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from loadtest.raw_http import JSON_BYTES, post

Array = np.ndarray[Any, Any]
Tensors = Mapping[str, tuple[str, Array]]  # name -> Triton's data type (BYTES for strings), array with the batch axis

_SHM = Path("/dev/shm")  # noqa: S108 — where system shared memory is
_JSON_LENGTH = re.compile(rb"\r\ninference-header-content-length:[ \t]*(\d+)", re.IGNORECASE)
_TYPES = {"FP32": np.float32, "FP16": np.float16, "INT32": np.int32, "INT64": np.int64, "UINT8": np.uint8}


def data_of(dtype: str, array: Array) -> bytes:
    """A tensor as Triton's binary extension has it: strings with their lengths in front."""
    if dtype != "BYTES":
        return array.tobytes()
    return b"".join(len(item).to_bytes(4, "little") + item for item in array.ravel())


def request(address: str, model: str, tensors: Tensors) -> bytes:
    """A whole HTTP request with the tensors in its body; the answer's come back as bytes too."""
    parts = {name: data_of(dtype, array) for name, (dtype, array) in tensors.items()}
    inputs = [
        _input(name, dtype, array, {"binary_data_size": len(parts[name])}) for name, (dtype, array) in tensors.items()
    ]
    return _post(address, model, inputs, b"".join(parts.values()))


def _input(name: str, dtype: str, array: Array, parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": name, "shape": list(array.shape), "datatype": dtype, "parameters": dict(parameters)}


def _post(address: str, model: str, inputs: Sequence[Mapping[str, Any]], body: bytes) -> bytes:
    head = json.dumps(
        {"inputs": inputs, "parameters": {"binary_data_output": True}}, separators=(",", ":")
    ).encode()  # fmt: skip
    headers = {"Content-Type": "application/octet-stream", JSON_BYTES: str(len(head))}
    return post(address, f"/v2/models/{model}/infer", head + body, headers)


class Shared:
    """Tensors in a region of system shared memory that the server knows; requests name their place in it."""

    def __init__(self, address: str, headers: Mapping[str, str], name: str, requests: Sequence[Tensors]) -> None:
        self._address, self._headers = address, headers
        self.name, self._file = name, _SHM / f"{name}-{os.getpid()}"
        self._places: list[dict[str, tuple[int, int]]] = []
        parts, at = [], 0
        for tensors in requests:
            self._places.append({})
            for key, (dtype, array) in tensors.items():
                data = data_of(dtype, array)
                self._places[-1][key] = at, len(data)
                parts.append(data)
                at += len(data)
        with self._file.open("wb+") as file:
            file.truncate(at)
            with mmap.mmap(file.fileno(), at) as memory:
                memory.write(b"".join(parts))
        self._size = at

    def __enter__(self) -> Shared:
        told = {"key": f"/{self._file.name}", "offset": 0, "byte_size": self._size}
        self._ask("register", told)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._ask("unregister", {})
        except OSError:
            pass  # a server that is gone knows no region
        finally:
            self._file.unlink(missing_ok=True)

    def _ask(self, word: str, told: Mapping[str, Any]) -> None:
        host, _, port = self._address.rpartition(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=10)
        try:
            path = f"/v2/systemsharedmemory/region/{self.name}/{word}"
            connection.request("POST", path, json.dumps(told), dict(self._headers))
            answer = connection.getresponse()
            text = answer.read().decode(errors="replace")
        finally:
            connection.close()
        if answer.status != 200:
            raise ValueError(f"the server does not {word} shared memory: {text}")

    def requests(self, model: str, requests: Sequence[Tensors]) -> list[bytes]:
        """The same tensors as the region was made of, to `model`."""
        found = []
        for tensors, places in zip(requests, self._places, strict=True):
            inputs = []
            for name, (dtype, array) in tensors.items():
                at, size = places[name]
                region = {"shared_memory_region": self.name, "shared_memory_byte_size": size}
                inputs.append(_input(name, dtype, array, region | ({"shared_memory_offset": at} if at else {})))
            found.append(_post(self._address, model, inputs, b""))
        return found


def answer(head: bytes, body: bytes) -> dict[str, Array]:
    """The tensors of an answer. ValueError with the server's words where it is an error."""
    found = _JSON_LENGTH.search(head)
    if found is None:
        raise ValueError(body.decode(errors="replace")[:400])
    at = int(found[1])
    tensors = {}
    for output in json.loads(body[:at])["outputs"]:
        size = int(output["parameters"]["binary_data_size"])
        values = np.frombuffer(body[at : at + size], _TYPES[output["datatype"]])
        tensors[output["name"]] = values.reshape(output["shape"])
        at += size
    return tensors
