from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tritonkit_runtime import engines
from tritonkit_runtime.parameters import EngineProgram, ParameterError, TensorSpec

X = TensorSpec("x", "FP32", (4,))
TOTAL = TensorSpec("total", "FP32", (1,))
DOUBLED = TensorSpec("doubled", "FP32", (4,))


def load(path: Path, inputs: list[TensorSpec], outputs: list[TensorSpec], batch: int = 8) -> engines.Engine:
    program = EngineProgram("onnxruntime", path.name, 1)
    return engines.load(program, path.parent, inputs, outputs, batch)


def test_a_whole_batch_runs_at_once(sums: Path) -> None:
    engine = load(sums, [X], [DOUBLED, TOTAL])
    x = np.arange(12, dtype=np.float32).reshape(3, 4)
    found = engine.run({"x": x})
    assert list(found) == ["doubled", "total"]
    np.testing.assert_array_equal(found["doubled"], 2 * x)
    np.testing.assert_array_equal(found["total"], x.sum(1, keepdims=True))
    assert (engine.inputs, engine.outputs) == ((X,), (DOUBLED, TOTAL))
    engine.close()


def test_outputs_that_are_not_declared_are_not_computed(sums: Path) -> None:
    assert list(load(sums, [X], [TOTAL]).run({"x": np.ones((1, 4), np.float32)})) == ["total"]


def test_a_fixed_batch_axis(tmp_path: Path, save_onnx: Callable[[Path, str | int], None]) -> None:
    for length in (1, 4):
        save_onnx(tmp_path / f"{length}.onnx", length)
    assert load(tmp_path / "1.onnx", [X], [TOTAL], batch=1).run({"x": np.ones((1, 4), np.float32)})["total"] == 4
    whole = [TensorSpec("x", "FP32", (4, 4))], [TensorSpec("total", "FP32", (4, 1))]
    assert load(tmp_path / "4.onnx", *whole, batch=0).run({"x": np.ones((4, 4), np.float32)})["total"].sum() == 16
    with pytest.raises(ParameterError, match="its batch axis is fixed at 4, but max_batch_size is 4: export"):
        load(tmp_path / "4.onnx", [X], [TOTAL], batch=4)


@pytest.mark.parametrize(
    ("inputs", "outputs", "sentence"),
    [
        ([X], [TensorSpec("sum", "FP32", (1,))], r"has no output 'sum'; its outputs are total, doubled"),
        ([TensorSpec("y", "FP32", (4,))], [TOTAL], r"has an input 'x' that the model does not declare"),
        ([X, TensorSpec("y", "FP32", (4,))], [TOTAL], r"has no input 'y'; its inputs are x"),
        ([TensorSpec("x", "FP16", (4,))], [TOTAL], r"input 'x' of .*: the file has FP32, the model declares FP16"),
        ([TensorSpec("x", "FP32", (5,))], [TOTAL], r"input 'x' of .*: the file has dims \[-1, 4\], .* \[-1, 5\]"),
        ([X], [TensorSpec("total", "FP32", (1, 1))], r"output 'total' of .*: the file has dims \[-1, 1\]"),
    ],
)
def test_declared_tensors_are_checked(
    sums: Path, inputs: list[TensorSpec], outputs: list[TensorSpec], sentence: str
) -> None:
    with pytest.raises(ParameterError, match=sentence):
        load(sums, inputs, outputs)


def test_text_and_outputs_of_unknown_rank(tmp_path: Path) -> None:
    def text(name: str, shape: list[str | int] | None) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.STRING, shape)

    inputs = [text("t", ["n", 2]), helper.make_tensor_value_info("dims", TensorProto.INT64, ["k"])]
    graph = helper.make_graph([helper.make_node("Reshape", ["t", "dims"], ["r"])], "r", inputs, [text("r", None)])
    opset = helper.make_opsetid("", 17)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=8), tmp_path / "r.onnx")
    declared = [TensorSpec("t", "STRING", (-1, 2)), TensorSpec("dims", "INT64", (-1,))]
    engine = load(tmp_path / "r.onnx", declared, [TensorSpec("r", "STRING", (-1,))], batch=0)
    texts = np.array([[b"a", "ö".encode()]], dtype=object)
    found = engine.run({"t": texts, "dims": np.array([2])})
    assert found["r"].tolist() == ["a", "ö"]


def test_files_that_cannot_be_loaded(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match=r"none\.onnx does not exist: build or render the model again"):
        load(tmp_path / "none.onnx", [X], [TOTAL])
    (tmp_path / "bad.onnx").write_bytes(b"junk")
    with pytest.raises(ParameterError, match=r"ONNX Runtime cannot load .*bad\.onnx"):
        load(tmp_path / "bad.onnx", [X], [TOTAL])
    with pytest.raises(ParameterError, match="there is no engine 'tvm'; valid are onnxruntime"):
        engines.load(EngineProgram("tvm", "a", 1), tmp_path, [X], [TOTAL], 1)
