from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tritonkit_runtime import batch as batches
from tritonkit_runtime import parameters
from tritonkit_runtime.batch import Batch
from tritonkit_runtime.execution import Failure, execute, failure
from tritonkit_runtime.parameters import ParameterError, TensorSpec
from tritonkit_runtime.programs import Program, ProgramError, check_outputs

Document = Callable[..., dict[str, Any]]

USER_CODE = """
import dataclasses
import numpy as np

@dataclasses.dataclass
class Kept:
    closed: bool = False

class Scale:
    def __init__(self, parameters):
        self.by = parameters["by"]
    def run(self, tensors, fail):
        x = tensors["x"]
        for index in np.flatnonzero(x[:, 0] < 0):
            fail(index, f"x is {x[index, 0]:g}, below 0")
        return {"y": x * np.float32(self.by)}
    def close(self):
        self.by = None

class Broken:
    def __init__(self, parameters):
        pass
    def run(self, tensors, fail):
        raise LookupError("no such crop")

class Silent(Broken):
    def run(self, tensors, fail):
        raise LookupError

class Wrong(Broken):
    def run(self, tensors, fail):
        return {"y": tensors["x"].astype(np.float64)}

class NoRun:
    def __init__(self, parameters):
        pass
"""


@pytest.fixture
def program(document: Document, tmp_path: Path) -> Callable[..., tuple[Program, list[str]]]:
    """Builds a program of the given JSON, x FP32 [2] -> y FP32 [2] unless told otherwise; and its log."""
    (tmp_path / "user.py").write_text(USER_CODE)

    def build(json: dict[str, Any], **fields: Any) -> tuple[Program, list[str]]:
        tensor = {"dtype": "FP32", "dims": [2]}
        defaults = {"inputs": [{"name": "x", **tensor}], "outputs": [{"name": "y", **tensor}], "model": "m"}
        log: list[str] = []
        found = parameters.parse(document(program=json, **{**defaults, **fields}))
        return Program(found, tmp_path, log.append), log

    return build


def user(name: str, **fields: Any) -> dict[str, Any]:
    return {"kind": "python", "class": name, "file": "user.py", "parameters": {"by": 3}, **fields}


def batch(*rows: list[float]) -> Batch:
    return batches.concatenate([{"x": np.array([row], np.float32)} for row in rows])


def test_a_users_class(program: Any) -> None:
    scale, _ = program(user("Scale"))
    given = batch([1, 2], [-1, 0], [3, 4])
    np.testing.assert_array_equal(scale.run(given)["y"][[0, 2]], [[3, 6], [9, 12]])
    assert given.failed == {1: "x is -1, below 0"}
    scale.close()


def test_two_models_of_one_file_name_do_not_meet(program: Any, tmp_path: Path) -> None:
    first, _ = program(user("Scale"))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "user.py").write_text(USER_CODE.replace("np.float32(self.by)", "np.float32(-1)"))
    second, _ = program(user("Scale", file="other/user.py"))
    assert first.run(batch([1, 1]))["y"][0, 0] == 3
    assert second.run(batch([1, 1]))["y"][0, 0] == -1


def test_a_class_of_an_importable_module(program: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "importable_scale.py").write_text(USER_CODE)
    monkeypatch.syspath_prepend(tmp_path)
    json = {"kind": "python", "class": "Scale", "module": "importable_scale", "parameters": {"by": 2}}
    assert program(json)[0].run(batch([1, 2]))["y"].tolist() == [[2, 4]]


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"file": "none.py"}, r"the file .*none\.py with class Scale does not exist"),
        ({"class": "Scael"}, r"user\.py has no class 'Scael'; it has Broken, Kept, NoRun, Scale, Silent, Wrong"),
        ({"class": "NoRun"}, r"class NoRun in .*user\.py has no method run\(tensors, fail\)"),
        ({"parameters": {}}, r"Scale\(parameters\) in .*user\.py failed: KeyError: 'by'"),
        ({"file": "syntax.py"}, r"syntax\.py cannot be imported: SyntaxError"),
        ({"file": "notes.txt"}, r"notes\.txt is not a Python file: its name must end in \.py"),
    ],
)
def test_a_class_that_cannot_be_built(program: Any, tmp_path: Path, fields: dict[str, Any], sentence: str) -> None:
    (tmp_path / "syntax.py").write_text("class Scale(")
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(ParameterError, match=sentence):
        program({**user("Scale"), **fields})


def test_a_module_that_cannot_be_imported(program: Any) -> None:
    with pytest.raises(ParameterError, match="module no_such_module cannot be imported: ModuleNotFoundError"):
        program({"kind": "python", "class": "A", "module": "no_such_module"})


@pytest.mark.parametrize(("name", "told"), [("Broken", "LookupError: no such crop"), ("Silent", "LookupError")])
def test_an_exception_is_one_sentence_and_its_traceback_is_logged(program: Any, name: str, told: str) -> None:
    broken, log = program(user(name))
    with pytest.raises(ProgramError) as caught:
        broken.run(batch([1, 2]))
    assert str(caught.value) == f"model m failed: {told}"
    assert "Traceback" in log[0]
    assert "user.py" in log[0]


def test_a_wrong_output_is_refused(program: Any) -> None:
    wrong, log = program(user("Wrong"))
    with pytest.raises(ProgramError) as caught:
        wrong.run(batch([1, 2]))
    assert str(caught.value) == "model m failed: it gave FP64 [1, 2] for the output 'y', expected FP32 [1, 2]"
    assert len(log) == 1


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        ([1], "gave list, expected a dictionary"),
        ({}, r"did not give the output y FP32 \[-1, 2\]"),
        ({"y": [[1, 2]]}, r"gave list for the output y FP32 \[-1, 2\], expected a numpy array"),
        ({"y": np.zeros((1, 3, 2), np.float32), "z": 1}, "gave a tensor 'z' that is not declared; declared are y"),
        ({"y": np.zeros((2, 3, 2), np.float32)}, r"gave FP32 \[2, 3, 2\] .* expected FP32 \[1, -1, 2\]"),
        ({"y": np.zeros((1, 2), np.float32)}, r"gave FP32 \[1, 2\]"),
        ({"y": np.zeros((1, 3, 3), np.float32)}, r"gave FP32 \[1, 3, 3\]"),
        ({"y": np.zeros((1, 3, 2), complex)}, r"gave complex128 \[1, 3, 2\]"),
    ],
)
def test_outputs_are_checked(found: object, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        check_outputs(found, [TensorSpec("y", "FP32", (-1, 2))], 1)


def test_outputs_are_made_contiguous_and_strings_objects() -> None:
    declared = [TensorSpec("t", "STRING", (1,)), TensorSpec("y", "FP32", (2,))]
    flipped = np.zeros((2, 3), np.float32).T
    found = check_outputs({"y": flipped, "t": np.array([["a"], ["ö"], ["c"]])}, declared, 3)
    assert list(found) == ["t", "y"]
    assert found["t"].dtype == object
    assert found["y"].flags.c_contiguous
    assert check_outputs({"y": np.zeros(2, np.float32)}, declared[1:], None)["y"].shape == (2,)


def test_an_output_of_a_type_by_another_name_passes() -> None:
    array = np.zeros((1, 2), np.longlong)
    assert array.dtype is not np.dtype(np.int64)
    assert check_outputs({"y": array}, [TensorSpec("y", "INT64", (2,))], 1)["y"] is array


def test_steps(program: Any, document: Document) -> None:
    base = document()
    steps, log = program(base["program"], inputs=base["inputs"], outputs=base["outputs"])
    image = np.random.default_rng(0).integers(0, 256, (20, 30), dtype=np.uint8)
    item = np.array([[cv2.imencode(".png", image)[1].tobytes()]], dtype=object)
    expected = cv2.resize(image, (8, 8)).astype(np.float32)[:, :, np.newaxis] / np.float32(255)
    requests = [{"image": item}, {"image": np.array([[b""]], dtype=object)}, {"image": np.repeat(item, 2, axis=0)}]
    first, bad, last = execute(steps, requests, batched=True)
    assert bad == Failure("empty (0 bytes)", from_client=True)
    np.testing.assert_array_equal(first["pixels"], [expected])
    np.testing.assert_array_equal(last["pixels"], [expected, expected])
    assert np.shares_memory(first["pixels"], last["pixels"].base)
    assert log == []
    (alone,) = execute(steps, [{"image": item[0]}], batched=False)
    np.testing.assert_array_equal(alone["pixels"], expected)
    steps.close()


def test_an_engine(program: Any, sums: Path) -> None:
    json = {"kind": "engine", "engine": "onnxruntime", "file": str(sums), "intra_op_threads": 1}
    tensors = {
        "inputs": [{"name": "x", "dtype": "FP32", "dims": [4]}],
        "outputs": [{"name": "total", "dtype": "FP32", "dims": [1]}],
    }
    engine, log = program(json, **tensors)
    assert engine.run(batch([1, 2, 3, 4], [0, 0, 0, 1]))["total"].tolist() == [[10], [1]]
    with pytest.raises(ProgramError, match="model m failed: InvalidArgument"):
        engine.run(batch([1, 2]))
    assert "Traceback" in log[0]
    engine.close()


def test_labels_and_scores_may_be_declared_in_any_order(program: Any) -> None:
    json = {"kind": "steps", "steps": [{"step": "top_k", "k": 1}]}
    outputs = [
        {"name": "score", "dtype": "FP32", "dims": [1]},
        {"name": "label", "dtype": "INT64", "dims": [1]},
    ]
    found = program(json, outputs=outputs)[0].run(batch([1, 2]))
    assert (found["score"].tolist(), found["label"].tolist()) == ([[2]], [[1]])
    with pytest.raises(ParameterError, match="the last step gives label, score; the declared outputs are score"):
        program(json, outputs=outputs[:1])


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"inputs": [{"name": n, "dtype": "FP32", "dims": [2]} for n in "ab"]}, "one input that is not optional"),
        ({"inputs": [{"name": "a", "dtype": "FP32", "dims": [2], "optional": True}]}, "one input that is not opt"),
        ({"outputs": [{"name": n, "dtype": "FP32", "dims": [2]} for n in "ab"]}, "one tensor; 2 outputs are decl"),
    ],
)
def test_steps_have_one_input_and_one_output(program: Any, fields: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ParameterError, match=sentence):
        program({"kind": "steps", "steps": [{"step": "softmax"}]}, **fields)


def test_requests_of_unequal_shape_are_batches_of_their_own(program: Any) -> None:
    scale, _ = program(
        user("Scale"),
        inputs=[{"name": "x", "dtype": "FP32", "dims": [-1]}],
        outputs=[{"name": "y", "dtype": "FP32", "dims": [-1]}],
    )
    requests = [{"x": np.full((count, length), count, np.float32)} for count, length in ((1, 2), (2, 3), (3, 2))]
    requests[1]["x"][1, 0] = -7
    first, bad, last = execute(scale, requests, batched=True)
    assert bad == Failure("item 1: x is -7, below 0", from_client=True)
    np.testing.assert_array_equal(first["y"], requests[0]["x"] * 3)
    np.testing.assert_array_equal(last["y"], requests[2]["x"] * 3)
    assert np.shares_memory(first["y"], last["y"].base)


@pytest.mark.parametrize(
    ("message", "kept"),
    [
        ("x" * 1000, "x" * 1000),
        ("x" * 100_000, "x" * 1000 + " … (100,000 characters)"),
        ("ß" * 1000, "ß" * 1000),
        ("字" * 1000, "字" * 666 + " … (1,000 characters)"),
    ],
)
def test_a_message_is_cut_to_what_grpc_carries(message: str, kept: str) -> None:
    assert failure(message, from_client=True) == Failure(kept, from_client=True)


def test_a_failing_program_fails_all_requests_of_its_batch(program: Any) -> None:
    broken, _ = program(user("Broken"))
    requests = [{"x": np.ones((1, 2), np.float32)}] * 2
    failure = Failure("model m failed: LookupError: no such crop", from_client=False)
    assert execute(broken, requests, batched=True) == [failure, failure]


def test_a_file_that_was_replaced_within_the_same_second_is_read_again(document: Document, tmp_path: Path) -> None:
    """Of the same size, too: Python's cache of compiled files could not tell the two apart."""
    tensor = {"dtype": "FP32", "dims": [2]}
    json = document(
        program=user("Add"), inputs=[{"name": "x", **tensor}], outputs=[{"name": "y", **tensor}], max_batch_size=8
    )
    file = tmp_path / "user.py"
    found = []
    for number in (1, 2):
        text = f"class Add:\n    def __init__(self, parameters): pass\n    def run(self, t, fail): return {{'y': t['x'] + {number}}}\n"
        file.write_text(text)
        os.utime(file, (1_700_000_000, 1_700_000_000))
        program = Program(parameters.parse(json), tmp_path, print)
        found.append(program.run(batch([0, 0]))["y"].tolist())
    assert found == [[[1, 1]], [[2, 2]]]
