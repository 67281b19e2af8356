"""A model's program whose engine runs in buffers: the same answers and sentences as without, memory given back."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import psutil
import pytest
from onnx import TensorProto, helper

from tritonkit_runtime import parameters
from tritonkit_runtime.batch import Joined, concatenate, single
from tritonkit_runtime.parameters import ParameterError
from tritonkit_runtime.programs import Program, ProgramError

Make = Callable[..., Program]
BUFFERS = {"buckets": [1, 2, 4], "slots": 2, "copies": "auto"}


@pytest.fixture
def make(document: Callable[..., dict[str, Any]], tmp_path: Path, sums: Path) -> Make:
    """The program of a model `sums`; `buffers` are its engine's, and fields replace those of the document."""
    shutil.copy(sums, tmp_path / "sums.onnx")

    def build(
        buffers: dict[str, Any] | None = BUFFERS,
        *,
        engine: str = "onnxruntime",
        gpu: int | None = None,
        **fields: Any,
    ) -> Program:
        program = {"kind": "engine", "engine": engine, "file": fields.pop("file", "sums.onnx"), "intra_op_threads": 1}
        defaults = {
            "model": "sums", "max_batch_size": 4,
            "inputs": [{"name": "x", "dtype": "FP32", "dims": [4]}],
            "outputs": [{"name": "total", "dtype": "FP32", "dims": [1]}],
            "program": program | ({} if buffers is None else {"buffers": buffers}),
        }  # fmt: skip
        read = parameters.parse(document(**{**defaults, **fields}))
        return Program(read, tmp_path, lambda _: None, gpu)

    return build


@pytest.mark.parametrize("items", [1, 2, 3, 4])
def test_a_batch_of_every_size_is_answered_as_without_buffers(make: Make, items: int) -> None:
    batch = concatenate([{"x": np.random.default_rng(items).normal(size=(items, 4)).astype(np.float32)}])
    [ring, usual] = [make(), make(None)]
    np.testing.assert_array_equal(ring.run(batch)["total"], usual.run(batch)["total"])
    ring.close()
    usual.close()


def flow_of(program: dict[str, Any]) -> dict[str, Any]:
    """The fields of a flow whose only stage is that program, under other names outside."""
    x, total = {"name": "x", "dtype": "FP32", "dims": [4]}, {"name": "total", "dtype": "FP32", "dims": [1]}
    stage = {
        "name": "engine", "inputs": [x], "outputs": [total], "takes": {"x": "values"}, "gives": {"total": "sum"},
        "program": program,
    }  # fmt: skip
    return {
        "inputs": [{**x, "name": "values"}], "outputs": [{**total, "name": "sum"}],
        "program": {"kind": "flow", "stages": [stage]},
    }  # fmt: skip


@pytest.mark.parametrize("in_a_flow", [False, True])
def test_requests_of_a_batch_are_not_joined_before_they_are_staged(
    make: Make, monkeypatch: pytest.MonkeyPatch, in_a_flow: bool
) -> None:
    """Each row is copied once, to the staging."""
    engine = {
        "kind": "engine",
        "engine": "onnxruntime",
        "file": "sums.onnx",
        "intra_op_threads": 1,
        "buffers": BUFFERS,
    }
    program, usual = make(**(flow_of(engine) if in_a_flow else {})), make(None)
    lot = np.random.default_rng(2)
    rows = [lot.normal(size=(items, 4)).astype(np.float32) for items in (1, 2, 1)]
    expected = usual.run(concatenate([{"x": array} for array in rows]))["total"]

    def refused(_tensors: Joined, name: str) -> None:
        raise AssertionError(f"{name} was joined")

    monkeypatch.setattr(Joined, "__getitem__", refused)
    inside, outside = ("values", "sum") if in_a_flow else ("x", "total")
    found = program.run(concatenate([{inside: array} for array in rows]))[outside]
    np.testing.assert_array_equal(found, expected)
    program.close()
    usual.close()


def test_an_answer_outlives_the_next_batch(make: Make) -> None:
    program = make()
    first = program.run(concatenate([{"x": np.full((2, 4), 1, np.float32)}]))["total"]
    for value in range(2, 6):
        program.run(concatenate([{"x": np.full((2, 4), value, np.float32)}]))
    assert first.tolist() == [[4], [4]]
    program.close()


def test_a_model_without_a_batch_axis(make: Make, tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("Neg", ["x"], ["y"])], "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [4])],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "neg.onnx")
    outputs = [{"name": "y", "dtype": "FP32", "dims": [4]}]
    program = make({**BUFFERS, "buckets": [1]}, file="neg.onnx", max_batch_size=0, outputs=outputs)
    assert program.run(single({"x": np.arange(4, dtype=np.float32)}))["y"].tolist() == [0, -1, -2, -3]
    program.close()


def test_a_batch_that_fails_is_told_in_one_sentence_and_the_next_runs(make: Make, tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("Gather", ["table", "i"], ["row"])], "g",
        [helper.make_tensor_value_info("i", TensorProto.INT64, ["n", 1])],
        [helper.make_tensor_value_info("row", TensorProto.FLOAT, ["n", 1, 2])],
        [helper.make_tensor("table", TensorProto.FLOAT, [3, 2], [0, 1, 2, 3, 4, 5])],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "rows.onnx")
    sides = {
        "inputs": [{"name": "i", "dtype": "INT64", "dims": [1]}],
        "outputs": [{"name": "row", "dtype": "FP32", "dims": [1, 2]}],
    }
    program = make(file="rows.onnx", **sides)
    with pytest.raises(ProgramError, match=r"^model sums failed: the batch was not run: ONNX Runtime could not run"):
        program.run(concatenate([{"i": np.array([[0], [99]])}]))
    assert program.run(concatenate([{"i": np.array([[2]])}]))["row"].tolist() == [[[4, 5]]]
    program.close()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"engine": "tensorrt"}, "TensorRT runs on a GPU; give the instance one"),
        ({"gpu": 0}, r"the model wants GPU 0, and it cannot be used: no GPU driver is here"),
        ({"buffers": {**BUFFERS, "buckets": [1, 2]}}, "buckets ends at 2, and the largest batch is 4: render"),
        ({"buffers": {**BUFFERS, "buckets": [2, 1, 4]}}, r"program.buffers.buckets is \[2, 1, 4\]; it must hold"),
        ({"buffers": {**BUFFERS, "buckets": []}}, r"program.buffers.buckets is \[\]; it must hold sizes"),
        ({"buffers": {**BUFFERS, "buckets": [0, 4]}}, r"program.buffers.buckets\[0\] is 0; it must be at least 1"),
        ({"buffers": {**BUFFERS, "buckets": ["4"]}}, r"program.buffers.buckets\[0\] is \"4\"; it must be a whole"),
        ({"buffers": {**BUFFERS, "slots": 1}}, "program.buffers.slots is 1; it must be at least 2"),
        ({"buffers": {**BUFFERS, "copies": "fast"}}, "program.buffers.copies is 'fast'; valid are auto, inside"),
        ({"buffers": {"buckets": [4]}}, "program.buffers.copies is missing"),
    ],
)
def test_what_cannot_be_loaded(make: Make, monkeypatch: pytest.MonkeyPatch, options: Any, told: str) -> None:
    def refuse(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr("tritonkit_runtime.device.cuda.ctypes.CDLL", refuse)  # as where there is no driver
    with pytest.raises(ParameterError, match=told):
        make(**options)


def test_an_engine_that_is_not_installed(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ParameterError, match=r"^sums.onnx cannot be made ready on the CPU: import of onnxruntime"):
        make()


def test_memory_is_given_back(make: Make, tmp_path: Path) -> None:
    """64 MB a load: of twenty loads, those of at most four may still be held."""
    dims = [1 << 20]
    graph = helper.make_graph(
        [helper.make_node("Neg", ["x"], ["y"])], "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", *dims])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", *dims])],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "large.onnx")
    tensors = {
        "inputs": [{"name": "x", "dtype": "FP32", "dims": dims}],
        "outputs": [{"name": "y", "dtype": "FP32", "dims": dims}],
    }
    process = psutil.Process()
    before = process.memory_info().rss
    for _ in range(20):
        program = make(file="large.onnx", **tensors)
        program.run(concatenate([{"x": np.ones((3, *dims), np.float32)}]))
        program.close()
    assert process.memory_info().rss - before < 4 * 64_000_000
