"""What Inductor compiles here, in the ring that serves it: where torch and onnx2torch are, which CI does not have."""

from __future__ import annotations

import importlib.util
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from generator.engine.compile.base import Profile, Settings, ShapeRange
from generator.engine.compile.inductor.compiler import InductorCompiler
from generator.engine.compile.inductor.runner import InductorRunner
from generator.engine.runner import OnnxRunner
from tritonkit_runtime.buffered import inductor_package
from tritonkit_runtime.buffered.loading import load
from tritonkit_runtime.parameters import ParameterError, TensorSpec

MISSING = [name for name in ("torch", "onnx2torch") if importlib.util.find_spec(name) is None]
pytestmark = [
    pytest.mark.skipif(bool(MISSING), reason=f"this Python has no {', '.join(MISSING)}"),
    pytest.mark.timeout(900),  # compilers of C++ run, with whatever else does
    pytest.mark.filterwarnings("ignore"),  # torch's own
]
GRAPH = Path(__file__).parents[4] / "models" / "digits.onnx"
PIXELS, LOGITS = TensorSpec("pixels", "FP32", (1, 8, 8)), TensorSpec("logits", "FP32", (10,))
PROFILE: Profile = {"pixels": ShapeRange((1, 1, 8, 8), (8, 1, 8, 8), (32, 1, 8, 8))}


@pytest.fixture(scope="module", params=["aotinductor", "torch.compile"])
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = InductorCompiler(ahead_of_time=request.param == "aotinductor", threads=1)
    made = compiler.compile(GRAPH.read_bytes(), Settings("fp32", [PROFILE]), print)
    assert (made.facts["kind"], made.file) == (request.param, "model.inductor")
    path = tmp_path_factory.mktemp("inductor") / made.file
    path.write_bytes(made.data)
    return path


def test_answers_are_onnx_runtimes(engine: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A package needs no compiler of C++, which torch looks for when it compiles."""
    if inductor_package.described(engine)["kind"] == "aotinductor":
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.delenv("CXX", raising=False)
    model = load("inductor", engine, [PIXELS], [LOGITS], (1, 8, 32), gpu=None, slots=2)
    expected = OnnxRunner(GRAPH.read_bytes())
    for items in (1, 2, 8, 9, 32):
        tensors = {"pixels": np.random.default_rng(items).random((items, 1, 8, 8), np.float32)}
        found = model.ring.run(tensors)["logits"]
        np.testing.assert_allclose(found, expected.run(tensors)["logits"], atol=1e-4)
    place = Path(os.environ["TORCHINDUCTOR_CACHE_DIR"])
    model.close()
    assert not place.exists()
    expected.close()


def test_loading_it_compiles_nothing_again(engine: Path) -> None:
    """Neither a bucket nor another thread finds a size that nothing in the file is for; lengths of images stay fixed."""
    from torch._dynamo.utils import counters

    if inductor_package.described(engine)["kind"] != "torch.compile":
        pytest.skip("a package has nothing to compile")
    counters.clear()
    model = load("inductor", engine, [PIXELS], [LOGITS], (1, 2, 4, 8, 16, 32), gpu=None, slots=3)
    compiled = dict(counters["inductor"])
    assert compiled["fxgraph_cache_hit"]
    assert not compiled.get("fxgraph_cache_miss")
    graphs = counters["stats"]["unique_graphs"]
    with ThreadPoolExecutor(1) as pool:
        for items in range(1, 33):
            pool.submit(model.ring.run, {"pixels": np.zeros((items, 1, 8, 8), np.float32)}).result()
    assert counters["stats"]["unique_graphs"] == graphs
    model.close()


def test_the_gates_runner_answers_the_same(engine: Path) -> None:
    tensors = {"pixels": np.random.default_rng(0).random((5, 1, 8, 8), np.float32)}
    runner, expected = InductorRunner(engine.read_bytes(), threads=1), OnnxRunner(GRAPH.read_bytes())
    np.testing.assert_allclose(runner.run(tensors)["logits"], expected.run(tensors)["logits"], atol=1e-4)
    runner.close()
    expected.close()


@pytest.mark.parametrize(
    ("threads", "sizes", "words"),
    [(2, (1, 8), "compiled for 1 threads"), (1, (1, 64), "a batch of 64 is")],
)
def test_what_it_was_not_compiled_for(engine: Path, threads: int, sizes: tuple[int, ...], words: str) -> None:
    with pytest.raises(ParameterError, match=words):
        load("inductor", engine, [PIXELS], [LOGITS], sizes, gpu=None, threads=threads)
