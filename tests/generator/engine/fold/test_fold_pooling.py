"""The mean over a text's tokens and length 1, in the graph, against the formulas in numpy."""

from __future__ import annotations

import numpy as np
import pytest
from fold_tools import Array, checked
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto, TensorProto, helper

from generator.engine.errors import StageError
from generator.engine.fold import add_l2_normalize, add_masked_mean
from generator.engine.runner import OnnxRunner

BATCH, TOKENS, WIDTH = "batch", "tokens", 5


def encoder(opset: int, mask: int = TensorProto.INT64) -> ModelProto:
    """`values` [batch, tokens, 5] and `attention_mask` [batch, tokens] → `hidden`, which is `values`."""
    wide = [BATCH, TOKENS, WIDTH]
    ends = [
        helper.make_tensor_value_info("values", TensorProto.FLOAT, wide),
        helper.make_tensor_value_info("attention_mask", mask, [BATCH, TOKENS]),
        helper.make_tensor_value_info("hidden", TensorProto.FLOAT, wide),
    ]
    graph = helper.make_graph([helper.make_node("Identity", ["values"], ["hidden"])], "g", ends[:2], ends[2:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def embed(opset: int, values: Array, mask: Array) -> Array:
    pooled = checked(add_masked_mean(encoder(opset), "hidden", "attention_mask", "mean"))
    model = checked(add_l2_normalize(pooled, "mean", "embedding"))
    assert [o.name for o in model.graph.output] == ["embedding"]
    found = OnnxRunner(model.SerializeToString(), threads=1).run({"values": values, "attention_mask": mask})
    return found["embedding"]


def expected(values: Array, mask: Array) -> Array:
    kept = np.where(mask[:, :, None] != 0, values, 0).astype(np.float64)
    mean = kept.sum(axis=1) / np.maximum((mask != 0).sum(axis=1, keepdims=True), 1)
    return mean / np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), 1e-12)


@settings(max_examples=50)
@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.integers(1, 9), st.sampled_from([11, 12, 13, 17, 18, 21]))
def test_texts_of_unequal_length(seed: int, items: int, tokens: int, opset: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.standard_normal((items, tokens, WIDTH)).astype(np.float32)
    mask = (np.arange(tokens) < rng.integers(0, tokens + 1, (items, 1))).astype(np.int64)
    found = embed(opset, values, mask)
    np.testing.assert_allclose(found, expected(values, mask), rtol=0, atol=2e-6)
    lengths = np.linalg.norm(found, axis=1)
    np.testing.assert_allclose(lengths, mask.any(axis=1), rtol=0, atol=1e-6)


def test_padding_counts_for_nothing() -> None:
    """Whatever stands there; and a text without tokens is 0, not NaN."""
    values = np.ones((3, 2, WIDTH), np.float32)
    values[0, 1], values[1, 1], values[2] = np.nan, np.inf, np.nan
    found = embed(17, values, np.array([[1, 0], [1, 0], [0, 0]]))
    np.testing.assert_allclose(found[:2], np.full((2, WIDTH), WIDTH**-0.5), rtol=0, atol=1e-7)
    assert found[2].tolist() == [0.0] * WIDTH


def test_rows_without_length_stay_zero() -> None:
    model = checked(add_l2_normalize(encoder(17), "hidden", "unit"))
    values = np.zeros((1, 2, WIDTH), np.float32)
    values[0, 1, 2] = -3
    found = OnnxRunner(model.SerializeToString(), threads=1).run(
        {"values": values, "attention_mask": np.ones((1, 2), np.int64)}
    )
    assert found["unit"].tolist() == [[[0] * WIDTH, [0, 0, -1, 0, 0]]]


@pytest.mark.parametrize(
    ("hidden", "mask", "message"),
    [
        ("hiden", "attention_mask", "no output `hiden` of 3 axes; its outputs are `hidden`"),
        ("hidden", "mask", "no input `mask` of 2 axes; its inputs are `values`, `attention_mask`"),
        ("hidden", "values", "no input `values` of 2 axes"),
    ],
)
def test_tensors_that_are_not_there(hidden: str, mask: str, message: str) -> None:
    with pytest.raises(StageError, match=message):
        add_masked_mean(encoder(17), hidden, mask, "mean")


def test_a_name_that_is_taken() -> None:
    with pytest.raises(StageError, match="already has a value `values`"):
        add_l2_normalize(encoder(17), "hidden", "values")
