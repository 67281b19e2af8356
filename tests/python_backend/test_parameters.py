from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tritonkit_runtime import parameters
from tritonkit_runtime.parameters import (
    Buffers,
    EngineProgram,
    ParameterError,
    PythonProgram,
    StepsProgram,
    TensorSpec,
)

Document = Callable[..., dict[str, Any]]


def test_all_fields_are_read(document: Document, tmp_path: Path) -> None:
    (tmp_path / "tritonkit.json").write_text(json.dumps(document()))
    found = parameters.load(tmp_path)
    assert (found.pipeline, found.model, found.max_batch_size) == ("digits", "digits_preprocess", 32)
    assert found.inputs == (TensorSpec("image", "STRING", (1,)),)
    assert found.outputs == (TensorSpec("pixels", "FP32", (8, 8, 1)),)
    assert (found.limits.max_bytes, found.limits.max_pixels) == (1_000_000, 100_000)
    assert isinstance(found.program, StepsProgram)
    assert [step.name for step in found.program.steps] == ["decode", "resize", "normalize"]
    assert found.program.steps[1].arguments == {"size": [8, 8], "method": "linear"}


def test_the_other_programs(document: Document) -> None:
    engine = {"kind": "engine", "engine": "onnxruntime", "file": "model.onnx", "intra_op_threads": 2}
    assert parameters.parse(document(program=engine)).program == EngineProgram("onnxruntime", "model.onnx", 2)
    python = {"kind": "python", "class": "Crops", "file": "crops.py", "parameters": {"margin": 0.1}}
    expected = PythonProgram("Crops", "crops.py", None, {"margin": 0.1})
    assert parameters.parse(document(program=python)).program == expected
    python = {"kind": "python", "class": "Crops", "module": "pkg.crops"}
    assert parameters.parse(document(program=python)).program == PythonProgram("Crops", None, "pkg.crops", {})


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"format": 2}, r"format is 2, this runtime reads 1: render the repository again"),
        ({"format": "1"}, r'format is "1"; it must be a whole number'),
        ({"max_batch_size": -1}, r"max_batch_size is -1; it must be at least 0"),
        ({"max_batch_size": True}, r"max_batch_size is true; it must be a whole number"),
        ({"limits": {"max_bytes": 1}}, r"limits\.max_pixels is missing"),
        ({"limits": {"max_bytes": 0, "max_pixels": 1}}, r"limits\.max_bytes is 0; it must be at least 1"),
        ({"inputs": []}, r"inputs is empty"),
        ({"inputs": [{"name": "a", "dims": [1]}]}, r"inputs\[0\]\.dtype is missing"),
        ({"inputs": [{"name": "a", "dtype": "float", "dims": [1]}]}, r"inputs\[0\]\.dtype is 'float'; valid are"),
        ({"inputs": [{"name": "a", "dtype": "BF16", "dims": [1]}]}, r"numpy has no BF16"),
        ({"inputs": [{"name": "a", "dtype": "FP32", "dims": [-2]}]}, r"dims holds -2"),
        ({"inputs": [{"name": "a", "dtype": "FP32", "dims": [1], "optional": 1}]}, r"must be true or false"),
        ({"outputs": [{"name": "a", "dtype": "FP32", "dims": []}] * 2}, r"outputs holds the same name twice"),
        ({"program": {"kind": "shell"}}, r"program\.kind is .shell.; valid are steps, engine, python and flow"),
        ({"program": {"kind": "steps", "steps": []}}, r"program\.steps is empty"),
        ({"program": {"kind": "steps", "steps": ["decode"]}}, r'program\.steps\[0\] is "decode"; it must be an obj'),
        ({"program": {"kind": "python", "class": "A"}}, r"exactly one of file and module"),
        ({"program": {"kind": "engine", "engine": "onnxruntime", "file": "m", "intra_op_threads": 0}}, r"at least 1"),
    ],
)
def test_a_malformed_document_is_told_in_one_sentence(
    document: Document, fields: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ParameterError, match=sentence):
        parameters.parse(document(**fields))


def buffered(**fields: Any) -> dict[str, Any]:
    """An engine's program with these buffers."""
    buffers = {"buckets": [1, 8, 32, 128], "slots": 2, "copies": "auto", **fields}
    return {"kind": "engine", "engine": "onnxruntime", "file": "m", "intra_op_threads": 1, "buffers": buffers}


@pytest.mark.parametrize(
    ("fields", "process"), [({}, "own"), ({"process": "own"}, "own"), ({"process": "shared"}, "shared")]
)
def test_whose_process_runs_the_engine(document: Document, fields: dict[str, Any], process: Any) -> None:
    program = parameters.parse(document(program=buffered(**fields))).program
    assert isinstance(program, EngineProgram)
    assert program.buffers == Buffers((1, 8, 32, 128), 2, "auto", process=process)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"process": "other"}, r"program\.buffers\.process is 'other'; valid are own, shared"),
        ({"process": 1}, r"program\.buffers\.process is 1; it must be a string"),
        ({"preprocess": "auto"}, r"buffers\.process is 'shared', and does not go with all that is said; found preprocess$"),
        ({"preprocess": "auto", "decode": "auto"}, r"found preprocess$"),
        ({"inputs": "device"}, r"found inputs$"),
        ({"outputs": "device", "inputs": "device"}, r"found inputs, outputs$"),
        ({"copies": "inside"}, r"found copies$"),
        ({"lengths": [16, 32]}, r"found lengths$"),
    ],
)  # fmt: skip
def test_what_a_shared_process_does_not_go_with(document: Document, fields: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ParameterError, match=sentence):
        parameters.parse(document(program=buffered(**{"process": "shared", **fields})))


@pytest.mark.parametrize("fields", [
    {"copies": "beside"}, {"preprocess": "cpu", "decode": "cpu", "inputs": "host"},
    {"preprocess": "gpu"}, {"preprocess": "gpu", "decode": "gpu"}, {"preprocess": "gpu", "decode": "auto"},
])  # fmt: skip
def test_what_a_shared_process_goes_with(document: Document, fields: dict[str, Any]) -> None:
    program = parameters.parse(document(program=buffered(process="shared", **fields))).program
    assert isinstance(program, EngineProgram)
    assert program.buffers is not None
    assert program.buffers.process == "shared"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "cannot be read: No such file"),
        ("{", "is not JSON"),
        ("[]", r"the document is \[\]; it must be an obj"),
    ],
)
def test_the_file_is_named(tmp_path: Path, content: str | None, sentence: str) -> None:
    if content is not None:
        (tmp_path / "tritonkit.json").write_text(content)
    with pytest.raises(ParameterError, match=rf"tritonkit\.json.*{sentence}"):
        parameters.load(tmp_path)
