"""Tests that need a GPU, TensorRT and a plan run where they are asked for: TRITONKIT_PLAN=FILE pytest -m gpu."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from tritonkit_runtime.buffered.ring import Ring
from tritonkit_runtime.buffered.tensorrt import TensorRT
from tritonkit_runtime.device.cuda import Cuda
from tritonkit_runtime.parameters import TensorSpec


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "gpu: needs a GPU, TensorRT, and a plan that TRITONKIT_PLAN names")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where nobody asked for them they are not collected at all."""
    if "gpu" in config.getoption("markexpr"):
        return
    kept = [item for item in items if item.get_closest_marker("gpu") is None]
    config.hook.pytest_deselected(items=[item for item in items if item.get_closest_marker("gpu") is not None])
    items[:] = kept


@pytest.fixture(scope="session")
def plan() -> Path:
    """A plan with a dynamic batch axis that takes 1 to 64 items of FP32 and gives one FP32 output."""
    path = os.environ.get("TRITONKIT_PLAN")
    assert path, "TRITONKIT_PLAN does not name a plan"
    return Path(path)


@pytest.fixture(scope="session")
def specs(plan: Path) -> tuple[list[TensorSpec], list[TensorSpec]]:
    """What the plan has, as a model would declare it."""
    from generator.engine.compile.tensorrt.runner import loaded

    words = {"FLOAT": "FP32", "HALF": "FP16", "INT32": "INT32", "INT64": "INT64", "UINT8": "UINT8"}
    with loaded(plan.read_bytes()) as runner:
        tensors = runner.tensors
    return (
        [TensorSpec(t.name, words[t.dtype], t.shape[1:]) for t in tensors if t.is_input],
        [TensorSpec(t.name, words[t.dtype], t.shape[1:]) for t in tensors if not t.is_input],
    )


@pytest.fixture
def limited(request: pytest.FixtureRequest) -> Iterator[None]:
    """Ends a batch of this process that waits for an engine process, too: after the module's TEST_S."""
    most_s: float = request.module.TEST_S

    def late(number: int, frame: object) -> None:
        raise AssertionError(f"the test takes longer than {most_s:g} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, most_s)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="session")
def warmed(plan: Path, specs: tuple[list[TensorSpec], list[TensorSpec]]) -> Cuda:
    """The first GPU, after the plan has been there once: kernels that the driver loads stay for good."""
    cuda = Cuda()
    engine = TensorRT(cuda, plan, *specs, (1, 64))
    Ring(cuda, engine, (1, 64), slots=2).close()
    engine.close()
    return cuda


@pytest.fixture
def device(warmed: Cuda) -> Iterator[Cuda]:
    """The first GPU, whose memory has its level again afterwards."""
    free = warmed.memory()[0]
    yield warmed
    assert warmed.memory()[0] >= free - (32 << 20), "the driver keeps a little of what it was given, and no buffers"


@pytest.fixture(scope="session")
def library() -> Path:
    """The compiled copy_trace.c, in the folder that TRITONKIT_COPY_TRACE names, with a libcupti.so.N or several."""
    folder = os.environ.get("TRITONKIT_COPY_TRACE")
    assert folder, "TRITONKIT_COPY_TRACE does not name the folder of libcopy_trace.so and libcupti.so.N"
    file = Path(folder).resolve() / "libcopy_trace.so"
    assert file.is_file(), f"there is no {file}: compile copy_trace.c as its first lines say"
    return file


@pytest.fixture(scope="session")
def tried(library: Path, warmed: Cuda, tmp_path_factory: pytest.TempPathFactory) -> dict[Path, str]:
    """Each libcupti of the folder, the newest first, and what it misses of a program whose copies are known."""
    from copy_trace_run import wrong_of_known_program  # which needs more than the others do

    assert warmed.facts()["gpu"]  # this process has its context: only those that are started now are traced
    files = sorted(library.parent.glob("libcupti.so.*"), key=lambda file: file.name, reverse=True)
    assert files, f"there is no libcupti.so.N beside {library}: it is in the package nvidia-cuda-cupti"
    folder = tmp_path_factory.mktemp("known")
    return {file: wrong_of_known_program(library, file, folder / file.name) for file in files}
