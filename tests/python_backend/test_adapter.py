"""The adapter with a small stand-in for the server's module; test_live.py has the real one."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

Document = Callable[..., dict[str, Any]]

CONFIG = {
    "max_batch_size": 4,
    "input": [{"name": "x", "data_type": "TYPE_FP32", "dims": ["4"]}],
    "output": [
        {"name": "total", "data_type": "TYPE_FP32", "dims": ["1"]},
        {"name": "doubled", "data_type": "TYPE_FP32", "dims": ["4"]},
    ],
}
USER_CODE = """
class Sums:
    def __init__(self, parameters):
        self.closed = parameters["closed"]
    def run(self, tensors, fail):
        x = tensors["x"]
        if (x > 1000).any():
            raise OverflowError("too large")
        for index in (x.min(axis=1) < 0).nonzero()[0]:
            fail(index, "below 0")
        return {"total": x.sum(axis=1, keepdims=True), "doubled": x + x}
    def close(self):
        open(self.closed, "w").close()
"""


@dataclass
class Tensor:
    tensor_name: str
    array: np.ndarray

    def name(self) -> str:
        return self.tensor_name

    def as_numpy(self) -> np.ndarray:
        return self.array

    @staticmethod
    def from_dlpack(name: str, capsule: object) -> Tensor:
        return Tensor(name, np.array([11, 22, 33, 44]))


@dataclass
class TritonError:
    message: str
    code: int
    INVALID_ARG = 3
    INTERNAL = 1


class TritonModelException(Exception):  # noqa: N818 - the server's name
    pass


@dataclass
class Response:
    output_tensors: list[Tensor] = field(default_factory=list)
    error: TritonError | None = None


@dataclass
class Request:
    x: list[list[float]]
    wanted: tuple[str, ...] = ("total", "doubled")

    def inputs(self) -> list[Tensor]:
        return [Tensor("x", np.array(self.x, np.float32))]

    def requested_output_names(self) -> set[str]:
        return set(self.wanted)


class Logger:
    lines: list[str] = []  # noqa: RUF012 - one log a process, as the server's

    @staticmethod
    def log_error(line: str) -> None:
        Logger.lines.append(line)


@pytest.fixture
def adapter(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    server = ModuleType("triton_python_backend_utils")
    for name, value in {
        "Tensor": Tensor,
        "TritonError": TritonError,
        "TritonModelException": TritonModelException,
        "InferenceResponse": Response,
        "Logger": Logger,
    }.items():
        setattr(server, name, value)
    monkeypatch.setitem(sys.modules, server.__name__, server)
    Logger.lines.clear()
    yield importlib.import_module("tritonkit_runtime.adapter")
    del sys.modules["tritonkit_runtime.adapter"]


@pytest.fixture
def start(adapter: ModuleType, document: Document, tmp_path: Path) -> Callable[..., Any]:
    """Initializes a model in tmp_path/sums/1; keyword arguments replace fields of tritonkit.json."""

    def run(config: dict[str, Any] = CONFIG, **fields: Any) -> Any:
        folder = tmp_path / "sums" / "1"
        folder.mkdir(parents=True)
        (folder / "sums.py").write_text(USER_CODE)
        program = {"kind": "python", "class": "Sums", "file": "sums.py"}
        program["parameters"] = {"closed": str(tmp_path / "closed")}
        defaults: dict[str, Any] = {
            "model": "sums",
            "max_batch_size": 4,
            "inputs": [{"name": "x", "dtype": "FP32", "dims": [4]}],
            "outputs": [
                {"name": "total", "dtype": "FP32", "dims": [1]},
                {"name": "doubled", "dtype": "FP32", "dims": [4]},
            ],
            "program": program,
        }
        (folder / "tritonkit.json").write_text(json.dumps(document(**{**defaults, **fields})))
        model = adapter.TritonPythonModel()
        model.initialize(
            {"model_repository": str(tmp_path / "sums"), "model_version": "1", "model_config": json.dumps(config)}
        )
        return model

    return run


def values(response: Response) -> dict[str, list[Any]]:
    assert response.error is None
    return {tensor.name(): tensor.array.tolist() for tensor in response.output_tensors}


def test_each_request_gets_its_part_or_its_error(start: Callable[..., Any], tmp_path: Path) -> None:
    model = start()
    first, bad, last = model.execute(
        [
            Request([[1, 2, 3, 4]]),
            Request([[1, 1, 1, 1], [1, -1, 1, 1]]),
            Request([[0, 0, 0, 1], [0, 0, 2, 0]], wanted=("total",)),
        ]
    )
    assert values(first) == {"total": [[10]], "doubled": [[2, 4, 6, 8]]}
    assert bad == Response([], TritonError("item 1: below 0", TritonError.INVALID_ARG))
    assert values(last) == {"total": [[1], [2]]}
    model.finalize()
    assert (tmp_path / "closed").exists()


@pytest.mark.parametrize(
    ("kind", "device", "gpu"), [("GPU", "3", 3), ("GPU", "0", 0), ("CPU", "0", None), ("MODEL", "0", None)]
)
def test_the_instances_gpu(adapter: ModuleType, kind: str, device: str, gpu: int | None) -> None:
    assert adapter.gpu_of({"model_instance_kind": kind, "model_instance_device_id": device}) == gpu


def test_a_failing_program_is_the_servers_fault(start: Callable[..., Any]) -> None:
    responses = start().execute([Request([[2000, 0, 0, 0]]), Request([[1, 0, 0, 0]])])
    told = TritonError("model sums failed: OverflowError: too large", TritonError.INTERNAL)
    assert [response.error for response in responses] == [told, told]
    assert "Traceback" in Logger.lines[0]


def test_a_model_that_does_not_fit_its_configuration_does_not_load(start: Callable[..., Any]) -> None:
    sentence = "config.pbtxt and tritonkit.json of model sums differ in max_batch_size: 4 and 8; render"
    with pytest.raises(TritonModelException, match=sentence):
        start(max_batch_size=8)


def test_the_shape_behind_a_reshape_counts(start: Callable[..., Any]) -> None:
    tensor = {"name": "x", "data_type": "TYPE_FP32", "dims": ["2", "2"], "reshape": {"shape": ["4"]}}
    model = start(config={**CONFIG, "input": [tensor]})
    assert values(model.execute([Request([[1, 1, 1, 1]])])[0])["total"] == [[4]]


def test_a_stub_of_another_numpy_does_not_load(start: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = Tensor("check", np.array([11, 11, 11, 11]))
    monkeypatch.setattr(Tensor, "from_dlpack", staticmethod(lambda name, capsule: wrong))
    with pytest.raises(TritonModelException, match="this server's Python stub was built for another numpy"):
        start()
