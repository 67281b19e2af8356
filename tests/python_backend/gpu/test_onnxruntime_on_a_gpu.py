"""ONNX Runtime's CUDA provider behind the ring on a real GPU: its session's stream is the lane's, tensors are bound."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from ring_loads import answered_in_company, run_every_size

from tritonkit_runtime.batch import Array
from tritonkit_runtime.buffered.loading import Loaded, load
from tritonkit_runtime.device.cuda import Cuda
from tritonkit_runtime.parameters import Copies, ParameterError, TensorSpec

pytestmark = pytest.mark.gpu

ROOT = Path(__file__).resolve().parents[3]
SIZES = (1, 4, 16, 64)
# The network of the tutorial: convolutions, which cuDNN searches kernels for.
DIGITS = ROOT / "models/digits.onnx"


def cpu(path: Path) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def specs(path: Path) -> tuple[list[TensorSpec], list[TensorSpec]]:
    """What the file has, as a model would declare it."""
    session, words = cpu(path), {"tensor(float)": "FP32", "tensor(int64)": "INT64", "tensor(uint8)": "UINT8"}
    inputs, outputs = (
        [TensorSpec(node.name, words[node.type], tuple(node.shape[1:])) for node in nodes]
        for nodes in (session.get_inputs(), session.get_outputs())
    )
    return inputs, outputs


def loaded(copies: Copies = "auto") -> Loaded:
    return load("onnxruntime", DIGITS, *specs(DIGITS), SIZES, gpu=0, slots=3, copies=copies)


def items(count: int, seed: int) -> dict[str, Array]:
    [given], _ = specs(DIGITS)
    return {given.name: np.random.default_rng(seed).random((count, *given.dims), np.float32)}


def close(found: Array, expected: Array) -> bool:
    """TF32 is off: what is left is the order of sums."""
    return bool(np.abs(found.astype(np.float64) - expected).max() <= 1e-4 * max(1.0, np.abs(expected).max()))


@pytest.mark.parametrize("copies", ["inside", "beside", "auto"])
def test_everyone_gets_the_own_answer(copies: Copies) -> None:
    """Batches of all sizes, several of them under way at the same time."""
    model, session = loaded(copies), cpu(DIGITS)
    names = [node.name for node in session.get_outputs()]
    for tensors, answer in answered_in_company(model.ring, items, groups=16, seed=5):
        assert isinstance(answer, dict)
        for name, expected in zip(names, session.run(names, tensors), strict=True):
            assert close(answer[name], expected), (copies, name)
    model.close()


def test_nothing_is_allocated_while_it_runs_and_all_of_it_comes_back() -> None:
    device = Cuda()
    loaded().close()  # kernels that the driver loads stay for good
    free = device.memory()[0]
    model = loaded()
    before = device.memory()[0]
    run_every_size(model.ring, 300)
    assert device.memory()[0] == before
    model.close()
    assert device.memory()[0] >= free - (32 << 20)


def test_it_runs_on_the_gpu_and_not_on_the_host() -> None:
    """Every node, or a batch would come back to the host in the middle of its stream."""
    model = loaded()
    session = model.ring.lanes[0].session._session  # type: ignore[attr-defined]
    assert session.get_providers()[0] == "CUDAExecutionProvider"
    settings = session.get_provider_options()["CUDAExecutionProvider"]
    assert int(settings["user_compute_stream"]) == model.ring.lanes[0].stream
    model.close()


def test_a_gpu_that_is_not_there() -> None:
    with pytest.raises(ParameterError, match="the model wants GPU 99, and it cannot be used"):
        load("onnxruntime", DIGITS, *specs(DIGITS), SIZES, gpu=99)
