"""Alone and among others: where items are put, what a tie is, and answers that are no floats."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pytest

from generator.engine.runner import OnnxRunner, Samples
from generator.engine.validate.neighbours import MOST_PLACES, TOLERANCES, check_neighbours

Give = Callable[[np.ndarray], np.ndarray]


class Function:
    """A Runner that applies a function to its batch, and remembers the batches."""

    def __init__(self, give: Give) -> None:
        self.give, self.batches = give, list[np.ndarray]()

    def run(self, tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        self.batches.append(tensors["x"])
        return {"y": self.give(tensors["x"])}

    def close(self) -> None:
        pass


def samples(items: int = 6, dtype: str = "float32") -> Samples:
    values = np.random.default_rng(3).integers(1, 100, (items, 4)).astype(dtype)
    return Samples(({"x": values},), "random")


def twice(x: np.ndarray) -> np.ndarray:
    return x * 2.0


def test_every_item_stands_at_every_place_of_a_small_batch() -> None:
    runner, data = Function(twice), samples()
    assert check_neighbours(runner, data, [1, 4], 1e-4).passed
    pool = data.batches[0]["x"]
    full = [batch for batch in runner.batches if len(batch) == 4]
    others = [batch for batch in full if all(any((row == item).all() for item in pool) for row in batch)]
    for place in range(4):
        assert len({row.tobytes() for row in (batch[place] for batch in others)}) >= 3
    assert any(not batch[1:].any() for batch in full)  # padding
    assert any((batch[1:] == pool.max()).any(axis=1).any() for batch in full)  # extremes


def test_a_large_batch_is_tried_at_its_ends_and_between() -> None:
    runner = Function(twice)
    found = check_neighbours(runner, samples(), [64], 1e-4)
    assert len([batch for batch in runner.batches if len(batch) == 64]) == 3 * MOST_PLACES
    assert found.passed
    assert found.placements > 64


@pytest.mark.parametrize(
    "fault",
    [
        lambda x: x * 2.0 + (x.sum(axis=0) * 0.05 if len(x) > 1 else 0),
        lambda x: np.concatenate([x[:-1] * 2.0, x[-1:] * 2.1]) if len(x) > 1 else x * 2.0,
        lambda x: np.roll(x, 1, axis=0) * 2.0,
        lambda x: np.where(np.arange(len(x))[:, None] == 2, np.nan, x * 2.0),
        lambda x: x * 2.0 if x.max() < 1 or x.min() > 0 else x * 2.2,
        lambda x: (x * 2.0)[:, : 4 - (len(x) > 2)],
    ],
    ids=["sum of the batch", "last place", "rows moved", "NaN at a place", "only beside padding", "another shape"],
)
def test_faults(fault: Give) -> None:
    found = check_neighbours(Function(fault), samples(), [4], TOLERANCES["int8"])
    assert not found.passed
    assert found.worst > TOLERANCES["int8"]
    assert not found.check().passed
    assert np.isfinite(found.worst)


@pytest.mark.parametrize(("error", "passed"), [(1e-7, True), (1e-3, False)])
def test_the_last_bits_may_differ(error: float, passed: bool) -> None:
    runner = Function(lambda x: x * (2.0 + error * len(x)))
    assert check_neighbours(runner, samples(), [8], TOLERANCES["fp32"]).passed is passed


def test_a_first_answer_that_changes_within_the_tolerance() -> None:
    """3 % are allowed, and the two leading scores are 1 % apart; only where that matters is it held."""
    scores = np.array([[1.0, 0.99, 0, 0]])
    runner = Function(lambda x: np.where(len(x) > 1, scores[:, [1, 0, 2, 3]], scores).repeat(len(x), axis=0))
    assert check_neighbours(runner, samples(), [4], 0.03).passed
    found = check_neighbours(runner, samples(), [4], 0.03, scores=True)
    assert not found.passed
    assert found.changed == found.placements
    assert "became another one" in found.check().text


def test_a_tie_may_go_either_way() -> None:
    scores = np.array([[1.0, 1.0 - 1e-6, 0, 0]])
    runner = Function(lambda x: np.where(len(x) > 1, scores[:, [1, 0, 2, 3]], scores).repeat(len(x), axis=0))
    assert check_neighbours(runner, samples(), [4], 0.03, scores=True).passed


def test_answers_that_are_no_floats() -> None:
    assert check_neighbours(Function(lambda x: x.argmax(axis=1)), samples(), [4], 1e-4).passed
    found = check_neighbours(Function(lambda x: x.argmax(axis=1) + (len(x) > 1)), samples(), [4], 1e-4)
    assert not found.passed
    assert found.least_equal == 0
    assert "are equal in 0.000" in found.check().text


def test_inputs_of_whole_numbers_and_text() -> None:
    assert check_neighbours(Function(lambda x: x * 1.0), samples(dtype="uint8"), [4], 1e-4).passed
    words = Samples(({"x": np.array([["a"], ["b"]], dtype=object)},), "text")
    assert check_neighbours(Function(lambda x: np.array([[len(v[0])] for v in x])), words, [4], 1e-4).passed


def test_nothing_to_try() -> None:
    assert check_neighbours(Function(twice), Samples((), "empty"), [4], 1e-4).placements == 0
    assert check_neighbours(Function(twice), samples(), [], 1e-4).passed


def test_fp32_on_the_cpu_is_far_within_its_tolerance() -> None:
    """Four matrix products of 256 terms, in batches of odd and even sizes."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    random = np.random.default_rng(0)
    nodes, constants, last = [], [], "x"
    for layer in range(4):
        constants.append(
            numpy_helper.from_array(random.standard_normal((256, 256), dtype=np.float32) / 16, f"w{layer}")
        )
        nodes += [
            helper.make_node("MatMul", [last, f"w{layer}"], [f"m{layer}"]),
            helper.make_node("Tanh", [f"m{layer}"], [f"t{layer}"]),
        ]
        last = f"t{layer}"
    tensors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 256]) for name in ("x", last)]
    graph = helper.make_graph(nodes, "g", tensors[:1], tensors[1:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    data = Samples(({"x": random.standard_normal((8, 256), dtype=np.float32)},), "random")
    found = check_neighbours(
        OnnxRunner(model.SerializeToString(), threads=1), data, [2, 3, 8, 33], TOLERANCES["fp32"]
    )
    assert found.passed
    assert found.worst < TOLERANCES["fp32"] / 20
