"""Several programs in one process: what goes from stage to stage, and what a bad item or a failing stage does."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tritonkit_runtime import batch as batches
from tritonkit_runtime import parameters
from tritonkit_runtime.execution import Failure, execute
from tritonkit_runtime.parameters import ParameterError
from tritonkit_runtime.programs import Program, ProgramError

Document = Callable[..., dict[str, Any]]
Flow = Callable[..., tuple[Program, list[str]]]

USER_CODE = """
import numpy as np

class Double:
    def __init__(self, parameters):
        self.fail_at = parameters.get("fail_at")
        self.seen = []
    def run(self, tensors, fail):
        x = tensors["x"]
        self.seen.append(len(x))
        if self.fail_at is not None:
            for index in np.flatnonzero(x[:, 0] == self.fail_at):
                fail(index, f"x is {self.fail_at}")
        x *= 2  # into the array that it was given
        return {"y": x}

class Strict:
    def __init__(self, parameters):
        pass
    def run(self, tensors, fail):
        assert (tensors["x"] != 0).all(), "a row of a failed item"
        return {"y": tensors["x"] + 1}

class Wrong(Strict):
    def run(self, tensors, fail):
        return {"y": tensors["x"].astype(np.float64)}

class Single(Strict):
    def run(self, tensors, fail):
        if tensors["x"][0] == 7:
            fail(0, "seven")
        return {"y": tensors["x"] * 2}

class Longer(Strict):
    def run(self, tensors, fail):
        return {"y": np.ones((len(tensors["x"]), 5), np.float32)}

class Broken(Strict):
    def run(self, tensors, fail):
        raise LookupError("no such crop")
"""
X = {"name": "x", "dtype": "FP32", "dims": [4]}
Y = {"name": "y", "dtype": "FP32", "dims": [4]}


def stage(name: str, takes: str, gives: str, kind: str = "Strict", **arguments: Any) -> dict[str, Any]:
    """A user's class, x FP32 [4] -> y FP32 [4], between two tensors of the flow."""
    program = {"kind": "python", "class": kind, "file": "user.py", "parameters": arguments}
    sides = {"inputs": [X], "outputs": [Y], "takes": {"x": takes}, "gives": {"y": gives}}
    return {"name": name, **sides, "program": program}


@pytest.fixture
def flow(document: Document, tmp_path: Path, sums: Path) -> Flow:
    """Builds a flow a FP32 [4] -> the given outputs, FP32 [4] unless told otherwise; and its log."""
    (tmp_path / "user.py").write_text(USER_CODE)
    shutil.copy(sums, tmp_path / "sums.onnx")

    def build(*stages: dict[str, Any], outputs: dict[str, list[int]], **fields: Any) -> tuple[Program, list[str]]:
        declared = [{"name": name, "dtype": "FP32", "dims": dims} for name, dims in outputs.items()]
        inputs = [{"name": "a", "dtype": "FP32", "dims": [4]}]
        program = {"kind": "flow", "stages": list(stages)}
        log: list[str] = []
        json = document(**{"model": "m", "inputs": inputs, "outputs": declared, "program": program, **fields})
        return Program(parameters.parse(json), tmp_path, log.append), log

    return build


ENGINE = {
    "name": "engine",
    "inputs": [X],
    "outputs": [{"name": "total", "dtype": "FP32", "dims": [1]}, {"name": "doubled", "dtype": "FP32", "dims": [4]}],
    "program": {"kind": "engine", "engine": "onnxruntime", "file": "sums.onnx", "intra_op_threads": 1},
}


def rows(*values: float) -> np.ndarray[Any, Any]:
    return np.repeat(np.array(values, np.float32)[:, np.newaxis], 4, axis=1)


def requests(*batches_of: list[float]) -> list[dict[str, np.ndarray[Any, Any]]]:
    return [{"a": rows(*values)} for values in batches_of]


def test_a_batch_goes_through_all_stages_and_branches(flow: Flow) -> None:
    program, _ = flow(
        stage("first", "a", "b"),
        {**ENGINE, "takes": {"x": "b"}, "gives": {"total": "sum"}},
        stage("second", "b", "c"),
        outputs={"sum": [1], "c": [4]},
    )
    answers = execute(program, requests([1, 2], [5]), batched=True)
    assert [{name: array.tolist() for name, array in answer.items()} for answer in answers] == [  # type: ignore[union-attr]
        {"sum": [[8], [12]], "c": [[3] * 4, [4] * 4]},
        {"sum": [[24]], "c": [[7] * 4]},
    ]


def test_an_output_may_be_an_input_handed_through(flow: Flow) -> None:
    program, _ = flow(stage("first", "a", "b"), outputs={"a": [4], "b": [4]})
    [answer] = execute(program, requests([1]), batched=True)
    assert not isinstance(answer, Failure)
    assert (answer["a"].tolist(), answer["b"].tolist()) == ([[1] * 4], [[2] * 4])


def test_a_class_that_writes_into_its_input_changes_nothing_for_others(flow: Flow) -> None:
    program, _ = flow(
        stage("first", "a", "b", "Double"),
        stage("second", "a", "c", "Double"),
        stage("third", "b", "d", "Double"),
        outputs={"b": [4], "c": [4], "d": [4]},
    )
    sent = requests([1])
    [answer] = execute(program, sent, batched=True)
    assert not isinstance(answer, Failure)
    assert {name: array[0, 0] for name, array in answer.items()} == {"b": 2, "c": 2, "d": 4}
    assert sent[0]["a"][0, 0] == 1


def test_a_failed_request_goes_no_further(flow: Flow) -> None:
    """As in an ensemble: the next class never sees what the first could not do, nor the request's good items."""
    program, _ = flow(
        stage("first", "a", "b", "Double", fail_at=7),
        stage("second", "b", "c", "Double", fail_at=10),
        stage("third", "c", "d"),
        outputs={"d": [4], "b": [4]},
    )
    answers = execute(program, requests([1, 7], [2], [3, 4], [5], [6]), batched=True)
    assert answers[0] == Failure("item 1: x is 7", from_client=True)
    assert answers[3] == Failure("x is 10", from_client=True)
    told = [answer for answer in answers if not isinstance(answer, Failure)]
    assert [answer["d"][:, 0].tolist() for answer in told] == [[9], [13, 17], [25]]
    assert [answer["b"][:, 0].tolist() for answer in told] == [[4], [6, 8], [12]]
    seen = [stage.runner._instance._instance.seen for stage in program._runner._stages[:2]]  # type: ignore[attr-defined]
    assert seen == [[7], [5]]


def test_all_requests_failed(flow: Flow) -> None:
    program, _ = flow(stage("first", "a", "b", "Double", fail_at=7), stage("second", "b", "c"), outputs={"c": [-1]})
    assert execute(program, requests([7], [7, 7]), batched=True) == [
        Failure("x is 7", from_client=True),
        Failure("item 0: x is 7; item 1: x is 7", from_client=True),
    ]


def test_without_a_batch_axis(flow: Flow) -> None:
    program, _ = flow(
        stage("first", "a", "b", "Single"), stage("second", "b", "c"), outputs={"c": [4]}, max_batch_size=0
    )
    sent = [{"a": np.full(4, value, np.float32)} for value in (1, 7)]
    answers = execute(program, sent, batched=False)
    assert not isinstance(answers[0], Failure)
    assert answers[0]["c"].tolist() == [3] * 4
    assert answers[1] == Failure("seven", from_client=True)


@pytest.mark.parametrize(
    ("kind", "message", "logged"),
    [
        ("Broken", "model m failed: stage second: LookupError: no such crop", "Traceback"),
        (
            "Wrong",
            "model m failed: stage second: it gave FP64 [2, 4] for the output 'y', expected FP32 [2, 4]",
            "it gave",
        ),
    ],
)
def test_a_failing_stage_is_named(flow: Flow, kind: str, message: str, logged: str) -> None:
    program, log = flow(stage("first", "a", "b"), stage("second", "b", "c", kind), outputs={"c": [4]})
    with pytest.raises(ProgramError) as error:
        program.run(batches.concatenate(requests([1, 2])))
    assert str(error.value) == message
    assert logged in log[0]
    assert "stage second" in log[0]


@pytest.mark.parametrize("declared", [[4], [-1]])
def test_what_a_stage_may_give_and_the_model_may_not_is_found(flow: Flow, declared: list[int]) -> None:
    """The stage says that its output has any length; the model has declared 4, or leaves it open as well."""
    loose = {**stage("first", "a", "b", "Longer"), "outputs": [{**Y, "dims": [-1]}]}
    program, _ = flow(loose, outputs={"b": declared})
    [answer] = execute(program, requests([1]), batched=True)
    if declared == [4]:
        told = "model m failed: it gave FP32 [1, 5] for the output 'b', expected FP32 [1, 4]"
        assert answer == Failure(told, from_client=False)
    else:
        assert not isinstance(answer, Failure)
        assert answer["b"].shape == (1, 5)


def test_images_to_labels_in_one_process(document: Document, tmp_path: Path, sums: Path) -> None:
    """Decoding, an engine and top-k: the bad image's request fails, its neighbours are answered."""
    shutil.copy(sums, tmp_path / "sums.onnx")
    pixels = {"name": "pixels", "dtype": "FP32", "dims": [4]}
    answer = [{"name": "label", "dtype": "STRING", "dims": [1]}, {"name": "score", "dtype": "FP32", "dims": [1]}]
    before = [
        {"step": "decode", "to": "gray"},
        {"step": "resize", "size": [2, 2], "method": "nearest"},
        {"step": "cast", "to": "fp32"},
        {"step": "reshape", "dims": [4]},
    ]
    labels = ["north", "east", "south", "west"]
    top = {"step": "top_k", "k": 1, "labels": labels, "label_output": "label", "score_output": "score"}
    image = [{"name": "image", "dtype": "STRING", "dims": [1]}]
    stages = [
        {"name": "before", "inputs": image, "outputs": [pixels], "takes": {"image": "image"},
         "gives": {"pixels": "p"}, "program": {"kind": "steps", "steps": before}},
        {**ENGINE, "takes": {"x": "p"}, "gives": {"doubled": "d"}},
        {"name": "after", "inputs": [{"name": "d", "dtype": "FP32", "dims": [4]}], "outputs": answer,
         "takes": {"d": "d"}, "gives": {"label": "label", "score": "score"},
         "program": {"kind": "steps", "steps": [top]}},
    ]  # fmt: skip
    fields = {"inputs": image, "outputs": answer, "program": {"kind": "flow", "stages": stages}}
    program = Program(parameters.parse(document(**fields)), tmp_path, print)

    def encoded(*values: int) -> bytes:
        return bytes(cv2.imencode(".png", np.array(values, np.uint8).reshape(2, 2))[1])

    items = [[encoded(0, 9, 0, 0)], [b"not an image"], [encoded(0, 0, 0, 5)]]
    answers = execute(program, [{"image": np.array([item], np.object_)} for item in items], batched=True)
    assert isinstance(answers[1], Failure)
    assert answers[1].from_client
    told = [(answer["label"].tolist(), answer["score"].tolist()) for answer in (answers[0], answers[2])]  # type: ignore[index]
    assert told == [([[b"east"]], [[18]]), ([[b"west"]], [[10]])]


@pytest.mark.parametrize(
    ("stages", "sentence"),
    [
        ([], "stages is empty"),
        ([stage("first", "b", "c")], "stage first takes 'b', which no stage before it gives"),
        ([{**stage("first", "a", "b"), "takes": {}}], "stage first is not given its input 'x'"),
        ([{**stage("first", "a", "b"), "takes": {"x": "a", "z": "a"}}], "stage first takes 'z', which it does not"),
        ([{**stage("first", "a", "b"), "gives": {"z": "c"}}], "stage first gives 'z', which it does not declare"),
        ([stage("first", "a", "b")], "no stage gives the output 'c'"),
        ([stage("first", "a", "c", "Nobody")], "stage first: .*has no class 'Nobody'"),
        ([{**stage("first", "a", "c"), "program": {"kind": "flow"}}], r"stages\[0\]\.program\.kind is 'flow'; valid"),
        ([{**stage("first", "a", "c"), "takes": {"x": 1}}], r"stages\[0\]\.takes\.x is 1; it must be a string"),
    ],
)
def test_a_flow_that_does_not_fit_is_told_when_loaded(
    flow: Flow, stages: list[dict[str, Any]], sentence: str
) -> None:
    with pytest.raises(ParameterError, match=sentence):
        flow(*stages, outputs={"c": [4]})
