"""How many operations an operator needs, by formulas that hold for the textbook algorithm.

Where each is from:

- Conv, ConvTranspose, Gemm, MatMul, Einsum and their integer forms: two operations (multiply, add) for each term of
  the sums in the definitions of the operators (onnx.ai, Operators); a bias adds one an output. Algorithms that need
  fewer (Winograd, FFT) are not counted as such, so a layer may seem faster than the machine's peak.
- Pooling and reductions: one an element that is looked at. Comparing counts as one.
- Elementwise: one an output value, Exp, Erf or Tanh as well; functions defined by several (Gelu, HardSigmoid...)
  count each of them, as ONNX's function bodies write them.
- Softmax: five a value (greatest, subtract, exponential, sum, divide). Normalisations: LayerNorm, InstanceNorm and
  GroupNorm seven a value (mean, subtract, square, mean, divide, scale, shift), RMS norm four, BatchNorm two, because
  at inference it is a scale and a shift.
- LSTM, GRU, RNN: the matrix products of their equations, at every step: four, three, one gates. Attention (opset 23):
  the two products of queries and keys and of weights and values, and the softmax between.
- Reshapes, gathers, casts, copies: none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from generator.engine.inspect.shapes import Shaped


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


# Operators that only give another view of their input: no values move.
VIEWS = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Shape", "Size", "Constant"})
_MOVES = VIEWS | frozenset(_words(
    "Transpose Concat Split Slice Gather GatherElements GatherND ScatterElements ScatterND Scatter Cast CastLike Pad "
    "Expand Tile ConstantOfShape SpaceToDepth DepthToSpace Range EyeLike OneHot Where Dropout ReverseSequence Trilu "
    "Compress Col2Im Unique NonZero TensorScatter BitCast"
))  # fmt: skip
_ELEMENTWISE: Mapping[str, int] = dict.fromkeys(_words(
    "Abs Acos Acosh Add And Asin Asinh Atan Atanh BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor Ceil Cos Cosh "
    "Div Equal Erf Exp Floor Greater GreaterOrEqual IsInf IsNaN Less LessOrEqual Log Mod Mul Neg Not Or Pow "
    "Reciprocal Relu Round Sigmoid Sign Sin Sinh Sqrt Sub Tan Tanh Xor"), 1,
) | {
    "LeakyRelu": 2, "PRelu": 2, "ThresholdedRelu": 1, "Clip": 2, "Elu": 3, "Celu": 4, "Selu": 4, "Softplus": 3,
    "Softsign": 3, "HardSigmoid": 4, "HardSwish": 5, "Mish": 5, "Gelu": 5, "Swish": 2, "Shrink": 3,
    "QuantizeLinear": 2, "DequantizeLinear": 2, "DynamicQuantizeLinear": 4,
    "Softmax": 5, "LogSoftmax": 6, "BatchNormalization": 2, "LayerNormalization": 7, "InstanceNormalization": 7,
    "GroupNormalization": 7, "RMSNormalization": 4, "SimplifiedLayerNormalization": 4, "LpNormalization": 3,
    "MeanVarianceNormalization": 6, "RotaryEmbedding": 3,
}  # fmt: skip
_EVERY_INPUT_VALUE = frozenset(_words(
    "ReduceSum ReduceMean ReduceMax ReduceMin ReduceProd ReduceL1 ReduceL2 ReduceSumSquare ReduceLogSum "
    "ReduceLogSumExp ArgMax ArgMin CumSum TopK GlobalAveragePool GlobalMaxPool GlobalLpPool Hardmax"
))  # fmt: skip


@dataclass(frozen=True)
class Node:
    """What the formulas look at. `inputs` are None where an optional one is left out."""

    op_type: str
    inputs: Sequence[Shaped | None]
    outputs: Sequence[Shaped]
    attributes: Mapping[str, Any]

    def dims(self, place: int) -> tuple[int, ...]:
        """Of an input. Raises UnknownLengthError."""
        given = self.inputs[place] if place < len(self.inputs) else None
        return known(given)

    def has(self, place: int) -> bool:
        """Whether an optional input is given."""
        return place < len(self.inputs) and self.inputs[place] is not None


class UnknownLengthError(Exception):
    """A length that the formula needs is not known."""


def known(tensor: Shaped | None) -> tuple[int, ...]:
    """Its dims, all of them lengths. Raises UnknownLengthError."""
    if tensor is None or tensor.dims is None:
        raise UnknownLengthError
    lengths = tuple(dim for dim in tensor.dims if isinstance(dim, int))
    if len(lengths) != len(tensor.dims):
        raise UnknownLengthError
    return lengths


def flops(node: Node) -> int | None:
    """Operations for one run of the node; None where a length is unknown or there is no formula."""
    try:
        if node.op_type in _MOVES:
            return 0
        if node.op_type in _ELEMENTWISE:
            return _ELEMENTWISE[node.op_type] * _values(node.outputs[0])
        if node.op_type in ("Max", "Min", "Sum", "Mean"):
            return max(1, len(node.inputs) - 1) * _values(node.outputs[0])
        if node.op_type in _EVERY_INPUT_VALUE:
            return math.prod(node.dims(0))
        formula = _FORMULAS.get(node.op_type)
        return None if formula is None else formula(node)
    except (UnknownLengthError, IndexError, ValueError):
        return None


def _values(tensor: Shaped) -> int:
    return math.prod(known(tensor))


def _conv(node: Node) -> int:
    weight = node.dims(_weight_at(node.op_type))  # [out, in / groups, kernel...]
    biased = node.has({"Conv": 2, "QLinearConv": 8}.get(node.op_type, len(node.inputs)))
    return _values(node.outputs[0]) * (2 * math.prod(weight[1:]) + biased)


def _weight_at(op_type: str) -> int:
    return 3 if op_type.startswith("QLinear") else 1


def _conv_transpose(node: Node) -> int:
    """Each input value is multiplied with [out / groups, kernel...] weights and added to the output."""
    weight = node.dims(1)  # [in, out / groups, kernel...]
    bias = _values(node.outputs[0]) if node.has(2) else 0
    return 2 * math.prod(node.dims(0)) * math.prod(weight[1:]) + bias


def _gemm(node: Node) -> int:
    rows = node.dims(0)
    inner = rows[0] if node.attributes.get("transA") else rows[1]
    return _values(node.outputs[0]) * (2 * inner + node.has(2))


def _matmul(node: Node) -> int:
    return 2 * _values(node.outputs[0]) * node.dims(0)[-1]


def _pool(node: Node) -> int:
    kernel: list[int] = node.attributes.get("kernel_shape") or []
    return _values(node.outputs[0]) * math.prod(kernel)


def _einsum(node: Node) -> int:
    """Of two operands: two for each combination of all letters."""
    terms = str(node.attributes.get("equation", "")).replace(" ", "").partition("->")[0].split(",")
    if len(terms) != 2 or "." in "".join(terms):
        raise UnknownLengthError
    lengths = {
        letter: length
        for place, term in enumerate(terms)
        for letter, length in zip(term, node.dims(place), strict=True)
    }
    return 2 * math.prod(lengths.values())


def _resize(node: Node) -> int:
    """Two for each neighbour that is weighed: 2 of them along a resized axis (linear), 4 (cubic)."""
    mode = str(node.attributes.get("mode", "nearest"))
    if mode == "nearest":
        return 0
    before, after = node.dims(0), known(node.outputs[0])
    resized = sum(a != b for a, b in zip(before, after, strict=True))
    neighbours: int = math.prod([4 if mode == "cubic" else 2] * resized)
    return 2 * _values(node.outputs[0]) * neighbours


def _recurrent(gates: int) -> Callable[[Node], int]:
    def formula(node: Node) -> int:
        steps, batch = node.dims(0)[:2]
        directions, rows, features = node.dims(1)  # [directions, gates * hidden, features]
        return 2 * steps * batch * directions * rows * (features + rows // gates)

    return formula


def _attention(node: Node) -> int:
    """Queries [batch, heads, length, size] or [batch, length, heads * size]; keys and values likewise."""
    query, key, value = node.dims(0), node.dims(1), node.dims(2)
    if len(query) == 4:
        batch, heads, asked, size = query
        there, value_size = key[2], value[3]
    else:
        heads = int(node.attributes["q_num_heads"]) if "q_num_heads" in node.attributes else 0
        shared = int(node.attributes.get("kv_num_heads", 0))
        if not heads or not shared or node.has(4):
            raise UnknownLengthError
        batch, asked, size = query[0], query[1], query[2] // heads
        there, value_size = key[1], value[2] // shared
    return batch * heads * asked * there * (2 * size + 5 + 2 * value_size)


_FORMULAS: Mapping[str, Callable[[Node], int]] = {
    "Conv": _conv, "ConvInteger": _conv, "QLinearConv": _conv, "ConvTranspose": _conv_transpose,
    "Gemm": _gemm, "MatMul": _matmul, "MatMulInteger": _matmul, "QLinearMatMul": _matmul, "Einsum": _einsum,
    "MaxPool": _pool, "AveragePool": _pool, "LpPool": _pool, "Resize": _resize,
    "LSTM": _recurrent(4), "GRU": _recurrent(3), "RNN": _recurrent(1), "Attention": _attention,
}  # fmt: skip
