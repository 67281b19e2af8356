"""What Inductor compiled behind the ring on a real GPU, and behind the server; it needs torch and onnx2torch."""

from __future__ import annotations

import importlib.util
import json
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ring_loads import answered_in_company, run_every_size

from tritonkit_runtime.batch import Array
from tritonkit_runtime.buffered.loading import Loaded, load
from tritonkit_runtime.device.cuda import Cuda
from tritonkit_runtime.parameters import Copies, ParameterError, TensorSpec
from tritonkit_runtime.self_contained import sources

MISSING = [name for name in ("torch", "onnx", "onnx2torch") if importlib.util.find_spec(name) is None]
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(bool(MISSING), reason=f"this Python has no {', '.join(MISSING)}, which Inductor needs"),
]

SIZES = (1, 4, 16, 64)
# The network of the tutorial: convolutions, and a product of matrices.
DIGITS = Path(__file__).resolve().parents[3] / "models/digits.onnx"
PIXELS, LOGITS = TensorSpec("pixels", "FP32", (1, 8, 8)), TensorSpec("logits", "FP32", (10,))


@pytest.fixture(scope="module", params=[False, True], ids=["torch.compile", "aotinductor"])
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compiled on this GPU, in a process of its own as `tritonkit build` does."""
    from generator.engine.compile.base import Settings, ShapeRange
    from generator.engine.compile.inductor.compiler import InductorCompiler

    low, most = ((count, *PIXELS.dims) for count in (1, SIZES[-1]))
    compiler = InductorCompiler(device="cuda", ahead_of_time=request.param)
    made = compiler.compile(DIGITS.read_bytes(), Settings("fp32", [{"pixels": ShapeRange(low, most, most)}]), print)
    print(made.facts)
    if request.param and made.facts["kind"] != "aotinductor":
        pytest.skip(f"AOTInductor makes no package here: {made.facts['why']}")
    path = tmp_path_factory.mktemp("inductor") / "model.inductor"
    path.write_bytes(made.data)
    return path


def loaded(path: Path, copies: Copies = "auto", gpu: int | None = 0) -> Loaded:
    return load("inductor", path, [PIXELS], [LOGITS], SIZES, gpu=gpu, slots=3, copies=copies)


def items(count: int, seed: int) -> dict[str, Array]:
    return {"pixels": np.random.default_rng(seed).random((count, *PIXELS.dims), np.float32)}


@pytest.fixture(scope="module")
def module() -> Any:
    """The graph's operators one after the other, on the CPU."""
    from tritonkit_runtime.buffered.inductor_module import from_onnx

    return from_onnx(DIGITS.read_bytes()).eval()


def answer(module: Any, tensors: dict[str, Array]) -> Array:
    import torch

    with torch.no_grad():
        found: Array = module(torch.from_numpy(tensors["pixels"])).numpy()
    return found


def close(found: Array, expected: Array) -> bool:
    """TF32 is off: what is left is the order of sums."""
    return bool(np.abs(found.astype(np.float64) - expected).max() <= 1e-4 * max(1.0, np.abs(expected).max()))


@pytest.mark.parametrize("copies", ["inside", "beside", "auto"])
def test_everyone_gets_the_own_answer(engine: Path, module: Any, copies: Copies) -> None:
    """Batches of all sizes, several of them under way at the same time."""
    model = loaded(engine, copies)
    for tensors, found in answered_in_company(model.ring, items, groups=24, seed=5):
        assert isinstance(found, dict)
        assert close(found["logits"], answer(module, tensors)), copies
    model.close()


def test_nothing_is_allocated_while_it_runs_and_all_of_it_comes_back(engine: Path) -> None:
    import torch

    device = Cuda()
    loaded(engine).close()  # kernels that the driver loads, and what torch keeps for good
    free = device.memory()[0]
    model = loaded(engine)
    before, held = device.memory()[0], torch.cuda.memory_stats()["allocation.all.allocated"]
    run_every_size(model.ring, 300)
    assert device.memory()[0] == before
    assert torch.cuda.memory_stats()["allocation.all.allocated"] == held
    model.close()
    assert device.memory()[0] >= free - (32 << 20)


def test_torch_has_the_buffers_themselves(engine: Path) -> None:
    model = loaded(engine)
    for lane in model.ring.lanes:
        for given, answered in lane.session._bound.values():  # type: ignore[attr-defined]
            assert given[0].data_ptr() == lane.slot.addresses["pixels"]
            assert answered[0].data_ptr() == lane.slot.addresses["logits"]
    model.close()


def test_the_rate_in_the_ring(engine: Path) -> None:
    """Prints it: batches of 64, three under way."""
    model, count = loaded(engine), 3000
    under_way = deque(model.ring.take() for _ in range(3))
    started: deque[Any] = deque()
    begun = time.perf_counter()
    for _ in range(count):
        if not under_way:
            lane = started.popleft()
            model.ring.finish(lane)
            under_way.append(lane)
        lane = under_way.popleft()
        model.ring.start(lane, SIZES[-1])
        started.append(lane)
    for lane in started:
        model.ring.finish(lane)
        model.ring.give_back(lane)
    rate = count * SIZES[-1] / (time.perf_counter() - begun)
    print(f"\n{engine.parent.name}: {rate:,.0f} items/s in batches of {SIZES[-1]}")
    assert rate > 0
    model.close()


def test_a_gpu_s_file_is_not_run_on_the_cpu(engine: Path) -> None:
    with pytest.raises(ParameterError, match=r"was compiled for a GPU, and the instance runs on the CPU"):
        loaded(engine, gpu=None)


def put(repository: Path, engine: Path) -> None:
    """A model of the file alone, as it would be rendered with the runtime beside it."""
    folder = repository / "digits" / "1"
    folder.mkdir(parents=True)
    sides = [[{"name": t.name, "dtype": t.dtype, "dims": list(t.dims)}] for t in (PIXELS, LOGITS)]
    document = {
        "format": 1, "pipeline": "digits", "model": "digits", "max_batch_size": SIZES[-1], "inputs": sides[0],
        "outputs": sides[1], "limits": {"max_bytes": 1, "max_pixels": 1},
        "program": {
            "kind": "engine", "engine": "inductor", "file": "model.inductor", "intra_op_threads": 1,
            "buffers": {"buckets": list(SIZES), "slots": 2, "copies": "auto"},
        },
    }  # fmt: skip
    (folder / "tritonkit.json").write_text(json.dumps(document))
    (folder / "model.inductor").symlink_to(engine)
    for path, content in sources((), {"inductor"}).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    (folder / "model.py").write_text(
        "import os, sys\nsys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))\n"
        "from tritonkit_runtime.adapter import TritonPythonModel\n"
    )
    (folder.parent / "config.pbtxt").write_text(
        f'name: "digits"\nbackend: "python"\nmax_batch_size: {SIZES[-1]}\n'
        'input { name: "pixels" data_type: TYPE_FP32 dims: [1, 8, 8] }\n'
        'output { name: "logits" data_type: TYPE_FP32 dims: [10] }\n'
        "instance_group { kind: KIND_GPU count: 1 gpus: 0 }\ndynamic_batching { max_queue_delay_microseconds: 2000 }\n"
    )


@pytest.fixture
def address(engine: Path, tmp_path: Path) -> Iterator[str]:
    from deploy.embedded.flags import ServerNeeds
    from deploy.embedded.server import EmbeddedServer

    put(tmp_path / "repository", engine)
    needs = ServerNeeds(restricted_apis=())
    server = EmbeddedServer(tmp_path / "repository", needs, log_path=tmp_path / "log", ready_timeout_s=240)
    try:
        server.start()
        yield server.grpc_address
    finally:
        server.stop(grace_s=0)


def test_it_is_served(address: str, module: Any) -> None:
    """Requests of several sizes, 16 at a time, in batches that the server forms."""
    import tritonclient.grpc as triton

    with triton.InferenceServerClient(address) as client:

        def ask(seed: int) -> bool:
            tensors = items(seed % 16 + 1, seed)
            given = triton.InferInput("pixels", tensors["pixels"].shape, "FP32")
            given.set_data_from_numpy(tensors["pixels"])
            return close(client.infer("digits", [given]).as_numpy("logits"), answer(module, tensors))

        with ThreadPoolExecutor(16) as pool:
            assert all(pool.map(ask, range(300)))
