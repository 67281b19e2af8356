"""What Inductor compiled in buffers, with a stand-in for torch: what is told of files that do not fit, and recordings."""

from __future__ import annotations

import json
import os
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_torch import RANGES, FakeTorch, GpuOfPlainMemory, package

from tritonkit_runtime.buffered import inductor_package
from tritonkit_runtime.buffered.errors import BatchError
from tritonkit_runtime.buffered.inductor import Inductor
from tritonkit_runtime.buffered.loading import load
from tritonkit_runtime.buffered.ring import Ring
from tritonkit_runtime.device.errors import OutOfMemoryError
from tritonkit_runtime.device.host import Host
from tritonkit_runtime.parameters import ParameterError, TensorSpec

X, Y = TensorSpec("x", "FP32", (3,)), TensorSpec("y", "FP32", (3,))
ON_GPU = {"device": "cuda", "cuda": "13.0", "compute_capability": "9.0"}
SIZES = (1, 4, 8)


@pytest.fixture
def torch(monkeypatch: pytest.MonkeyPatch) -> FakeTorch:
    found = FakeTorch()
    monkeypatch.setitem(sys.modules, "torch", found)  # type: ignore[arg-type]
    monkeypatch.setattr(inductor_package, "instructions", lambda: ["avx2", "fma"])
    return found


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return package(tmp_path / "model.inductor", instructions=["avx2"])


def engine(path: Path, *, on_gpu: bool = False, inputs: Any = (X,), outputs: Any = (Y,), **more: Any) -> Inductor:
    return Inductor(GpuOfPlainMemory() if on_gpu else Host(), path, inputs, outputs, SIZES, **more)


@pytest.fixture(params=[False, True], ids=["cpu", "gpu"])
def ring(request: pytest.FixtureRequest, torch: FakeTorch, tmp_path: Path) -> Iterator[Ring]:
    on_gpu = request.param
    made = engine(package(tmp_path / "model.inductor", **(ON_GPU if on_gpu else {})), on_gpu=on_gpu)
    found = Ring(made.device, made, SIZES, slots=2)
    yield found
    found.close()
    made.close()


def test_answers_of_every_size(ring: Ring) -> None:
    for items in (1, 2, 4, 7, 8, 3):
        x = np.random.default_rng(items).random((items, 3), np.float32)
        np.testing.assert_array_equal(ring.run({"x": x})["y"], 2 * x + 1)


def test_on_a_gpu_a_batch_is_one_replay(torch: FakeTorch, tmp_path: Path) -> None:
    made = engine(package(tmp_path / "model.inductor", **ON_GPU), on_gpu=True)
    ring = Ring(made.device, made, SIZES, slots=2)
    assert not made.recordable, "the ring records nothing: torch does, in memory that it gives to nobody else"
    runs, replays = torch.runs, torch.replays
    for items in (1, 5, 8):
        ring.run({"x": np.ones((items, 3), np.float32)})
    assert (torch.runs, torch.replays) == (runs, replays + 3)
    ring.close()
    made.close()


def test_a_recording_has_workspaces_of_its_own_and_leaves_none(torch: FakeTorch, tmp_path: Path) -> None:
    made = engine(package(tmp_path / "model.inductor", **ON_GPU), on_gpu=True)
    ring = Ring(made.device, made, SIZES, slots=2)
    assert torch.found_by_recordings == 0, "another engine that is closed would free what the recording uses"
    assert torch.workspaces == 0, "torch would keep them when the engine is closed"
    ring.close()
    made.close()


def test_precision_and_threads_are_set_before_anything_runs(torch: FakeTorch, file: Path) -> None:
    made = engine(file, threads=1)
    assert (torch.threads, torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32) == (
        1,
        False,
        False,
    )
    made.close()


def test_files_of_its_own_lie_in_a_folder_that_goes_with_it(
    torch: FakeTorch, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", "/before")
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
    first, second = engine(file), engine(file)
    place = Path(os.environ["TORCHINDUCTOR_CACHE_DIR"]).parent
    assert place == Path(os.environ["TRITON_CACHE_DIR"]).parent
    assert place.is_dir()
    first.close()
    assert place.is_dir(), "the other engine still has it"
    second.close()
    assert not place.exists()
    assert os.environ["TRITON_CACHE_DIR"] == "/before"
    assert "TORCHINDUCTOR_CACHE_DIR" not in os.environ


def test_without_torch(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ParameterError, match=r"needs PyTorch 2\.11\.0, which the server's Python does not have"):
        engine(file)
    assert "TORCHINDUCTOR_CACHE_DIR" not in os.environ


@pytest.mark.parametrize(
    ("said", "on_gpu", "words"),
    [
        ({"torch": "2.10.0"}, False, "was compiled by PyTorch 2.10.0, and here is 2.11.0: build it again"),
        (ON_GPU, False, "was compiled for a GPU, and the instance runs on the CPU"),
        ({}, True, "was compiled for the CPU, and the instance runs on a GPU"),
        ({**ON_GPU, "compute_capability": "8.0"}, True, "was compiled for compute capability 8.0, and here is 9.0"),
        ({**ON_GPU, "cuda": "12.8"}, True, "was compiled for CUDA 12.8, and here is 13.0"),
        ({"instructions": ["avx2", "avx512f"]}, False, "a processor with avx512f, which this one lacks"),
        ({"threads": 2}, False, "was compiled for 2 threads, and `intra_op_threads` is 1"),
        ({"inputs": ["z"]}, False, "has no input 'x'; its inputs are z"),
        ({"outputs": ["y", "z"]}, False, "has an output 'z' that is not declared"),
        ({"ranges": {"x": {**RANGES, "dtype": "int64"}}}, False, "input 'x' of .* is int64, declared is FP32"),
        ({"ranges": {"x": {**RANGES, "max": [4, 3]}}}, False, r"may be \[1, 3\] to \[4, 3\], and a batch of 8 is"),
        ({"ranges": {"x": {**RANGES, "min": [1], "max": [8]}}}, False, r"and a batch of 1 is \[1, 3\]"),
    ],
)
def test_a_file_that_does_not_fit(
    torch: FakeTorch, tmp_path: Path, said: dict[str, Any], on_gpu: bool, words: str
) -> None:
    path = package(tmp_path / "model.inductor", **said)
    with pytest.raises(ParameterError, match=words):
        engine(path, on_gpu=on_gpu)
    assert torch.runs == 0
    assert "TORCHINDUCTOR_CACHE_DIR" not in os.environ


def test_other_builds_of_one_release_are_the_same(torch: FakeTorch, tmp_path: Path) -> None:
    engine(package(tmp_path / "model.inductor", torch="2.11.0+cpu")).close()


def test_text_has_no_kernels(torch: FakeTorch, file: Path) -> None:
    with pytest.raises(ParameterError, match="'y' is UINT16, which PyTorch has no kernels for"):
        engine(file, outputs=(TensorSpec("y", "UINT16", (3,)),))


def nonsense(path: Path) -> None:
    path.write_bytes(b"nonsense")


def of_others(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model/a_metadata.json", json.dumps({"AOTI_DEVICE_KEY": "cpu"}))


def no_object(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("meta.json", "[]")


def too_large(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("meta.json", b" " * (2 << 20))


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (nonsense, "cannot be read as what Inductor compiles: File is not a zip file"),
        (of_others, "is no package that tritonkit had Inductor compile"),
        (no_object, "meta.json is no JSON object"),
        (too_large, "meta.json has 2,097,152 bytes"),
    ],
)
def test_a_file_of_something_else(tmp_path: Path, write: Callable[[Path], None], words: str) -> None:
    path = tmp_path / "model.inductor"
    write(path)
    with pytest.raises(ParameterError, match=f"model.inductor .*{words}.*: build or render the model again"):
        engine(path)


def test_an_answer_of_another_shape(torch: FakeTorch, file: Path) -> None:
    torch.says = lambda x: x[:, :2]
    with pytest.raises(ParameterError, match=r"output 'y' of .* is float32 \[8, 2\] for a batch of 8, .* \[8, 3\]"):
        load("inductor", file, [X], [Y], SIZES, gpu=None)


@pytest.mark.parametrize(
    ("raised", "expected", "words"),
    [
        (RuntimeError("no kernel\nat line 1"), ParameterError, "cannot run a batch of 8: PyTorch could not run .*no"),
        (MemoryError("no room"), OutOfMemoryError, "there is no room for the file model.inductor of Inductor"),
    ],
)
def test_what_torch_refuses_while_it_is_made_ready(
    torch: FakeTorch, file: Path, raised: Exception, expected: type[Exception], words: str
) -> None:
    torch.fails = raised
    with pytest.raises(expected, match=words):
        load("inductor", file, [X], [Y], SIZES, gpu=None)
    assert "TORCHINDUCTOR_CACHE_DIR" not in os.environ


def test_a_batch_that_torch_refuses(torch: FakeTorch, file: Path) -> None:
    model = load("inductor", file, [X], [Y], SIZES, gpu=None)
    torch.fails = RuntimeError("no")
    with pytest.raises(
        BatchError, match=r"PyTorch could not run the file model\.inductor of Inductor: RuntimeError: no"
    ):
        model.ring.run({"x": np.ones((2, 3), np.float32)})
    torch.fails = None
    assert model.ring.run({"x": np.ones((2, 3), np.float32)})["y"].tolist() == [[3] * 3] * 2
    model.close()


def test_the_processor_s_instructions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = tmp_path / "cpuinfo"
    facts.write_text("processor : 0\nflags\t\t: fpu avx2 sse4_2 lm fma\n\nprocessor : 1\nflags : avx512f\n")
    monkeypatch.setattr(inductor_package, "_CPU_FACTS", facts)
    assert inductor_package.instructions() == ["avx2", "fma", "sse4_2"]
    monkeypatch.setattr(inductor_package, "_CPU_FACTS", tmp_path / "absent")
    assert inductor_package.instructions() == []
