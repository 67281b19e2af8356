"""What Inductor compiled behind the ring on a real GPU, and behind the server; it needs torch and onnx2torch.

The first test tells the most, and everything says when it was reached: what is cut off has told where the time went.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from inductor_ring import DIGITS, LOGITS, PIXELS, SIZES, answer, check_ring, close, items, loaded
from ring_loads import run_every_size

from tritonkit_runtime.device.cuda import Cuda
from tritonkit_runtime.parameters import Copies, ParameterError
from tritonkit_runtime.self_contained import sources

MISSING = [name for name in ("torch", "onnx", "onnx2torch") if importlib.util.find_spec(name) is None]
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(bool(MISSING), reason=f"this Python has no {', '.join(MISSING)}, which Inductor needs"),
]
Tell = Callable[[str], None]
COMPILE_S, AHEAD_S = 120.0, 100.0
BEGUN = time.monotonic()


@pytest.fixture(scope="module")
def tell(request: pytest.FixtureRequest) -> Tell:
    """Prints at once, with the seconds since the beginning, whether pytest captures or not."""
    capture = request.config.pluginmanager.getplugin("capturemanager")

    def told(text: str) -> None:
        with capture.global_and_fixture_disabled():
            print(f"[{time.monotonic() - BEGUN:6.1f} s] {text}", flush=True)

    return told


def compiled(folder: Path, limit_s: float, progress: Tell, *, ahead_of_time: bool) -> Path:
    """The digits on this GPU, compiled in a process of its own as `tritonkit build` does."""
    from generator.engine.compile.base import Settings, ShapeRange
    from generator.engine.compile.inductor.compiler import InductorCompiler

    low, most = ((count, *PIXELS.dims) for count in (1, SIZES[-1]))
    compiler = InductorCompiler(device="cuda", ahead_of_time=ahead_of_time, limit_s=limit_s)
    with pytest.MonkeyPatch.context() as patched:
        # A few kernels: processes to compile them in would each import torch first.
        patched.setenv("TORCHINDUCTOR_COMPILE_THREADS", "1")
        profile = {"pixels": ShapeRange(low, most, most)}
        made = compiler.compile(DIGITS.read_bytes(), Settings("fp32", [profile]), progress)
    progress(str(made.facts))
    path = folder / "model.inductor"
    path.write_bytes(made.data)
    return path


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory, tell: Tell) -> Path:
    return compiled(tmp_path_factory.mktemp("inductor"), COMPILE_S, tell, ahead_of_time=False)


@pytest.fixture(scope="module")
def module(tell: Tell) -> Any:
    """The graph's operators one after the other, on the CPU."""
    from tritonkit_runtime.buffered.inductor_module import from_onnx

    made = from_onnx(DIGITS.read_bytes()).eval()
    tell("torch and onnx2torch are imported here too")
    return made


@pytest.mark.parametrize("copies", ["inside", "beside"])
def test_everyone_gets_the_own_answer(engine: Path, module: Any, copies: Copies, tell: Tell) -> None:
    """Batches of all sizes, several of them under way at the same time, in buffers that are torch's tensors."""
    check_ring(engine, module, copies, tell)


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
def address(engine: Path, tmp_path: Path, tell: Tell) -> Iterator[str]:
    from deploy.embedded.flags import ServerNeeds
    from deploy.embedded.server import EmbeddedServer

    put(tmp_path / "repository", engine)
    needs = ServerNeeds(restricted_apis=())
    server = EmbeddedServer(tmp_path / "repository", needs, log_path=tmp_path / "log", ready_timeout_s=150)
    try:
        tell("the server starts")
        server.start()
        tell("the server is ready")
        yield server.grpc_address
    except BaseException:
        tell((tmp_path / "log").read_text(errors="replace")[-4000:])
        raise
    finally:
        server.stop(grace_s=0)


def test_it_is_served(address: str, module: Any, tell: Tell) -> None:
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
        tell("300 requests of the server's have their answers")


def test_loading_it_compiles_nothing_again(engine: Path, tell: Tell) -> None:
    """What torch.compile left in the file is all that the buckets need."""
    from torch._dynamo.utils import counters

    counters.clear()
    loaded(engine).close()
    found = {key: count for key, count in counters["inductor"].items() if key.startswith("fxgraph_cache")}
    tell(f"loaded once more: {found}")
    assert found.get("fxgraph_cache_hit")
    assert not found.get("fxgraph_cache_miss")


def test_nothing_is_allocated_while_it_runs_and_all_of_it_comes_back(engine: Path, module: Any, tell: Tell) -> None:
    import torch

    device = Cuda()
    check_ring(engine, module, "auto", tell)  # kernels that the driver loads, and what torch keeps for good
    free = device.memory()[0]
    model = loaded(engine)
    before, held = device.memory()[0], torch.cuda.memory_stats()["allocation.all.allocated"]
    run_every_size(model.ring, 300)
    assert device.memory()[0] == before
    assert torch.cuda.memory_stats()["allocation.all.allocated"] == held
    model.close()
    assert device.memory()[0] >= free - (32 << 20)


def test_a_gpu_s_file_is_not_run_on_the_cpu(engine: Path) -> None:
    with pytest.raises(ParameterError, match=r"was compiled for a GPU, and the instance runs on the CPU"):
        loaded(engine, gpu=None)


class NoPackage(Exception):  # noqa: N818 — it is no error
    """AOTInductor made none."""


def test_ahead_of_time(tmp_path: Path, tell: Tell) -> None:
    """Last, and each part in a process of its own with a limit: it died of SIGSEGV where the others ran."""
    from generator.engine.errors import StageError

    def progress(text: str) -> None:
        tell(text)
        if "torch.compile" in text:  # takes its place, which the others have tested
            raise NoPackage(text)

    try:
        path = compiled(tmp_path, AHEAD_S, progress, ahead_of_time=True)
    except (NoPackage, StageError) as error:
        pytest.skip(f"AOTInductor makes no package here: {error}")
    script = Path(__file__).with_name("inductor_ring.py")
    # Nothing of pytest's is between it and whoever reads.
    done = subprocess.run(
        [sys.executable, str(script), str(path)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=AHEAD_S,
        check=False, text=True,
    )  # fmt: skip
    tell(done.stdout[-4000:])
    assert done.returncode == 0
