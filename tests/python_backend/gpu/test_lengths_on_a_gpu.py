"""A plan with an open axis behind the ring on a real GPU: every length in its bucket, one CUDA graph for each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tritonkit_runtime.buffered.errors import ShapeError
from tritonkit_runtime.buffered.requests import begin
from tritonkit_runtime.buffered.ring import Copies, Ring
from tritonkit_runtime.buffered.tensorrt import TensorRT
from tritonkit_runtime.device.cuda import Cuda
from tritonkit_runtime.parameters import ParameterError, TensorSpec

pytestmark = pytest.mark.gpu

SIZES, LENGTHS = (1, 4, 8), (16, 32, 64, 128)
_ALIVE: list[object] = []  # TensorRT 8.6 crashes when a builder is freed before what it has made
X, Y, TOTAL = TensorSpec("x", "FP32", (-1,)), TensorSpec("y", "FP32", (-1,)), TensorSpec("total", "FP32", (1,))


@pytest.fixture(scope="module")
def doubling(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plan: x FP32 [1 to 8, 1 to 128] -> y = x + x, and total [n, 1], the sum of each row."""
    from generator.engine.compile.tensorrt.api import load
    from generator.engine.compile.tensorrt.network import empty_network

    trt = load()
    logger = trt.Logger(trt.Logger.WARNING)
    builder = trt.Builder(logger)
    network = empty_network(trt, builder)
    x = network.add_input("x", trt.float32, (-1, -1))
    for name, layer in (
        ("y", network.add_elementwise(x, x, trt.ElementWiseOperation.SUM)),
        ("total", network.add_reduce(x, trt.ReduceOperation.SUM, 1 << 1, True)),
    ):
        output = layer.get_output(0)
        output.name = name
        network.mark_output(output)
    profile = builder.create_optimization_profile()
    profile.set_shape("x", (1, 1), (4, 32), (8, 128))
    config = builder.create_builder_config()
    config.add_optimization_profile(profile)
    plan = builder.build_serialized_network(network, config)
    _ALIVE.extend((logger, builder, network, config))
    assert plan is not None
    path = tmp_path_factory.mktemp("plans") / "doubling.plan"
    path.write_bytes(bytes(plan))
    return path


@pytest.mark.parametrize("copies", ["inside", "beside"])
def test_requests_of_all_lengths_are_answered_as_if_each_were_alone(
    device: Cuda, doubling: Path, copies: Copies
) -> None:
    engine = TensorRT(device, doubling, [X], [Y, TOTAL], SIZES, lengths=LENGTHS)
    ring = Ring(device, engine, SIZES, slots=3, copies=copies, lengths=LENGTHS)
    lot = np.random.default_rng(0)
    for _ in range(20):
        shapes = list(zip(lot.integers(1, 9, 4), lot.integers(1, 129, 4), strict=True))
        requests = [{"x": lot.standard_normal(shape, np.float32)} for shape in shapes]
        for tensors, answer in zip(requests, begin(ring, requests).answers(), strict=True):
            assert isinstance(answer, dict), answer
            np.testing.assert_array_equal(answer["y"], 2 * tensors["x"])
            np.testing.assert_allclose(answer["total"], tensors["x"].sum(1, keepdims=True), rtol=1e-4, atol=1e-3)
    with pytest.raises(ShapeError, match="a batch of length 129 has no bucket; there are 16, 32, 64, 128"):
        ring.run({"x": np.zeros((1, 129), np.float32)})
    ring.close()
    engine.close()


def test_nothing_is_allocated_while_lengths_change(device: Cuda, doubling: Path) -> None:
    engine = TensorRT(device, doubling, [X], [Y, TOTAL], SIZES, lengths=LENGTHS)
    ring = Ring(device, engine, SIZES, slots=2, lengths=LENGTHS)
    before, lot = device.memory()[0], np.random.default_rng(1)
    for _ in range(200):
        ring.run({"x": lot.standard_normal((int(lot.integers(1, 9)), int(lot.integers(1, 129))), np.float32)})
    assert device.memory()[0] == before
    ring.close()
    engine.close()


def test_a_length_that_the_plan_was_not_built_for_is_refused_at_start(device: Cuda, doubling: Path) -> None:
    with pytest.raises(
        ParameterError, match=r"no profile of the plan doubling\.plan takes a batch of 1 of length 256"
    ):
        TensorRT(device, doubling, [X], [Y, TOTAL], SIZES, lengths=(16, 256))


def test_an_output_as_long_as_another_axis_is_refused_at_start(device: Cuda, doubling: Path) -> None:
    """Of a batch's shape the plan itself is asked, and that is when the ring makes its contexts."""
    engine = TensorRT(device, doubling, [X], [Y, TensorSpec("total", "FP32", (-1,))], SIZES, lengths=LENGTHS)
    with pytest.raises(ParameterError, match=r"an axis of any length .* must be as long as that of the inputs"):
        Ring(device, engine, SIZES, slots=2, lengths=LENGTHS)
    engine.close()
