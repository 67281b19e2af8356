"""ONNX Runtime on the CPU in buffers that are its own: nothing is copied but what the caller brings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tritonkit_runtime.buffered.loading import Loaded, load
from tritonkit_runtime.parameters import ParameterError, TensorSpec

X, TOTAL, DOUBLED = (
    TensorSpec("x", "FP32", (4,)),
    TensorSpec("total", "FP32", (1,)),
    TensorSpec("doubled", "FP32", (4,)),
)


def loaded(
    path: Path, inputs: list[TensorSpec], outputs: list[TensorSpec], sizes: tuple[int, ...] = (1, 4)
) -> Loaded:
    return load("onnxruntime", path, inputs, outputs, sizes, gpu=None, slots=2)


def test_answers_are_the_graphs(sums: Path) -> None:
    model = loaded(sums, [X], [DOUBLED, TOTAL])
    for items in (1, 2, 3, 4, 2):
        x = np.random.default_rng(items).normal(size=(items, 4)).astype(np.float32)
        found = model.ring.run({"x": x})
        assert list(found) == ["doubled", "total"]
        np.testing.assert_array_equal(found["doubled"], 2 * x)
        np.testing.assert_allclose(found["total"], x.sum(1, keepdims=True), rtol=1e-6)
    model.close()


def test_the_engine_reads_and_writes_the_staging_itself(sums: Path) -> None:
    model = loaded(sums, [X], [DOUBLED])
    lane = model.ring.take()
    assert lane.slot.hosts == lane.slot.addresses
    lane.slot.staged["x"][:3] = 5
    model.ring.start(lane, 3)
    found = model.ring.finish(lane)["doubled"]
    assert found.tolist() == [[10] * 4] * 3
    assert np.shares_memory(found, lane.slot.staged["doubled"])
    assert lane.slot.staged["doubled"][3].tolist() == [0] * 4, "the padding is zeros"
    model.ring.give_back(lane)
    model.close()


def test_types_that_are_not_float(tmp_path: Path) -> None:
    kinds = {
        "UINT8": TensorProto.UINT8,
        "INT64": TensorProto.INT64,
        "FP16": TensorProto.FLOAT16,
        "BOOL": TensorProto.BOOL,
    }
    inputs = [helper.make_tensor_value_info(name, kind, ["n", 2]) for name, kind in kinds.items()]
    outputs = [helper.make_tensor_value_info(f"{name}_out", kind, ["n", 2]) for name, kind in kinds.items()]
    nodes = [helper.make_node("Identity", [name], [f"{name}_out"]) for name in kinds]
    model = helper.make_model(
        helper.make_graph(nodes, "g", inputs, outputs), opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    )
    onnx.save(model, tmp_path / "m.onnx")
    specs = [[TensorSpec(f"{name}{end}", name, (2,)) for name in kinds] for end in ("", "_out")]
    ready = loaded(tmp_path / "m.onnx", specs[0], specs[1])
    tensors = {tensor.name: np.array([[0, 1], [1, 0], [1, 1]], tensor.dtype) for tensor in ready.engine.inputs}
    found = ready.ring.run(tensors)
    for name, array in tensors.items():
        np.testing.assert_array_equal(found[f"{name}_out"], array)
        assert found[f"{name}_out"].dtype == array.dtype
    ready.close()


@pytest.mark.parametrize(
    ("inputs", "outputs", "sentence"),
    [
        (
            [X],
            [TensorSpec("sum", "FP32", (1,))],
            r"the ONNX file sums.onnx has no output 'sum'; its outputs are total",
        ),
        ([TensorSpec("y", "FP32", (4,))], [TOTAL], r"has an input 'x' that is not declared"),
        (
            [TensorSpec("x", "FP32", (5,))],
            [TOTAL],
            r"input 'x' of the ONNX file sums.onnx: the file has dims \[-1, 4\]",
        ),
        ([TensorSpec("x", "FP32", (-1,))], [TOTAL], r"x FP32 \[-1\] has a length of -1"),
    ],
)
def test_declared_tensors_are_checked(
    sums: Path, inputs: list[TensorSpec], outputs: list[TensorSpec], sentence: str
) -> None:
    with pytest.raises(ParameterError, match=sentence):
        loaded(sums, inputs, outputs)


def test_what_cannot_be_loaded(sums: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"\x00\x01")
    with pytest.raises(ParameterError, match="ONNX Runtime cannot load"):
        loaded(tmp_path / "bad.onnx", [X], [TOTAL])
    with pytest.raises(ParameterError, match="does not exist: build or render the model again"):
        loaded(tmp_path / "none.onnx", [X], [TOTAL])
    with pytest.raises(ParameterError, match="there is no engine 'tvm'; valid are onnxruntime, tensorrt"):
        load("tvm", sums, [X], [TOTAL], (1,), gpu=None)
    with pytest.raises(ParameterError, match="TensorRT runs on a GPU"):
        load("tensorrt", sums, [X], [TOTAL], (1,), gpu=None)


def test_a_graph_that_fails_while_it_runs_costs_its_batch_alone(tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("Gather", ["table", "i"], ["row"])], "g",
        [helper.make_tensor_value_info("i", TensorProto.INT64, ["n"])],
        [helper.make_tensor_value_info("row", TensorProto.FLOAT, ["n", 2])],
        [helper.make_tensor("table", TensorProto.FLOAT, [3, 2], [0, 1, 2, 3, 4, 5])],
    )  # fmt: skip
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "m.onnx"
    )
    ready = loaded(tmp_path / "m.onnx", [TensorSpec("i", "INT64", ())], [TensorSpec("row", "FP32", (2,))])
    from tritonkit_runtime.buffered.errors import BatchError

    with pytest.raises(BatchError, match="the batch was not run: ONNX Runtime could not run the ONNX file"):
        ready.ring.run({"i": np.array([0, 99])})
    assert ready.ring.run({"i": np.array([2, 0, 1])})["row"].tolist() == [[4, 5], [0, 1], [2, 3]]
    ready.close()
