"""The GPUs of this machine: asked before a server starts, and what it is not to start with then."""

from __future__ import annotations

import ctypes
import json
import time
from pathlib import Path
from typing import Any

import pytest
from engine_projects import digits_project

from deploy.embedded import machine
from deploy.embedded.refresh import render_for
from generator.lint.server import EMBEDDED, Gpu
from generator.problems import ProblemsError
from tritonkit.cli import main

H200, A100 = Gpu("NVIDIA H200", "9.0"), Gpu("NVIDIA A100-SXM4-80GB", "8.0")
OWN = """name: own
inputs: {x: {type: fp32, dims: [1]}}
outputs: {y: {type: fp32, dims: [1]}}
models:
  plan:
    files: models/plan
    inputs: {x: {type: fp32, dims: [1]}}
    outputs: {y: {type: fp32, dims: [1]}}
    config: {backend: python}
batching: {max_batch_size: 0}
"""
MODEL = """import triton_python_backend_utils as pb_utils
class TritonPythonModel:
    def execute(self, requests):
        return [pb_utils.InferenceResponse([pb_utils.get_input_tensor_by_name(r, "x")]) for r in requests]
"""


class Driver:
    """libnvidia-ml.so.1 as far as it is asked: `found` are its GPUs, None one that does not answer."""

    def __init__(self, *found: Gpu | None, status: int = 0) -> None:
        self.found, self.status, self.ended = found, status, 0

    def nvmlInit_v2(self) -> int:  # noqa: N802
        return self.status

    def nvmlShutdown(self) -> int:  # noqa: N802
        self.ended += 1
        return 0

    def nvmlDeviceGetCount_v2(self, count: Any) -> int:  # noqa: N802
        count._obj.value = len(self.found)
        return 0

    def nvmlDeviceGetHandleByIndex_v2(self, index: Any, device: Any) -> int:  # noqa: N802
        device._obj.value = index.value + 1
        return 0 if self.found[index.value] is not None else 15

    def nvmlDeviceGetName(self, device: Any, name: Any, _size: Any) -> int:  # noqa: N802
        name.value = self._gpu(device).name.encode()
        return 0

    def nvmlDeviceGetCudaComputeCapability(self, device: Any, major: Any, minor: Any) -> int:  # noqa: N802
        major._obj.value, minor._obj.value = map(int, self._gpu(device).capability.split("."))
        return 0

    def _gpu(self, device: Any) -> Gpu:
        gpu = self.found[device.value - 1]
        assert gpu is not None
        return gpu


def with_driver(monkeypatch: pytest.MonkeyPatch, driver: Driver) -> tuple[Gpu, ...] | None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _name: driver)
    return machine.gpus()


def test_without_a_driver_it_is_known_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_DEVICES", ())
    start = time.monotonic()
    assert machine.gpus("libnvidia-ml-that-nobody-has.so.1") == ()
    assert time.monotonic() - start < 5


def test_this_machine_is_asked_for_real() -> None:
    """Whatever it has: it agrees with the driver's files."""
    has = any(Path("/dev").glob("nvidia[0-9]*"))
    assert bool(machine.gpus()) == has


def test_every_gpu_that_answers_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = Driver(H200, None, A100)
    assert with_driver(monkeypatch, driver) == (H200, A100)
    assert driver.ended == 1


def test_a_driver_that_does_not_start_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = Driver(H200, status=9)
    assert with_driver(monkeypatch, driver) == ()
    assert driver.ended == 0


def test_where_the_driver_does_not_answer_nothing_is_known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert with_driver(monkeypatch, Driver(H200, status=999)) is None
    assert with_driver(monkeypatch, Driver(None)) is None
    assert with_driver(monkeypatch, Driver()) == ()
    monkeypatch.undo()
    monkeypatch.setattr(machine, "_DEVICES", (tmp_path,))  # a container with the device and without the library
    assert machine.gpus("libnvidia-ml-that-nobody-has.so.1") is None


# Before a server starts ----------------------------------------------------------------------------------------------


def own_plan(root: Path, built_on: Gpu) -> Path:
    """A Python model that runs a plan by itself, as a directory; the plan was built on that GPU."""
    version = root / "plan" / "1"
    version.mkdir(parents=True)
    said = {
        "engine": "tensorrt", "file": {"name": "model.plan"},
        "compiled": {"gpu": built_on.name, "compute_capability": built_on.capability},
    }  # fmt: skip
    (version / "engine.json").write_text(json.dumps(said))
    (version / "model.py").write_text(MODEL)
    return root


def configure(repository: Path, runs: str) -> None:
    """Gives the model of `own_plan` its configuration; `runs` is the line that names what runs it."""
    (repository / "plan" / "config.pbtxt").write_text(
        f'{runs}\ninput {{ name: "x" data_type: TYPE_FP32 dims: 1 }}\n'
        'output { name: "y" data_type: TYPE_FP32 dims: 1 }\n'
    )


def test_serving_refuses_a_plan_of_another_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    repository = own_plan(tmp_path / "repository", A100)
    configure(repository, 'backend: "python"')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(machine, "gpus", lambda: (H200,))
    assert main(["serve", "--repository", "repository"]) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "TK797" in said
    assert "this machine has NVIDIA H200" in said


def test_serving_refuses_a_plan_where_there_is_no_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    repository = own_plan(tmp_path / "repository", A100)
    configure(repository, 'backend: "python"')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(machine, "gpus", tuple)
    assert main(["serve", "--repository", "repository"]) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "TK797" in said
    assert "this machine has no GPU" in said


def test_rendering_for_a_server_refuses_it_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which is what `serve` and `update` begin with."""
    project = digits_project(tmp_path / "project")
    (project.root / "specs" / "digits.yaml").unlink()
    (project.root / "specs" / "own.yaml").write_text(OWN)
    own_plan(project.root / "models", A100)
    monkeypatch.setattr(machine, "gpus", lambda: (A100,))
    assert "own/1/engine.json" in render_for(project, "embedded").tree.files
    monkeypatch.setattr(machine, "gpus", lambda: (H200,))
    with pytest.raises(ProblemsError) as refused:
        render_for(project, "embedded")
    assert [problem.code for problem in refused.value.problems] == ["TK797"]
    assert not project.repository("embedded").exists()


def test_the_embedded_server_refuses_every_plan_of_tritons_own_backend(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    repository = own_plan(tmp_path / "repository", H200)
    configure(repository, 'platform: "tensorrt_plan"')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(machine, "gpus", lambda: (H200,))
    assert main(["serve", "--repository", "repository"]) == 1
    assert "tensorrt" in capsys.readouterr().err


def test_here_is_the_same_server_with_its_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "gpus", lambda: (H200,))
    server = machine.here(EMBEDDED)
    assert (server.machine, server.release, server.backends) == ((H200,), EMBEDDED.release, EMBEDDED.backends)
