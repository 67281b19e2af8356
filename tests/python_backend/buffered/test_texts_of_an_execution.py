"""Texts of several lengths in one execution of a flow: each request is answered as if it were alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_device import FakeDevice
from fake_words import Words

from tritonkit_runtime import parameters
from tritonkit_runtime.batch import Array, Batch, Tensors
from tritonkit_runtime.buffered.errors import BatchError
from tritonkit_runtime.buffered.lane import Lane
from tritonkit_runtime.buffered.ring import Ring
from tritonkit_runtime.execution import Failure, execute
from tritonkit_runtime.programs import Program, flow

TEXT = {"name": "text", "dtype": "STRING", "dims": [1]}
INPUTS = [{"name": name, "dtype": "INT32", "dims": [-1]} for name in ("ids", "mask")]
OUTPUTS = [
    {"name": "tokens", "dtype": "FP32", "dims": [2, -1]},
    {"name": "mean", "dtype": "FP32", "dims": [1]},
    {"name": "width", "dtype": "INT64", "dims": [1]},
]
BUFFERS = {"buckets": [1, 2, 4, 8], "slots": 2, "copies": "auto", "lengths": [3, 8, 16]}


def stage(name: str, inputs: list[Any], outputs: list[Any], program: dict[str, Any]) -> dict[str, Any]:
    takes, gives = ({tensor["name"]: tensor["name"] for tensor in side} for side in (inputs, outputs))
    return {"name": name, "inputs": inputs, "outputs": outputs, "takes": takes, "gives": gives, "program": program}


DOCUMENT = {
    "format": 1, "pipeline": "p", "model": "p", "max_batch_size": 8, "inputs": [TEXT], "outputs": OUTPUTS,
    "limits": {"max_bytes": 99, "max_pixels": 1},
    "program": {"kind": "flow", "stages": [
        stage("texts", [TEXT], INPUTS, {"kind": "steps", "steps": [{"step": "decode", "to": "gray"}]}),
        stage("engine", INPUTS, OUTPUTS, {
            "kind": "engine", "engine": "onnxruntime", "file": "words.onnx", "intra_op_threads": 1,
            "buffers": BUFFERS,
        }),
    ]},
}  # fmt: skip


class Padded:
    """In the place of `tokenize`: a text is as many tokens as it says, `bad` is no text; requests are padded alike."""

    def run(self, batch: Batch) -> Tensors:
        texts = [text.decode() for text in batch.tensors["text"][:, 0]]
        counts = [1 if text == "bad" else int(text) for text in texts]
        counts = [16 if text == "bad" else count for text, count in zip(texts, counts, strict=True)]
        ids = np.zeros((len(counts), max(counts)), np.int32)
        for row, count in enumerate(counts):
            ids[row, :count] = np.arange(1, count + 1)
            if texts[row] == "bad":
                batch.fail(row, "is no text")
        ends = np.cumsum(batch.counts)
        widths = tuple(max(counts[end - n : end]) for end, n in zip(ends, batch.counts, strict=True))
        batch.lengths.update(dict.fromkeys(("ids", "mask"), widths))
        return {"ids": ids, "mask": (ids > 0).astype(np.int32)}

    def close(self) -> None:
        pass


Run = Callable[..., list[Tensors | Failure]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Run]:
    """Texts of each request, as tokens -> the answers. `run.started` are the batches: items and length."""
    (tmp_path / "words.onnx").write_bytes(b"")
    real, device = flow.single_runner, FakeDevice()
    monkeypatch.setattr("tritonkit_runtime.buffered.loading._gpu", lambda index: device)
    monkeypatch.setattr("tritonkit_runtime.buffered.onnxruntime.OnnxRuntime", lambda *given, **options: Words(device))

    def runner(program: Any, *rest: Any) -> Any:
        return Padded() if isinstance(program, parameters.StepsProgram) else real(program, *rest)

    monkeypatch.setattr(flow, "single_runner", runner)
    logged: list[str] = []
    made = Program(parameters.parse(DOCUMENT), tmp_path, logged.append, 0)

    def execution(*requests: tuple[object, ...]) -> list[Tensors | Failure]:
        arrays = [{"text": np.array([[str(text).encode()] for text in texts], np.object_)} for texts in requests]
        return execute(made, arrays, batched=True)

    execution.logged = logged  # type: ignore[attr-defined]
    yield execution
    made.close()


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The batches that were started: items and length."""
    found: list[tuple[int, int]] = []
    start = Ring.start

    def noted(self: Ring, lane: Lane, items: int, length: int = 0, **more: Any) -> None:
        found.append((items, length))
        start(self, lane, items, length, **more)

    monkeypatch.setattr(Ring, "start", noted)
    return found


def tokens(count: int) -> Array:
    ids = np.arange(1, count + 1, dtype=np.float32)
    return np.stack([2 * ids, ids * ids])


@pytest.mark.parametrize("texts", [(3, 16, 8), (3, 2, 1), (16, 16), (5,)])
def test_an_output_has_the_length_of_its_own_request(run: Run, texts: tuple[int, ...]) -> None:
    for count, answer in zip(texts, run(*((count,) for count in texts)), strict=True):
        assert isinstance(answer, dict)
        np.testing.assert_array_equal(answer["tokens"], tokens(count)[np.newaxis])
    [_, two] = run((16,), (2, 3))
    assert isinstance(two, dict)
    assert two["tokens"].shape == (2, 2, 3)


def test_a_text_that_is_none_makes_no_other_one_long(run: Run, started: list[tuple[int, int]]) -> None:
    first, bad, third = run((3,), ("bad",), (2,))
    assert started == [(2, 3)]
    assert bad == Failure("is no text", from_client=True)
    for answer, count in ((first, 3), (third, 2)):
        assert isinstance(answer, dict)
        np.testing.assert_array_equal(answer["tokens"], tokens(count)[np.newaxis])
    started.clear()
    last = run((16,), ("bad",), (2,))[2]
    assert sorted(started) == [(1, 2), (1, 16)]
    assert isinstance(last, dict)
    assert last["width"].tolist() == [[3]], "it ran in the bucket of its own length"


def test_a_batch_that_fails_costs_its_own_requests_alone(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    start = Ring.start

    def failing(self: Ring, lane: Lane, items: int, length: int = 0, **more: Any) -> None:
        if length == 16:
            raise BatchError("the batch was not run: made up")
        start(self, lane, items, length, **more)

    monkeypatch.setattr(Ring, "start", failing)
    told = "model p failed: stage engine: the batch was not run: made up"
    for _ in range(5):
        first, long, bad, last = run((3,), (16, 2), ("bad",), (8,))
        assert long == Failure(told, from_client=False)
        assert bad == Failure("is no text", from_client=True)
        for answer, count in ((first, 3), (last, 8)):
            assert isinstance(answer, dict)
            np.testing.assert_array_equal(answer["tokens"], tokens(count)[np.newaxis])
    assert len(run.logged) == 5  # type: ignore[attr-defined]
    assert run((16,), (16,)) == [Failure(told, from_client=False)] * 2
