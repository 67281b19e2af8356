"""What lint reads in an ONNX file is what ONNX Runtime says of it; whatever the bytes are, they end in an answer."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from generator.lint.files import MemoryFolder
from generator.lint.model import Model, Repository
from generator.lint.onnx_signature import LARGEST_BYTES, NotOnnxError, Signature, newest, onnx_files, signature
from generator.lint.server import EMBEDDED

MODELS = sorted((Path(__file__).parents[3] / "models").glob("*.onnx"))
RUNTIME_TYPES = {
    "FP32": "float", "FP16": "float16", "FP64": "double", "INT64": "int64", "INT32": "int32", "INT8": "int8",
    "UINT8": "uint8", "BOOL": "bool", "STRING": "string", "BF16": "bfloat16",
}  # fmt: skip
TYPES = {"FP32": "FLOAT", "FP16": "FLOAT16", "FP64": "DOUBLE", "BF16": "BFLOAT16"}
value = helper.make_tensor_value_info


def built(
    inputs: list[Any], outputs: list[Any], nodes: list[Any], weights: tuple[Any, ...] = (), opset: int = 17
) -> bytes:
    graph = helper.make_graph(nodes, "graph", inputs, outputs, initializer=list(weights))
    opsets = [helper.make_opsetid("ai.onnx.ml", 3), helper.make_opsetid("", opset)]
    data: bytes = helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()
    return data


def of_runtime(data: bytes) -> list[list[tuple[str, str, list[int | None]]]]:
    session = onnxruntime.InferenceSession(data)
    return [
        [(each.name, each.type, [d if isinstance(d, int) else None for d in each.shape]) for each in tensors]
        for tensors in (session.get_inputs(), session.get_outputs())
    ]


def of_lint(found: Signature) -> list[list[tuple[str, str, list[int | None]]]]:
    return [
        [(each.name, f"tensor({RUNTIME_TYPES[each.dtype]})", list(each.dims)) for each in tensors]
        for tensors in (found.inputs, found.outputs)
    ]


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_the_models_of_this_project_read_as_the_runtime_reads_them(path: Path) -> None:
    data = path.read_bytes()
    assert of_lint(signature(data)) == of_runtime(data)


@pytest.mark.parametrize("dtype", ["FP32", "FP16", "FP64", "INT64", "INT32", "INT8", "UINT8", "BOOL", "STRING"])
@pytest.mark.parametrize("dims", [[], [3], ["n", 4], ["n", "m", 7]], ids=str)
def test_types_and_shapes_read_as_the_runtime_reads_them(dtype: str, dims: list[Any]) -> None:
    kind = getattr(TensorProto, TYPES.get(dtype, dtype))
    data = built([value("x", kind, dims)], [value("y", kind, dims)], [helper.make_node("Identity", ["x"], ["y"])])
    assert of_lint(signature(data)) == of_runtime(data)


def test_weights_are_no_inputs() -> None:
    weight = helper.make_tensor("w", TensorProto.FLOAT, [4], [1.0, 2.0, 3.0, 4.0])
    inputs = [value("x", TensorProto.FLOAT, ["n", 4]), value("w", TensorProto.FLOAT, [4])]
    data = built(
        inputs, [value("y", TensorProto.FLOAT, ["n", 4])], [helper.make_node("Add", ["x", "w"], ["y"])], (weight,)
    )
    found = signature(data)
    assert [tensor.name for tensor in found.inputs] == ["x"]
    assert found.optional == {"w"}
    assert of_lint(found) == of_runtime(data)
    assert found.may_batch


def test_the_version_of_the_operators_is_that_of_the_main_domain() -> None:
    x, y = value("x", TensorProto.FLOAT, [1]), value("y", TensorProto.FLOAT, [1])
    found = signature(built([x], [y], [helper.make_node("Identity", ["x"], ["y"])], opset=13))
    assert (found.opset, found.ir_version, found.may_batch) == (13, 8, False)


def test_a_tensor_without_a_shape_is_told_of() -> None:
    x, y = value("x", TensorProto.FLOAT, [1]), value("y", TensorProto.FLOAT, None)
    assert signature(built([x], [y], [helper.make_node("Identity", ["x"], ["y"])])).shapeless == {"y"}


@given(st.binary(max_size=200))
def test_any_bytes_end_in_an_answer(data: bytes) -> None:
    with contextlib.suppress(NotOnnxError):
        assert isinstance(signature(data), Signature)


@given(st.data())
def test_a_damaged_file_ends_in_an_answer(data: st.DataObject) -> None:
    whole = bytearray(MODELS[0].read_bytes()[:4000])
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, 200))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(NotOnnxError):
        assert isinstance(signature(bytes(whole)), Signature)


def test_a_cut_file_is_none() -> None:
    whole = MODELS[0].read_bytes()
    with pytest.raises(NotOnnxError, match="ends too early"):
        signature(whole[: len(whole) // 2])


class Large(MemoryFolder):
    """Files that say they are larger than what is read."""

    def size_bytes(self, name: str) -> int:
        return LARGEST_BYTES + 1

    def folder(self, name: str) -> MemoryFolder:
        return Large(dict.fromkeys(super().folder(name).entries, b""), name)


def test_a_file_that_is_too_large_is_not_judged() -> None:
    model = Model(Large({"1/model.onnx": b""}, "m"), Repository(EMBEDDED))
    (file,) = onnx_files(model, model.config)
    assert (file.signature, file.mistake) == (None, "")
    assert newest(model, model.config) is None
