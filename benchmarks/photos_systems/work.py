"""The work that all systems share: the photographs, the requests made of them, their right answers, and a slice."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

CLONE = Path(__file__).parents[2]
SIDE = 224
TOLERANCE = 1e-5  # of a score: ONNX Runtime adds in another order when a batch has another size

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Mode:
    """How requests come. `in_flight` counts requests."""

    name: str
    images: int
    in_flight: int


ONE = Mode("one image a request", 1, 32)
# Eight requests, not four: two are being worked on, and the others can wait as a batch for either process.
EIGHT = Mode("eight images a request", 8, 8)
MODES = (ONE, EIGHT)


@dataclass(frozen=True)
class Answers:
    """Labels INT64 [N, 3], best first, and their scores FP32 [N, 3]."""

    labels: Array
    scores: Array

    def of(self, items: Sequence[int]) -> Answers:
        """Those of `items`, in their order."""
        return Answers(self.labels[list(items)], self.scores[list(items)])

    def same_as(self, other: Answers) -> bool:
        """Whether labels are equal and scores nearly so."""
        return np.array_equal(self.labels, other.labels) and self.difference(other) <= TOLERANCE

    def difference(self, other: Answers) -> float:
        """The largest difference between two scores."""
        return float(np.abs(self.scores.astype(np.float64) - other.scores).max())


@dataclass(frozen=True)
class Photos:
    """JPEG files in a fixed order."""

    names: tuple[str, ...]
    files: tuple[bytes, ...]

    def requests(self, mode: Mode) -> list[tuple[int, ...]]:
        """Which photographs each request has. Every photograph is in equally many of them."""
        if mode.images == 1:
            return [(index,) for index in range(len(self.files))]
        order = random.Random(mode.images).sample(range(len(self.files)), len(self.files))  # noqa: S311
        return [tuple((order * 2)[start : start + mode.images]) for start in range(len(order))]

    def column(self, items: Sequence[int]) -> Array:
        """The files as one batch, object [N, 1]."""
        return np.array([[self.files[item]] for item in items], dtype=np.object_)


def read_photos(folder: Path) -> Photos:
    """Every JPEG file in `folder`."""
    paths = sorted(folder.glob("*.jpg"))
    return Photos(tuple(path.stem for path in paths), tuple(path.read_bytes() for path in paths))


def top3(logits: Array) -> Answers:
    """Soft-max and the best three of FP32 [N, classes], in plain numpy."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    scores = powers / powers.sum(axis=1, keepdims=True)
    best = np.argsort(-scores, axis=1, kind="stable")[:, :3]
    return Answers(best.astype(np.int64), np.take_along_axis(scores, best, axis=1))


def session(model: Path | bytes) -> Any:
    """ONNX Runtime as the runtime opens it: one thread, on the CPU."""
    import os

    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def expected_answers(photos: Photos, model: Path) -> Answers:
    """By OpenCV, ONNX Runtime and numpy, a photograph at a time: nothing of this project takes part."""
    import cv2

    engine = session(model)
    rows = []
    for data in photos.files:
        image = cv2.cvtColor(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
        pixels = cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)
        rows.append(engine.run(None, {"pixels": pixels[np.newaxis]})[0][0])
    return top3(np.stack(rows))


@dataclass(frozen=True)
class Done:
    """One request that was answered: times in microseconds since the slice began."""

    request: int
    sent_us: int
    done_us: int
    answers: Answers


@dataclass(frozen=True)
class Slice:
    """A few seconds of one system in one mode. CPU is in seconds, `batches` are items an execution by model."""

    done: list[Done]
    seconds: float
    server_cpu_s: dict[str, float]
    client_cpu_s: float
    batches: dict[str, float]


class System(Protocol):
    """One of those that are compared: a context manager, started once a round."""

    name: str
    modes: tuple[Mode, ...]

    def __enter__(self) -> System:
        """Starts it and warms it up."""

    def __exit__(self, *_: object) -> None:
        """Ends it."""

    def measure(self, mode: Mode, seconds: float, seed: int) -> Slice:
        """Keeps it busy for `seconds`."""

    def expected(self) -> Answers:
        """What it must answer to each photograph."""
