"""Graphs that precision is tried on, and what holds of every lowered graph."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from generator.engine.calibrate import Ranges, collect
from generator.engine.precision.opset import at_least
from generator.engine.runner import OnnxRunner, Samples

ROOT = Path(__file__).resolve().parents[4]
Array = np.ndarray[Any, Any]
FLOOR, MAX_DROP = 0.98, 0.005  # what specs/digits.yaml asks for
CALIBRATED = 180  # so many digits give the ranges, the others are judged


def digits() -> onnx.ModelProto:
    return onnx.load(ROOT / "models" / "digits.onnx")


def digits_data() -> tuple[Array, Array]:
    with np.load(ROOT / "data" / "digits-gate.npz") as data:
        return (data["image"].astype(np.float32) / 255).reshape(-1, 1, 8, 8), data["labels"]


def digits_ranges(method: str = "entropy") -> Ranges:
    return collect(digits(), samples(pixels=digits_data()[0][:CALIBRATED]), method)


def samples(**inputs: Array) -> Samples:
    return Samples((inputs,), "data")


def graph(text: str, opset: int = 17, more: str = "", **weights: Array) -> onnx.ModelProto:
    """A graph in ONNX's own text; `weights` are its initialisers."""
    model = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : {opset}{more}]> g {text}')
    model.graph.initializer.extend(onnx.numpy_helper.from_array(array, name) for name, array in weights.items())
    return model


def of_nodes(
    nodes: Sequence[onnx.NodeProto], *, taken: int = TensorProto.FLOAT, dims: Sequence[int] = (2, 2),
    to: Sequence[int] | None = None, **weights: Array,
) -> onnx.ModelProto:  # fmt: skip
    """A graph of these nodes: from `x`, of the type `taken`, to FP32 `y` of the shape `to` (default: that of `x`)."""
    ends = [
        helper.make_tensor_value_info("x", taken, dims),
        helper.make_tensor_value_info("y", TensorProto.FLOAT, to or dims),
    ]
    held = [onnx.numpy_helper.from_array(array, name) for name, array in weights.items()]
    made = helper.make_graph(list(nodes), "g", ends[:1], ends[1:], held)
    return helper.make_model(made, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])


def run(model: onnx.ModelProto, *, optimise: bool = True, **inputs: Array) -> list[Array]:
    return list(OnnxRunner(model.SerializeToString(), optimise=optimise, threads=1).run(inputs).values())


def evaluate(model: onnx.ModelProto, **inputs: Array) -> list[Array]:
    """By ONNX's own reference implementation, in Python; it knows Q/DQ from opset 19 on."""
    newer = at_least(model, 19) if "QuantizeLinear" in operators(model) else model
    return [np.asarray(value) for value in ReferenceEvaluator(newer).run(None, inputs)]


def accuracy(logits: Array, first: int = 0) -> float:
    return float((logits.argmax(axis=1) == digits_data()[1])[first:].mean())


def noise(values: Array, right: Array) -> float:
    """Noise over signal."""
    return float(np.sum(np.square(values.astype(np.float64) - right)) / np.sum(np.square(right, dtype=np.float64)))


def normal(*shape: int, seed: int = 0, scale: float = 1.0) -> Array:
    return (np.random.default_rng(seed).standard_normal(shape) * scale).astype(np.float32)


def types(model: onnx.ModelProto) -> dict[str, int]:
    known = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True).graph
    return {v.name: v.type.tensor_type.elem_type for v in (*known.value_info, *known.input, *known.output)}


def operators(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


def by_name(model: onnx.ModelProto, name: str) -> onnx.NodeProto:
    [node] = [node for node in model.graph.node if node.name == name]
    return node


def assert_sound(model: onnx.ModelProto) -> None:
    """Valid, every name once, and no cast undoes another, stands twice or for nothing."""
    onnx.checker.check_model(model, full_check=True)
    names = [node.name for node in model.graph.node]
    assert len(set(names)) == len(names)
    known = types(model)
    casts = {node.output[0]: node for node in model.graph.node if node.op_type == "Cast"}
    assert len({(node.input[0], node.attribute[0].i) for node in casts.values()}) == len(casts), "cast twice"
    for name, first in casts.items():
        readers = [node for node in model.graph.node if name in node.input]
        for second in readers:
            if second.op_type == "Cast" and known[second.output[0]] in (1, 10, 16):
                assert known[first.input[0]] != known[second.output[0]], f"{second.name} undoes {first.name}"
                assert len(readers) > 1 or name in {v.name for v in model.graph.output}, (
                    f"{first.name} is for nothing"
                )
    read = {name for node in model.graph.node for name in node.input} | {v.name for v in model.graph.output}
    inner = {
        n
        for node in model.graph.node
        for a in node.attribute
        for g in (a.g, *a.graphs)
        for c in g.node
        for n in c.input
    }
    inner |= {v.name for node in model.graph.node for a in node.attribute for g in (a.g, *a.graphs) for v in g.output}
    idle = [w.name for w in model.graph.initializer if w.data_type in (1, 10, 16) and w.name not in read | inner]
    assert not idle, "weights that nobody reads"


def attention(width: int = 16, heads: int = 2, opset: int = 17) -> onnx.ModelProto:
    """One transformer layer: ids and mask in, one normalised vector out; residuals, LayerNorm, Gelu, masked softmax."""
    deep = width // heads
    weights = {name: normal(width, width, seed=i, scale=0.3) for i, name in enumerate(("wq", "wk", "wv", "wo"))}
    weights |= {
        "up": normal(width, 4 * width, seed=5, scale=0.3),
        "down": normal(4 * width, width, seed=6, scale=0.3),
    }
    weights |= {
        "table": normal(50, width, seed=7),
        "gain": np.ones(width, np.float32),
        "shift": normal(width, seed=8),
    }
    return graph(
        f"""(int64[B, T] ids, int64[B, T] mask) => (float[B, {width}] vector) {{
        split = Constant <value = int64[4] {{0, 0, {heads}, {deep}}}> ()
        join = Constant <value = int64[3] {{0, 0, {width}}}> ()
        one_two = Constant <value = int64[2] {{1, 2}}> ()
        two = Constant <value = int64[1] {{2}}> ()
        one = Constant <value = float {{1}}> ()
        far = Constant <value = float {{-3.4028234663852886e38}}> ()
        root = Constant <value = float {{{deep**0.5}}}> ()
        half = Constant <value = float {{0.5}}> ()
        sqrt2 = Constant <value = float {{1.4142135}}> ()
        x = Gather(table, ids)
        q = MatMul(x, wq)
        k = MatMul(x, wk)
        v = MatMul(x, wv)
        qs = Reshape(q, split)
        ks = Reshape(k, split)
        vs = Reshape(v, split)
        qt = Transpose <perm = [0, 2, 1, 3]> (qs)
        kt = Transpose <perm = [0, 2, 3, 1]> (ks)
        vt = Transpose <perm = [0, 2, 1, 3]> (vs)
        raw = MatMul(qt, kt)
        scaled = Div(raw, root)
        there = Cast <to = 1> (mask)
        gone = Sub(one, there)
        away = Mul(gone, far)
        bias = Unsqueeze(away, one_two)
        masked = Add(scaled, bias)
        weight = Softmax <axis = -1> (masked)
        seen = MatMul(weight, vt)
        back = Transpose <perm = [0, 2, 1, 3]> (seen)
        whole = Reshape(back, join)
        out = MatMul(whole, wo)
        added = Add(x, out)
        normed = LayerNormalization <axis = -1> (added, gain, shift)
        wide = MatMul(normed, up)
        part = Div(wide, sqrt2)
        bent = Erf(part)
        more = Add(bent, one)
        times = Mul(wide, more)
        gelu = Mul(times, half)
        narrow = MatMul(gelu, down)
        last = Add(normed, narrow)
        there3 = Unsqueeze(there, two)
        kept = Mul(last, there3)
        axis = Constant <value = int64[1] {{1}}> ()
        sum = ReduceSum <keepdims = 0> (kept, axis)
        vector = LpNormalization <axis = -1> (sum)
    }}""",
        opset,
        **weights,
    )


def texts(items: int = 4, tokens: int = 6, seed: int = 0) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    mask = (np.arange(tokens) < rng.integers(1, tokens + 1, (items, 1))).astype(np.int64)
    return {"ids": rng.integers(0, 50, (items, tokens)), "mask": mask}
