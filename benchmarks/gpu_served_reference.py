"""What a served model has to answer, and how fast its engine is alone: both with the very plan that is served."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gpu_served_graphs as graphs
import numpy as np
from gpu_served_requests import answer

from tritonkit_runtime.buffered.lane import Lane
from tritonkit_runtime.buffered.loading import load
from tritonkit_runtime.buffered.tensorrt_bindings import nearest_profile
from tritonkit_runtime.parameters import TensorSpec

Array = np.ndarray[Any, Any]
# How far apart answers may be, as a share of the largest: a plan picks other kernels for another size of batch, and
# another plan of the same weights others again.
OWN, OTHER, ANGLE = 0.04, 0.06, 0.001
_TRITON = {"uint8": "UINT8", "int32": "INT32", "int64": "INT64", "fp32": "FP32"}


def run_alone(file: Path, tensors: Mapping[str, Array], on_gpu: bool) -> dict[str, Array]:
    """The answers of a plan (or of an ONNX file, without a GPU) item by item, without a ring or a server."""
    runner: Any
    if on_gpu:
        from generator.engine.compile.tensorrt.runner import TensorRTRunner

        runner = TensorRTRunner(file.read_bytes())
    else:
        from generator.engine.runner import OnnxRunner

        runner = OnnxRunner(file.read_bytes(), threads=1)
    count = len(next(iter(tensors.values())))
    parts = [runner.run({name: array[i : i + 1] for name, array in tensors.items()}) for i in range(count)]
    runner.close()
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def largest_batch(plan: Path, tensors: Mapping[str, Array], most: int) -> int:
    """The largest power of two up to `most` that a profile of the plan takes, with items of these tensors' shapes.

    ValueError if it takes no batch of 1.
    """
    from generator.engine.compile.tensorrt.runner import loaded

    sizes = [1 << power for power in range(most.bit_length()) if 1 << power <= most]
    with loaded(plan.read_bytes()) as runner:
        fits = fitting_batches(runner._engine, {name: array.shape[1:] for name, array in tensors.items()}, sizes)
    if not fits:
        raise ValueError(f"no profile of {plan.name} takes a batch of 1 of what is asked")
    return max(fits)


def fitting_batches(engine: Any, items: Mapping[str, tuple[int, ...]], sizes: Sequence[int]) -> list[int]:
    """Those of the sizes that a profile of a TensorRT engine takes."""
    return [
        size
        for size in sizes
        if nearest_profile(engine, {name: (size, *item) for name, item in items.items()}) is not None
    ]


class Labelled:
    """Five best of images: against the served plan's own, and against all scores of the plan without steps in it."""

    def __init__(self, own: Mapping[str, Array], scores: Array | None) -> None:
        self._own, self._scores = own, scores
        self.worst: dict[str, float] = {"own": 0.0, "other": 0.0, "labels_differ": 0, "labels": 0}

    def nearest(self) -> float:
        """How far apart the two images are that are most alike: more than OWN, or one could pass for the other."""
        score = self._own["score"]
        apart = np.abs(score[:, None] - score[None]).max(axis=2) / score.max()
        return float((apart + np.eye(len(score))).min())

    def check(self, found: Mapping[str, Array], items: Sequence[int]) -> None:
        """ValueError at an answer that is too far off."""
        own = {name: array[list(items)] for name, array in self._own.items()}
        if any(found[name].shape != array.shape for name, array in own.items()):
            raise ValueError(f"an answer has shapes {[list(a.shape) for a in found.values()]}")
        largest = float(own["score"].max())
        self._note("own", float(np.abs(own["score"] - found["score"]).max()) / largest, OWN)
        self.worst["labels_differ"] += int((own["label_index"] != found["label_index"]).sum())
        self.worst["labels"] += own["label_index"].size
        if self._scores is not None:
            self._note("other", graphs.apart_of_top(found, self._scores[list(items)]) / largest, OTHER)

    def _note(self, what: str, far: float, allowed: float) -> None:
        self.worst[what] = max(self.worst[what], far)
        if not far <= allowed:
            raise ValueError(f"an answer is {far:.3g} of the largest score away ({what}); allowed is {allowed}")


class Embedded:
    """Embeddings against the served plan's own."""

    def __init__(self, own: Mapping[str, Array]) -> None:
        [(self._name, self._own)] = own.items()
        self.worst = {"one_minus_cosine": 0.0}

    def check(self, found: Mapping[str, Array], items: Sequence[int]) -> None:
        """ValueError at an answer that is too far off."""
        a, b = found[self._name].astype(np.float64), self._own[list(items)].astype(np.float64)
        if a.shape != b.shape:
            raise ValueError(f"an answer has the shape {list(a.shape)}")
        cosine = (a * b).sum(axis=1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))
        far = float((1 - cosine).max())
        self.worst["one_minus_cosine"] = max(self.worst["one_minus_cosine"], far)
        if not far <= ANGLE:
            raise ValueError(f"an embedding's cosine to its own is {1 - far:.5f}; allowed is {1 - ANGLE}")


def check_all(answers: frozenset[tuple[int, int, bytes, bytes]], items: int, count: int,
              checker: Labelled | Embedded | None) -> None:  # fmt: skip
    """Every distinct answer of a turn; a request has so many items, the first of which is its payload's number."""
    for payload, status, head, body in answers:
        if status != 200:
            raise ValueError(f"status {status}: {body.decode(errors='replace')[:300]}")
        if checker is not None:
            checker.check(answer(head, body), [(payload + place) % count for place in range(items)])


class Alone:
    """An engine in its ring, as the served program has it: copies and computing; three batches in flight."""

    def __init__(
        self, file: Path, inputs: Mapping[str, tuple[str, Sequence[int]]],
        outputs: Mapping[str, tuple[str, Sequence[int]]], sizes: Sequence[int], *, tensors: Mapping[str, Array],
        on_gpu: bool,
    ) -> None:  # fmt: skip
        start = time.monotonic()
        sides = [[TensorSpec(name, _TRITON[kind], tuple(dims)) for name, (kind, dims) in side.items()]
                 for side in (inputs, outputs)]  # fmt: skip
        self._loaded = load(
            "tensorrt" if on_gpu else "onnxruntime", file, sides[0], sides[1], sizes, gpu=0 if on_gpu else None
        )
        self._ring = self._loaded.ring
        for lane in self._ring.lanes:
            for name, array in tensors.items():
                staged = lane.slot.staged[name]
                staged[...] = np.resize(array, staged.shape)
        self.best = sizes[-1]
        self.load_s = time.monotonic() - start
        self.sizes = tuple(sizes)

    def rate(self, seconds: float, size: int | None = None) -> float:
        """Items a second at one size of batch, the best one if it is not said."""
        size, ring, under_way, batches = size or self.best, self._ring, deque[Lane](), 0
        start = time.perf_counter()
        while time.perf_counter() - start < seconds:
            if not ring.free:
                self._end(under_way.popleft())
                batches += 1
            lane = ring.take()
            ring.start(lane, size)
            under_way.append(lane)
        while under_way:
            self._end(under_way.popleft())
            batches += 1
        return batches * size / (time.perf_counter() - start)

    def find_best(self, seconds: float) -> dict[str, float]:
        """Items a second by size of batch; the best one is kept."""
        found = {size: self.rate(seconds, size) for size in self.sizes}
        self.best = max(found, key=found.__getitem__)
        return {str(size): rate for size, rate in found.items()}

    def latency_us(self, batches: int) -> list[float]:
        """Of one item at a time: from a filled staging to outputs in the staging."""
        found = []
        for _ in range(batches):
            start = time.perf_counter_ns()
            lane = self._ring.take()
            self._ring.start(lane, 1)
            self._end(lane)
            found.append((time.perf_counter_ns() - start) / 1000)
        return found

    def _end(self, lane: Lane) -> None:
        self._ring.finish(lane)
        self._ring.give_back(lane)

    def close(self) -> None:
        """Frees it."""
        self._loaded.device.use()
        self._loaded.close()
