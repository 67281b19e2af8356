"""Every step in a graph gives what the same step gives in the server."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from fold_tools import WORDS, Array, Step, as_runtime, network, run, same
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from generator.engine.errors import StageError
from generator.engine.fold import Before, fold, why_not
from generator.engine.fold.operators import NUMPY

FEW = settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
TYPES = [np.dtype(kind) for kind in NUMPY.values()]
NUMBERS = st.floats(-300, 300, width=32)
POSITIVE = st.floats(0.015625, 300, width=32)


@st.composite
def chains(draw: st.DrawFn) -> tuple[list[Step], Array]:
    """A batch [items, height, width, channels] of any type and steps that can take it."""
    shape = [draw(st.integers(1, 3)) for _ in range(4)]
    value = draw(arrays.arrays(draw(st.sampled_from(TYPES)), shape))
    steps: list[Step] = []
    dtype, dims = WORDS[value.dtype], shape[1:]
    for _ in range(draw(st.integers(1, 4))):
        kinds = ["cast", "reshape", "softmax"] + ["channels_first"] * (len(dims) == 3)
        kinds += ["normalize"] * (dtype != "BOOL")
        name = draw(st.sampled_from(kinds))
        parameters: dict[str, Any] = {}
        if name == "cast":
            parameters = {"to": draw(st.sampled_from([word.lower() for word in NUMPY]))}
        elif name == "reshape":
            dims = draw(st.permutations(dims)) if draw(st.booleans()) else [int(np.prod(dims))]
            parameters = {"dims": list(dims)}
        elif name == "normalize":
            several = draw(st.booleans()) and not any(step == "channels_first" for step, _ in steps)
            parameters = {
                word: draw(st.lists(kind, min_size=dims[-1], max_size=dims[-1]) if several else kind)
                for word, kind in (("mean", NUMBERS), ("std", POSITIVE))
            }
        elif name == "channels_first":
            dims = [dims[2], dims[0], dims[1]]
        if why_not(name, parameters, dtype):
            continue
        if name == "cast":
            dtype = parameters["to"].upper()
        elif name in ("normalize", "softmax"):
            dtype = "FP32"
        steps.append((name, parameters))
    return steps, value


def is_exact(steps: list[Step]) -> bool:
    return not any(name == "softmax" for name, _ in steps)


def after_softmax(steps: list[Step]) -> bool:
    """Whether a step behind softmax may turn its tolerance into another: a division, or a cast that cuts."""
    names = [name for name, _ in steps]
    return "softmax" in names and any(
        name in ("normalize", "cast", "softmax") for name in names[names.index("softmax") + 1 :]
    )


@FEW
@given(chains())
def test_before_an_input_and_behind_an_output(made: tuple[list[Step], Array]) -> None:
    steps, value = made
    while after_softmax(steps):
        steps = steps[:-1]
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wanted = as_runtime(steps, value)
    word, dims = WORDS[wanted.dtype], wanted.shape[1:]
    inside = network((word, ["batch", *dims]))
    first = fold(inside, {"x": Before(WORDS[value.dtype], value.shape[1:], steps)}, {})
    same(run(first.model, value)[0], wanted, exact=is_exact(steps))
    outside = network((WORDS[value.dtype], ["batch", *value.shape[1:]]))
    last = fold(outside, {}, {"y": steps})
    assert [[info.name for info in model.graph.output] for model in (first.model, last.model)] == [["y"], ["y"]]
    same(run(last.model, value)[0], wanted, exact=is_exact(steps))


@pytest.mark.parametrize("opset", [11, 12, 13, 17, 18, 21])
def test_every_opset(opset: int) -> None:
    pixels = np.random.default_rng(opset).integers(0, 256, (3, 4, 5, 2), np.uint8)
    steps: list[Step] = [("normalize", {"mean": [3.0, 4.0], "std": 7.0}), ("channels_first", {})]
    after: list[Step] = [("softmax", {}), ("top_k", {"k": 2, "label_output": "label", "score_output": "score"})]
    made = fold(
        network(("FP32", ["batch", 2, 4, 5]), opset=opset), {"x": Before("UINT8", (4, 5, 2), steps)}, {"y": after}
    )
    assert [entry.version for entry in made.model.opset_import] == [opset]
    wanted = as_runtime(after, as_runtime(steps, pixels))
    label, score = run(made.model, pixels)
    same(score, wanted["score"], exact=False)
    same(label, wanted["label"])


def test_an_opset_before_that() -> None:
    with pytest.raises(StageError) as raised:
        fold(network(("FP32", ["batch", 3]), opset=10), {}, {"y": [("softmax", {})]})
    [finding] = raised.value.findings
    assert (finding.code, finding.message) == (
        "TK922", "the graph is of opset 10, and what is folded needs opset 11 or later",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("steps", "first"),
    [
        ([("normalize", {"mean": 0, "std": 255}), ("channels_first", {})], "Cast"),
        ([("channels_first", {}), ("normalize", {"mean": 0, "std": 255})], "Cast"),
        ([("reshape", {"dims": [4, 2, 1]}), ("channels_first", {}), ("cast", {"to": "fp16"})], "Cast"),
        ([("channels_first", {})], "Transpose"),
        ([("channels_first", {}), ("cast", {"to": "int8"})], "Transpose"),
    ],
)
def test_bytes_are_cast_before_they_are_moved(steps: list[Step], first: str) -> None:
    """TensorRT transposes no UINT8. Where the engine itself takes bytes there is nothing to be done about it."""
    pixels = np.arange(16, dtype=np.uint8).reshape(2, 4, 1, 2)
    wanted = as_runtime(steps, pixels)
    made = fold(
        network((WORDS[wanted.dtype], ["b", *wanted.shape[1:]])), {"x": Before("UINT8", (4, 1, 2), steps)}, {}
    )
    assert made.model.graph.node[0].op_type == first
    same(run(made.model, pixels)[0], wanted)


def test_no_items_and_no_batch_axis() -> None:
    steps: list[Step] = [("normalize", {"mean": 1, "std": 2}), ("channels_first", {}), ("reshape", {"dims": [6]})]
    before = {"x": Before("UINT8", (1, 2, 3), steps)}
    pixels = np.arange(6, dtype=np.uint8).reshape(1, 1, 2, 3)
    made = fold(network(("FP32", ["batch", 6])), before, {})
    assert run(made.model, pixels[:0])[0].shape == (0, 6)
    alone = fold(network(("FP32", [6])), before, {"y": [("softmax", {})]}, batched=False)
    wanted = as_runtime([*steps, ("softmax", {})], pixels)
    same(run(alone.model, pixels[0])[0], wanted[0], exact=False)


def test_steps_that_do_nothing_leave_the_graph() -> None:
    model = network(("FP32", ["batch", 3]))
    steps: list[Step] = [("normalize", {"mean": 0.0, "std": 1.0}), ("cast", {"to": "fp32"})]
    made = fold(model, {"x": Before("FP32", (3,), steps)}, {"y": steps})
    assert list(made.model.graph.node) == list(model.graph.node)


@pytest.mark.parametrize(
    ("step", "dtype", "reason"),
    [
        (("decode", {"to": "rgb"}), "STRING", "is no arithmetic"),
        (("resize", {"size": [8, 8]}), "UINT8", "is no arithmetic"),
        (("normalize", {"mean": 0, "std": 1}), "STRING", "is given STRING"),
        (("cast", {"to": "fp16"}), "FP64", "of fp64 to fp16 is rounded twice in a graph"),
        (("cast", {"to": "int32"}), "UINT64", "of uint64 to int32 has no operator that limits it"),
        (("cast", {"to": "fp32"}), "UINT64", ""),
    ],
)
def test_what_cannot_be_folded(step: Step, dtype: str, reason: str) -> None:
    assert why_not(*step, dtype) == reason
