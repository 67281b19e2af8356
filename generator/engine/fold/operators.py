"""What each built-in step is in ONNX's operators: the same values as tritonkit_runtime's class of the same name.

In ONNX Runtime on the CPU all steps but `softmax` give the runtime's values bit for bit, NaN, infinities and -0
included. `softmax` is within 1e-6 of it (values are 0 to 1; each library has an exponential of its own), so the
winners of a `top_k` behind it are the runtime's except among scores that are closer to each other than that. Equal
scores are equal in both, and the lower index comes first in both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from generator.engine.fold.graph import ELEMENTS, Nodes, Value

Parameters = Mapping[str, Any]
# How the runtime calls the types of `cast`: in small letters, as a spec does.
NUMPY = {
    "BOOL": np.bool_, "UINT8": np.uint8, "UINT16": np.uint16, "UINT32": np.uint32, "UINT64": np.uint64,
    "INT8": np.int8, "INT16": np.int16, "INT32": np.int32, "INT64": np.int64,
    "FP16": np.float16, "FP32": np.float32, "FP64": np.float64,
}  # fmt: skip
FLOATS = frozenset({"FP16", "FP32", "FP64"})
SMALLEST = float(np.finfo(np.float32).min)


def why_not(step: str, parameters: Parameters, dtype: str) -> str:
    """Why a step that is given tensors of `dtype` stays outside a graph, in a few words; empty if it need not."""
    if step not in OPERATORS:
        return "is no arithmetic"
    if dtype not in ELEMENTS:
        return f"is given {dtype}"
    if step == "cast":
        wanted = str(parameters["to"]).upper()
        if (dtype, wanted) == ("FP64", "FP16"):
            return "of fp64 to fp16 is rounded twice in a graph"
        if dtype == "UINT64" and wanted not in FLOATS | {"BOOL", "UINT64"}:
            return f"of uint64 to {wanted.lower()} has no operator that limits it"
    return ""


def apply(nodes: Nodes, step: str, parameters: Parameters, value: Value) -> Value:
    """Adds one step, which gives one tensor."""
    return OPERATORS[step](nodes, parameters, value)


def first_cast(steps: Sequence[tuple[str, Parameters]]) -> str | None:
    """The type that bytes may be cast to before all `steps`, since those in front only move them; None: not at all.

    TensorRT takes UINT8 as an input, but moves nothing of that type.
    """
    for step, parameters in steps:
        if step in ("normalize", "softmax", "top_k"):
            return "FP32"
        if step == "cast":
            wanted = str(parameters["to"]).upper()
            return wanted if np.can_cast(np.uint8, NUMPY[wanted]) else None
    return None


def as_type(nodes: Nodes, value: Value, dtype: str) -> Value:
    """ONNX's plain Cast, for types that hold every value."""
    if value.dtype == dtype:
        return value
    return replace(value, name=nodes.add("Cast", [value.name], to=ELEMENTS[dtype]), dtype=dtype)


def _normalize(nodes: Nodes, parameters: Parameters, value: Value) -> Value:
    value = as_type(nodes, value, "FP32")
    for operator, word, nothing in (("Sub", "mean", 0.0), ("Div", "std", 1.0)):
        given = parameters[word]
        numbers = np.asarray(given if isinstance(given, list | tuple) else [given], np.float32)
        if np.any(numbers != nothing):  # x - 0 and x / 1 are x
            value = replace(
                value, name=nodes.add(operator, [value.name, nodes.constant(word, numbers.tolist(), "FP32")])
            )
    return replace(value, probabilities=False)


def _channels_first(nodes: Nodes, _parameters: Parameters, value: Value) -> Value:
    order = (0, 3, 1, 2) if nodes.batched else (2, 0, 1)
    name = nodes.add("Transpose", [value.name], perm=list(order))
    return Value(name, value.dtype, tuple(value.dims[axis] for axis in order))


def _reshape(nodes: Nodes, parameters: Parameters, value: Value) -> Value:
    dims = tuple(int(length) for length in parameters["dims"])
    # 0 leaves the batch axis as it is, also where there are no items.
    shape = (0, *dims) if nodes.batched else dims
    name = nodes.add("Reshape", [value.name, nodes.constant("shape", shape, "INT64")])
    return Value(name, value.dtype, (*value.dims[:1], *dims) if nodes.batched else dims)


def _cast(nodes: Nodes, parameters: Parameters, value: Value) -> Value:
    wanted = str(parameters["to"]).upper()
    source, target = np.dtype(NUMPY[value.dtype]), np.dtype(NUMPY[wanted])
    value = replace(value, probabilities=False)
    if target.kind in "iu" and source.kind in "iuf" and not np.can_cast(source, target):
        value = _limited(nodes, value, source, target)
    return as_type(nodes, value, wanted)


def _limited(nodes: Nodes, value: Value, source: np.dtype[Any], target: np.dtype[Any]) -> Value:
    """NaN as 0, and what the integer type `target` does not hold as the nearest value that it does."""
    valid = np.iinfo(target)
    bounds: list[float]
    if source.kind != "f":
        held = np.iinfo(source)
        bounds = [max(held.min, valid.min), min(held.max, valid.max)]
        value = as_type(nodes, value, "INT64")
    else:
        bounds = [_towards_zero(bound, source) for bound in (valid.min, valid.max)]
        value = as_type(nodes, value, "FP64" if value.dtype == "FP64" else "FP32")
        zero = nodes.constant("zero", [0.0], value.dtype, scalar=True)
        value = replace(value, name=nodes.add("Where", [nodes.add("IsNaN", [value.name]), zero, value.name]))
    # Clip, Max and Min of INT64 are wrong in ONNX Runtime 1.31: 2147483648 limited to 255 is 0.
    for operator, bound in zip(("Less", "Greater"), bounds, strict=True):
        edge = nodes.constant(operator.lower(), [bound], value.dtype, scalar=True)
        beyond = nodes.add(operator, [value.name, edge])
        value = replace(value, name=nodes.add("Where", [beyond, edge, value.name]))
    return value


def _towards_zero(bound: int, dtype: np.dtype[Any]) -> float:
    """The number of the floating-point type `dtype` that is nearest to `bound` and not beyond it."""
    with np.errstate(over="ignore"):
        number = np.array(bound).astype(dtype)
    return float(np.nextafter(number, dtype.type(0)) if abs(float(number)) > abs(bound) else number)


def _softmax(nodes: Nodes, _parameters: Parameters, value: Value) -> Value:
    value = as_type(nodes, value, "FP32")
    name = nodes.add("Softmax", [value.name], axis=len(value.dims) - 1)
    return replace(value, name=name, probabilities=True)


def top_k(nodes: Nodes, k: int, value: Value) -> tuple[Value, Value]:
    """Indices INT64 and scores FP32 [..., k] of the k largest of the last axis, of equal ones the lower index first.

    NaN comes last, after -Inf. One row differs from the runtime's order: one that holds NaN, -Inf and the smallest
    number of FP32, which then counts as equal to -Inf.
    """
    value = as_type(nodes, value, "FP32")
    axis = len(value.dims) - 1
    missing = nodes.add("IsNaN", [value.name])
    least = nodes.constant("least", [float("-inf")], "FP32", scalar=True)
    keys = value.name
    if not value.probabilities:
        # NaN will be -Inf: what is -Inf in a row with NaN has to be larger.
        some = nodes.over("ReduceMax", nodes.add("Cast", [missing], to=ELEMENTS["FP32"]), axis)
        smallest = nodes.constant("smallest", [SMALLEST], "FP32", scalar=True)
        raised = nodes.add("Max", [value.name, smallest])
        keys = nodes.add("Where", [nodes.add("Cast", [some], to=ELEMENTS["BOOL"]), raised, value.name])
    keys = nodes.add("Where", [missing, least, keys])
    _, chosen = nodes.add_several("TopK", [keys, nodes.constant("k", [k], "INT64")], 2, axis=axis)
    scores = nodes.add("GatherElements", [value.name, chosen], axis=axis)
    dims = (*value.dims[:-1], k)
    return Value(chosen, "INT64", dims), Value(scores, "FP32", dims)


def masked_mean(nodes: Nodes, hidden: Value, mask: Value) -> Value:
    """The mean over tokens whose `mask` [batch, tokens] is not 0, of `hidden` [batch, tokens, width]: FP32
    [batch, width]. What stands at the other tokens counts for nothing, even NaN; without any token it is 0."""
    hidden = as_type(nodes, hidden, "FP32")
    counted = nodes.add("Cast", [mask.name], to=ELEMENTS["BOOL"])
    if nodes.opset >= 13:
        column = nodes.add("Unsqueeze", [counted, nodes.constant("last", [2], "INT64")])
    else:
        column = nodes.add("Unsqueeze", [counted], axes=[2])
    zero, one = (nodes.constant(f"number_{n:g}", [n], "FP32", scalar=True) for n in (0.0, 1.0))
    total = nodes.over("ReduceSum", nodes.add("Where", [column, hidden.name, zero]), 1)
    count = nodes.over("ReduceSum", nodes.add("Cast", [column], to=ELEMENTS["FP32"]), 1)
    mean = nodes.add("Div", [total, nodes.add("Max", [count, one])])
    dims = (hidden.dims[0], hidden.dims[2])
    if nodes.opset >= 13:
        return Value(nodes.add("Squeeze", [mean, nodes.constant("tokens", [1], "INT64")]), "FP32", dims)
    return Value(nodes.add("Squeeze", [mean], axes=[1]), "FP32", dims)


def l2_normalized(nodes: Nodes, value: Value, shortest: float = 1e-12) -> Value:
    """Rows (the last axis) of length 1, FP32; one that is shorter than `shortest` is divided by that."""
    value = as_type(nodes, value, "FP32")
    length = nodes.over("ReduceL2", value.name, len(value.dims) - 1)
    floor = nodes.constant("shortest", [shortest], "FP32", scalar=True)
    name = nodes.add("Div", [value.name, nodes.add("Max", [length, floor])])
    return replace(value, name=name, probabilities=False)


def _top_k_is_last(_nodes: Nodes, _parameters: Parameters, _value: Value) -> Value:
    raise ValueError("`top_k` gives two tensors, so nothing can follow it, and it cannot feed an engine")


# Of the steps that give one tensor; `top_k` comes last, and gives two.
OPERATORS: dict[str, Callable[[Nodes, Parameters, Value], Value]] = {
    "normalize": _normalize, "channels_first": _channels_first, "reshape": _reshape, "cast": _cast,
    "softmax": _softmax, "top_k": _top_k_is_last,
}  # fmt: skip
