"""As much of torch as an engine of Inductor's asks for: tensors over memory that is there, and a package that is run.

The package answers y = 2 x + 1. On the made-up GPU, which is plain memory, what is put between the ends of a recording
runs when that is replayed.
"""

from __future__ import annotations

import ctypes
import json
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from tritonkit_runtime.batch import Array
from tritonkit_runtime.device.host import Host

RANGES = {"dtype": "float32", "min": [1, 3], "opt": [4, 3], "max": [8, 3], "axes": ["batch", ""]}
SAID = {"inputs": ["x"], "outputs": ["y"], "precision": "fp32", "device": "cpu", "ranges": {"x": RANGES}}
VERSION = "2.11.0+cu130"


class GpuOfPlainMemory(Host):
    """A device whose memory has to be copied to and from."""

    unified = False


class Tensor:
    """An array in words of torch's."""

    def __init__(self, array: Array, torch: FakeTorch) -> None:
        self.array, self._torch = array, torch

    @property
    def dtype(self) -> str:
        return str(self.array.dtype)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    def data_ptr(self) -> int:
        return self.array.ctypes.data

    def view(self, dtype: str) -> Tensor:
        return Tensor(self.array.view(dtype), self._torch)

    def reshape(self, shape: Sequence[int]) -> Tensor:
        return Tensor(self.array.reshape(shape), self._torch)

    def copy_(self, other: Tensor) -> None:
        self._torch.put(lambda: np.copyto(self.array, other.array))


class FakeTorch:
    """The module. `says` is what its package answers with; `runs` counts how often the package itself was run."""

    OutOfMemoryError = MemoryError
    uint8, float32, int64 = "uint8", "float32", "int64"

    def __init__(self) -> None:
        self.__version__ = VERSION
        self.version = SimpleNamespace(cuda="13.0")
        self.backends = SimpleNamespace(
            cuda=SimpleNamespace(matmul=SimpleNamespace(allow_tf32=True)), cudnn=SimpleNamespace(allow_tf32=True)
        )
        self.threads, self.runs, self.replays = 8, 0, 0
        self.recording: list[Callable[[], None]] | None = None
        self.fails: Exception | None = None
        self.says: Callable[[Array], Array] = lambda x: 2 * x + 1
        # What cuBLAS was given outside of a recording, and what a recording found there when it was made.
        self.workspaces, self.found_by_recordings = 0, 0
        self._C = SimpleNamespace(_cuda_clearCublasWorkspaces=self._forget)
        self._inductor = SimpleNamespace(aoti_load_package=self._load)
        self.cuda = SimpleNamespace(
            is_available=lambda: True, set_device=lambda _: None, get_device_capability=lambda: (9, 0),
            get_device_name=lambda: "NVIDIA H200", empty_cache=lambda: None, graph_pool_handle=object,
            ExternalStream=lambda number, device: SimpleNamespace(synchronize=lambda: None, number=number),
            stream=nullcontext, CUDAGraph=lambda: FakeGraph(self), graph=self._graph,
        )  # fmt: skip

    def _load(self, path: str, *, run_single_threaded: bool, device_index: int = -1) -> Any:
        assert Path(path).suffix == ".pt2"
        assert run_single_threaded
        assert device_index in (-1, 0)
        return SimpleNamespace(loader=SimpleNamespace(run=self._run))

    def _forget(self) -> None:
        self.workspaces = 0

    def _run(self, tensors: list[Tensor]) -> list[Tensor]:
        self.runs += 1
        if self.recording is not None:
            self.found_by_recordings += self.workspaces
        self.workspaces = 1
        if self.fails is not None:
            raise self.fails
        [given] = tensors
        found = Tensor(self.says(given.array), self)
        if self.recording is not None:  # it is what lies there when the recording is replayed that counts
            self.put(lambda: np.copyto(found.array, self.says(given.array)))
        return [found]

    def put(self, work: Callable[[], None]) -> None:
        if self.recording is None:
            work()
        else:
            self.recording.append(work)

    @contextmanager
    def _graph(self, graph: FakeGraph, *, pool: object, stream: Any, capture_error_mode: str) -> Iterator[None]:
        assert capture_error_mode == "thread_local"
        assert pool is not None
        assert stream.number
        self.recording = graph.work
        yield
        self.recording = None

    def set_num_threads(self, count: int) -> None:
        self.threads = count

    def get_num_threads(self) -> int:
        return self.threads

    def no_grad(self) -> Any:
        return nullcontext()

    def frombuffer(self, block: Any, *, dtype: str) -> Tensor:
        return Tensor(np.frombuffer(block, dtype), self)

    def as_tensor(self, memory: Any, *, device: str) -> Tensor:
        assert device == "cuda:0"
        said = memory.__cuda_array_interface__
        block = (ctypes.c_ubyte * said["shape"][0]).from_address(said["data"][0])
        return Tensor(np.frombuffer(block, np.uint8), self)


class FakeGraph:
    """A recording."""

    def __init__(self, torch: FakeTorch) -> None:
        self.work: list[Callable[[], None]] = []
        self._torch = torch

    def replay(self) -> None:
        self._torch.replays += 1
        for work in self.work:
            work()


def package(path: Path, **said: Any) -> Path:
    """A file as AOTInductor writes it, but for the code."""
    about = {**SAID, "torch": VERSION, "threads": 1, "instructions": [], **said}
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model/data/aotinductor/model/a.wrapper.so", b"code")
        archive.writestr("model/data/aotinductor/model/a.kernel_metadata.json", "{}")
        archive.writestr(
            "model/data/aotinductor/model/a.wrapper_metadata.json", json.dumps({"tritonkit": json.dumps(about)})
        )
    return path
