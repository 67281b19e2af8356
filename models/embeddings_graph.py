"""The sentence embeddings' graph: BERT of six layers, the mean over a text's tokens, length 1."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from artifacts import BATCH, build_model, fp32
from onnx import helper

TOKENS = "tokens"  # the symbolic second axis of the inputs
WIDTH = 384
HEADS = 12
LAYERS = 6
EPSILON = 1e-12  # of the layer norms
# Added to the scores of padding. Softmax makes 0 of it in FP32 and in FP16, where the usual -3.4e38 is infinite.
HIDDEN = -10_000.0
# No embedding is this short before it is normalised; FP16 still holds it, unlike the usual 1e-12.
SHORTEST = 1e-6

Weights = Mapping[str, npt.NDArray[Any]]


class _Graph:
    """Nodes and constants in the order in which they are added; a node is named after what it gives."""

    def __init__(self, weights: Weights) -> None:
        self.weights = weights
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, npt.NDArray[Any]] = {}

    def add(self, operator: str, inputs: list[str], name: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(operator, inputs, [name], name=name, **attributes))
        return name

    def constant(self, name: str, value: Any, dtype: type = np.float32) -> str:
        self.constants[name] = np.array(value, dtype)
        return name

    def linear(self, value: str, source: str, name: str, scale: float = 1.0) -> str:
        """`value` through a layer of the checkpoint, which keeps its weights as [out, in]."""
        weight = self.constant(f"{name}/weight", self.weights[f"{source}.weight"].T * np.float32(scale))
        bias = self.constant(f"{name}/bias", self.weights[f"{source}.bias"] * np.float32(scale))
        return self.add("Add", [self.add("MatMul", [value, weight], f"{name}/matmul"), bias], name)

    def layer_norm(self, value: str, source: str, name: str) -> str:
        weight = self.constant(f"{name}/weight", self.weights[f"{source}.weight"])
        bias = self.constant(f"{name}/bias", self.weights[f"{source}.bias"])
        return self.add("LayerNormalization", [value, weight, bias], name, axis=-1, epsilon=EPSILON)

    def gelu(self, value: str, name: str) -> str:
        """x / 2 * (1 + erf(x / sqrt 2)); opset 17 has no operator of its own for it."""
        root = self.add("Div", [value, "sqrt_2"], f"{name}/scaled")
        wave = self.add("Erf", [root], f"{name}/erf")
        gate = self.add("Add", [wave, "one"], f"{name}/gate")
        return self.add("Mul", [self.add("Mul", [value, gate], f"{name}/product"), "half"], name)


def embeddings_model(weights: Weights) -> onnx.ModelProto:
    """Return the model: input_ids, attention_mask INT32 [batch, tokens] -> embedding FP32 [batch, 384], length 1.

    INT32, for TensorRT 8.6 has no INT64 inputs. `weights` are the checkpoint's, by its own names; KeyError where
    one is missing. A text whose mask is all 0 gives zeros, not NaN.
    """
    graph = _Graph(weights)
    for name, value in (("one", 1.0), ("half", 0.5), ("sqrt_2", np.sqrt(2.0)), ("hidden", HIDDEN)):
        graph.constant(name, value)
    graph.constant("by_head", [0, 0, HEADS, WIDTH // HEADS], np.int64)
    graph.constant("by_width", [0, 0, WIDTH], np.int64)
    value = _embed(graph)
    mask = graph.add("Cast", ["attention_mask"], "mask", to=onnx.TensorProto.FLOAT)
    padding = graph.add("Mul", [graph.add("Sub", ["one", mask], "padding"), "hidden"], "padding/score")
    bias = graph.add("Unsqueeze", [padding, graph.constant("score_axes", [1, 2], np.int64)], "attention_bias")
    for index in range(LAYERS):
        value = _layer(graph, value, bias, f"encoder.layer.{index}", f"layer{index}")
    _pool(graph, value, mask)
    inputs = [
        helper.make_tensor_value_info(name, onnx.TensorProto.INT32, [BATCH, TOKENS])
        for name in ("input_ids", "attention_mask")
    ]
    return build_model("embeddings", graph.nodes, inputs, [fp32("embedding", WIDTH)], graph.constants)


def _embed(graph: _Graph) -> str:
    """Words plus positions [batch, tokens, 384]; the one token type that there is belongs to every position."""
    source = graph.weights
    words = graph.constant("embeddings/words/weight", source["embeddings.word_embeddings.weight"])
    types = source["embeddings.token_type_embeddings.weight"]
    positions = source["embeddings.position_embeddings.weight"] + types[0]
    table = graph.constant("embeddings/positions/weight", positions)
    start, axis = graph.constant("start", [0], np.int64), graph.constant("position_axis", [0], np.int64)
    shape = graph.add("Shape", ["input_ids"], "embeddings/shape")
    length = graph.add("Gather", [shape, graph.constant("second", [1], np.int64)], "embeddings/length")
    found = graph.add("Gather", [words, "input_ids"], "embeddings/words")
    places = graph.add("Slice", [table, start, length, axis], "embeddings/positions")
    return graph.layer_norm(graph.add("Add", [found, places], "embeddings/sum"), "embeddings.LayerNorm", "embeddings")


def _layer(graph: _Graph, value: str, bias: str, source: str, name: str) -> str:
    """One encoder layer, [batch, tokens, 384] -> the same shape."""
    attended = _attention(graph, value, bias, f"{source}.attention.self", f"{name}/attention")
    mixed = graph.linear(attended, f"{source}.attention.output.dense", f"{name}/attention/output")
    joined = graph.add("Add", [mixed, value], f"{name}/attention/joined")
    normal = graph.layer_norm(joined, f"{source}.attention.output.LayerNorm", f"{name}/attention/norm")
    wide = graph.gelu(graph.linear(normal, f"{source}.intermediate.dense", f"{name}/wide"), f"{name}/gelu")
    narrow = graph.linear(wide, f"{source}.output.dense", f"{name}/narrow")
    joined = graph.add("Add", [narrow, normal], f"{name}/joined")
    return graph.layer_norm(joined, f"{source}.output.LayerNorm", f"{name}/norm")


def _attention(graph: _Graph, value: str, bias: str, source: str, name: str) -> str:
    """Self-attention of twelve heads; the scores' 1 / sqrt(32) is in the weights of the query."""
    heads = {}
    scale = {"query": float((WIDTH / HEADS) ** -0.5), "key": 1.0, "value": 1.0}
    turned = {"query": [0, 2, 1, 3], "key": [0, 2, 3, 1], "value": [0, 2, 1, 3]}
    for part in ("query", "key", "value"):
        flat = graph.linear(value, f"{source}.{part}", f"{name}/{part}", scale[part])
        split = graph.add("Reshape", [flat, "by_head"], f"{name}/{part}/split")
        heads[part] = graph.add("Transpose", [split], f"{name}/{part}/heads", perm=turned[part])
    scores = graph.add("MatMul", [heads["query"], heads["key"]], f"{name}/scores")
    shown = graph.add("Add", [scores, bias], f"{name}/shown")
    shares = graph.add("Softmax", [shown], f"{name}/softmax", axis=-1)
    seen = graph.add("MatMul", [shares, heads["value"]], f"{name}/seen")
    joined = graph.add("Transpose", [seen], f"{name}/turned", perm=[0, 2, 1, 3])
    return graph.add("Reshape", [joined, "by_width"], f"{name}/merged")


def _pool(graph: _Graph, value: str, mask: str) -> None:
    """The mean over a text's own tokens, then its length made 1: `embedding` [batch, 384]."""
    first = graph.constant("token_axis", [1], np.int64)
    counted = graph.add("ReduceSum", [mask, first], "pooling/counted", keepdims=1)
    count = graph.add("Max", [counted, "one"], "pooling/count")
    # Weights of 1 / count before the sum, not a division after it: FP16 then never adds up what it cannot hold.
    share = graph.add("Div", [mask, count], "pooling/share")
    column = graph.add("Unsqueeze", [share, graph.constant("column", [2], np.int64)], "pooling/column")
    weighed = graph.add("Mul", [value, column], "pooling/weighed")
    mean = graph.add("ReduceSum", [weighed, first], "pooling/mean", keepdims=0)
    norm = graph.add("ReduceL2", [mean], "pooling/norm", axes=[1], keepdims=1)
    length = graph.add("Max", [norm, graph.constant("shortest", SHORTEST)], "pooling/length")
    graph.add("Div", [mean, length], "embedding")
