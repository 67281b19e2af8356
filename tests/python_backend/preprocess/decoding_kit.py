"""Flows that decode, their batches, and what is asked of them: for programs that have the GPU, and for those that do not."""

from __future__ import annotations

import struct
from typing import Any

import cv2
import numpy as np

from tritonkit_runtime.batch import Tensors, concatenate
from tritonkit_runtime.programs import Program

ITEM = [3, 12, 8]
STEPS: list[dict[str, Any]] = [
    {"step": "decode", "to": "rgb"}, {"step": "resize", "size": [12, 8], "method": "linear"},
    {"step": "normalize", "mean": [1.0, 2.0, 3.0], "std": [4.0, 5.0, 6.0]}, {"step": "channels_first"},
]  # fmt: skip


def tensor(name: str, dtype: str, dims: list[int]) -> dict[str, Any]:
    return {"name": name, "dtype": dtype, "dims": dims}


def flow(
    decode: str, preprocess: str, steps: list[dict[str, Any]] = STEPS, most: int = 8, **more: Any
) -> dict[str, Any]:  # fmt: skip
    """tritonkit.json of decoding, steps and an engine; `more` for its buffers."""
    image, number = tensor("image", "STRING", [1]), tensor("k", "INT64", [])
    outputs = [tensor("echo", "FP32", ITEM), tensor("marks", "INT64", [1])]
    buffers = {
        "buckets": [1, 2, 4, 8] if most else [1],
        "slots": 2,
        "copies": "auto",
        "preprocess": preprocess,
        **more,
    }
    return {
        "format": 1, "pipeline": "p", "model": "m", "max_batch_size": most, "inputs": [image, number],
        "outputs": outputs, "limits": {"max_bytes": 30_000, "max_pixels": 10_000},
        "program": {"kind": "flow", "stages": [
            {"name": "prepare", "inputs": [image], "outputs": [tensor("made", "FP32", ITEM)],
             "takes": {"image": "image"}, "gives": {"made": "between"}, "program": {"kind": "steps", "steps": steps}},
            {"name": "engine", "inputs": [tensor("pixels", "FP32", ITEM), number], "outputs": outputs,
             "takes": {"pixels": "between", "k": "k"}, "gives": {"echo": "echo", "marks": "marks"},
             "program": {"kind": "engine", "engine": "onnxruntime", "file": "net.onnx", "intra_op_threads": 1,
                         "buffers": buffers | ({} if decode == "cpu" else {"decode": decode})}},
        ]},
    }  # fmt: skip


def encoded(height: int, width: int, seed: int = 0, kind: str = ".jpg", *more: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(60, 256, (height, width, 3), np.uint8)
    data: bytes = cv2.imencode(kind, pixels, more)[1].tobytes()
    return data


def turned(data: bytes, orientation: int) -> bytes:
    """With EXIF that says so."""
    exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0" + struct.pack("<HHIHH", 0x112, 3, 1, orientation, 0) + bytes(4)
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:]


def request(items: list[bytes], number: int) -> Tensors:
    return {"image": np.array(items, object)[:, np.newaxis], "k": np.full(len(items), number, np.int64)}


JPEG = [encoded(30, 20), encoded(7, 9, 1), encoded(12, 8, 2), encoded(60, 90, 3), *(turned(encoded(25, 40, 4), o) for o in range(2, 9))]  # fmt: skip
PNG, PROGRESSIVE = encoded(20, 30, 5, ".png"), encoded(33, 44, 6, ".jpg", cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
LARGE, SHORT, LONG = encoded(120, 90, 7), JPEG[0][:-40], JPEG[3] + bytes(30_000)
_AT = JPEG[3].index(b"\xff\xc4") + 20
# Its header is whole, so that only decoding finds it.
DAMAGED = JPEG[3][:_AT] + b"\xff" * 12 + JPEG[3][_AT + 12 :]
BATCHES = {
    "one": [[JPEG[0]]],
    "padded": [JPEG[:3]],
    "full": [JPEG[:4], JPEG[4:8]],
    "turned": [JPEG[4:]],
    "mixed": [[JPEG[0], PNG], [PROGRESSIVE], [JPEG[3]], [JPEG[1]]],
    "none for the GPU": [[PNG], [PROGRESSIVE]],
    "bad ones": [[JPEG[0]], [b"nonsense"], [JPEG[1]], [SHORT], [LARGE], [LONG], [PNG]],
    "bad in one request": [[JPEG[0], b"", JPEG[2]], [JPEG[1]]],
    "all bad": [[b""], [SHORT]],
}


def answers(program: Program, requests: list[list[bytes]]) -> tuple[Tensors, dict[int, str]]:
    """Of the requests that are answered, and why the others are not."""
    batch = concatenate([request(items, 3 + number) for number, items in enumerate(requests)])
    found = program.run(batch)
    owners = np.repeat(np.arange(len(requests)), batch.counts)
    kept = [index for index, owner in enumerate(owners) if owner not in batch.errors()]
    return {name: array[kept] for name, array in found.items()}, batch.errors()
