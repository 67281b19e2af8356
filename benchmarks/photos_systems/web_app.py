"""The same pipeline behind FastAPI, as a careful engineer would write it. Started by uvicorn, one copy a worker.

A body is one JPEG file, or with `/photos/several` files one after the other, each after its length in four bytes.
"""

from __future__ import annotations

import asyncio
import os
import struct
from concurrent.futures import ThreadPoolExecutor
from typing import Any

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import cv2
import numpy as np
import onnxruntime
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

SIDE, TOP = 224, 3

cv2.setNumThreads(1)  # a worker a core: more threads would only take turns
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(os.environ["PHOTOS_ONNX"], options, providers=["CPUExecutionProvider"])
# One thread does the work, so that the event loop can receive the next image meanwhile.
pool = ThreadPoolExecutor(max_workers=1)
app = FastAPI()


def pixels_of(data: bytes | memoryview) -> np.ndarray[Any, Any]:
    """A JPEG file as the network takes it: UINT8 [224, 224, 3], RGB."""
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise ValueError("the image cannot be decoded")
    return cv2.resize(cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=image), (SIDE, SIDE))


def classify(files: list[bytes | memoryview]) -> dict[str, Any]:
    """Labels and scores, [N, 3] each."""
    pixels = np.empty((len(files), SIDE, SIDE, 3), np.uint8)
    for row, data in zip(pixels, files, strict=True):
        row[...] = pixels_of(data)
    logits = session.run(None, {"pixels": pixels})[0]
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    scores = powers / powers.sum(axis=1, keepdims=True)
    best = np.argsort(-scores, axis=1, kind="stable")[:, :TOP]
    return {"label": best.tolist(), "score": np.take_along_axis(scores, best, axis=1).tolist()}


async def answered(files: list[bytes | memoryview]) -> JSONResponse:
    """The answer, or status 400 for a file that is no image."""
    try:
        answer = await asyncio.get_running_loop().run_in_executor(pool, classify, files)
    except ValueError as error:
        return JSONResponse({"error": str(error)}, status_code=400)
    return JSONResponse(answer)


@app.post("/photos")
async def photo(request: Request) -> JSONResponse:
    """One image."""
    return await answered([await request.body()])


@app.post("/photos/several")
async def photos(request: Request) -> JSONResponse:
    """Several images in one body."""
    rest = memoryview(await request.body())
    files: list[bytes | memoryview] = []
    while rest:
        [length] = struct.unpack("<I", rest[:4])
        files.append(rest[4 : 4 + length])
        rest = rest[4 + length :]
    return await answered(files)
