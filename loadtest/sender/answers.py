"""The answers that a sender has kept, as tensors: for tests that compare the clients."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loadtest.raw_http import Reply, triton_answer
from loadtest.sender.files import ANSWERS

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]


def tensors_of(kept: Any) -> dict[str, Array]:
    """The tensors of one answer: a whole HTTP answer, a ModelInferResponse (serialized or not), or a result."""
    if isinstance(kept, bytes) and kept.startswith(b"HTTP/"):
        head, _, body = kept.partition(b"\r\n\r\n")
        return triton_answer(Reply(0, 0, 0, int(kept[9:12]), head + b"\r\n", body))
    if isinstance(kept, bytes):
        from tritonclient.grpc import InferResult, service_pb2

        kept = InferResult(service_pb2.ModelInferResponse.FromString(kept))
    response = kept.get_response()
    outputs = response["outputs"] if isinstance(response, dict) else response.outputs
    names = [output["name"] if isinstance(output, dict) else output.name for output in outputs]
    return {name: kept.as_numpy(name) for name in names}


def write_answers(folder: Path, kept: Mapping[int, Any]) -> None:
    """By request: name → nested lists, text decoded."""
    told = {
        index: {name: _plain(array) for name, array in tensors_of(answer).items()} for index, answer in kept.items()
    }
    (folder / ANSWERS).write_text(json.dumps(told), encoding="utf-8")


def read_answers(folder: Path) -> dict[int, dict[str, Any]]:
    """What `write_answers` wrote."""
    return {int(index): tensors for index, tensors in json.loads((folder / ANSWERS).read_bytes()).items()}


def _plain(array: Array) -> Any:
    if array.dtype == object:
        return [_plain(row) for row in array] if array.ndim > 1 else [bytes(text).decode() for text in array]
    return array.tolist()
