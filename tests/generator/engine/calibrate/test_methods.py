"""What INT8 keeps of a network's answers by each way to calibrate, where a way is known to go wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from calibration_graphs import samples
from onnx import TensorProto, helper, numpy_helper

from generator.engine.calibrate import collect, thresholds
from generator.engine.precision import quantize
from generator.engine.runner import OnnxRunner

Array = np.ndarray[Any, Any]
CHANNELS, SIZE, DEPTH = 16, 32, 6


def network() -> onnx.ModelProto:
    """Convolutions with Relu, the last of which is the answer."""
    random = np.random.default_rng(3)
    nodes, weights, last, depth = [], [], "x", 3
    for i in range(DEPTH):
        values = random.standard_normal((CHANNELS, depth, 3, 3)) * (2 / (9 * depth)) ** 0.5
        weights.append(numpy_helper.from_array(values.astype(np.float32), f"w{i}"))
        weights.append(numpy_helper.from_array((0.05 * random.standard_normal(CHANNELS)).astype(np.float32), f"b{i}"))
        nodes.append(helper.make_node("Conv", [last, f"w{i}", f"b{i}"], [f"c{i}"], f"conv{i}", pads=[1, 1, 1, 1]))
        nodes.append(helper.make_node("Relu", [f"c{i}"], [f"r{i}"], f"relu{i}"))
        last, depth = f"r{i}", CHANNELS
    ends = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, ["b", 3, SIZE, SIZE]),
        helper.make_tensor_value_info(last, TensorProto.FLOAT, ["b", CHANNELS, SIZE, SIZE]),
    ]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], weights)
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])


def images(kind: str, count: int, seed: int) -> Array:
    """Noise; or one gray with two bright places, as a detector sees it."""
    random = np.random.default_rng(seed)
    if kind == "noise":
        return random.standard_normal((count, 3, SIZE, SIZE)).astype(np.float32)
    made = np.full((count, 3, SIZE, SIZE), 0.1, np.float32)
    for image in made:
        for _ in range(2):
            row, column = random.integers(0, SIZE - 6, 2)
            image[:, row : row + 6, column : column + 6] = random.random((3, 6, 6), np.float32)
    return made


def kept_db(kind: str, method: str) -> float:
    """Signal to noise of INT8's answers on other images than those of the calibration."""
    model = network()
    ranges = collect(model, samples("x", images(kind, 40, 1), images(kind, 40, 2)), method, symmetric=True)
    gate = {"x": images(kind, 40, 3)}
    answers = []
    for graph in (model, quantize(model, ranges, for_engine="tensorrt")):
        runner = OnnxRunner(graph.SerializeToString(), threads=1)
        answers.append(next(iter(runner.run(gate).values())).astype(np.float64))
        runner.close()
    right, found = answers
    return float(10 * np.log10((right**2).sum() / ((right - found) ** 2).sum()))


@pytest.mark.parametrize("kind", ["noise", "background"])
@pytest.mark.parametrize("method", ["entropy", "percentile"])
def test_no_way_loses_much_to_the_range_of_all(kind: str, method: str) -> None:
    assert kept_db(kind, method) > kept_db(kind, "minmax") - 3


def test_entropy_without_its_bound_would(monkeypatch: pytest.MonkeyPatch) -> None:
    bound = kept_db("background", "entropy")
    monkeypatch.setattr(thresholds, "squared_errors", lambda _histogram, bins, **_: np.zeros(len(bins)))
    assert kept_db("background", "entropy") < bound - 10
