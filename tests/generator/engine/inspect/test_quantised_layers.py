"""Graphs with QuantizeLinear and DequantizeLinear are counted as an engine runs them: in 8 bits, without these nodes."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from generator.engine.calibrate import collect
from generator.engine.inspect import inspect, read_graph
from generator.engine.inspect.layers import layers_of
from generator.engine.inspect.quantised import as_moved, held, is_quantising
from generator.engine.inspect.shapes import infer
from generator.engine.precision import quantize
from generator.engine.profile.rows import LayerTime
from generator.engine.profile.work import with_work
from generator.engine.runner import Samples
from written_graphs import written

DIGITS = Path(__file__).parents[4] / "models" / "digits.onnx"

# A convolution of 8-bit weights between 8-bit tensors, and a product whose answer stays FP32.
TEXT = """g (float[batch,3,8,8] x) => (float[batch,10] y)
    <int8[4,3,3,3] w, float[4] ws, int8[4] wz, int32[4] b, float[4] bs, int8[64,10] m, float s, uint8 z, int8 mz>
    { xq = QuantizeLinear(x, s, z)
      xd = DequantizeLinear(xq, s, z)
      wd = DequantizeLinear<axis=0>(w, ws, wz)
      bd = DequantizeLinear<axis=0>(b, bs)
      c = Conv<strides=[2,2], pads=[1,1,1,1]>(xd, wd, bd)
      cq = QuantizeLinear(c, s, z)
      cd = DequantizeLinear(cq, s, z)
      f = Flatten(cd)
      fq = QuantizeLinear(f, s, z)
      fd = DequantizeLinear(fq, s, z)
      md = DequantizeLinear(m, s, mz)
      y = MatMul(fd, md) }"""


def test_layers_are_those_of_the_graph_without_quantising() -> None:
    seen = inspect(written(TEXT), {}, 2)
    conv, flatten, product = seen.layers
    assert seen.quantising_nodes == 9
    assert (conv.op_type, flatten.op_type, product.op_type) == ("Conv", "Flatten", "MatMul")
    assert conv.flops == 2 * 4 * 16 * (2 * 27 + 1)
    assert (conv.read_bytes, conv.written_bytes, conv.weight_bytes) == (2 * 3 * 64, 2 * 4 * 16, 4 * 27 + 4 * 4)
    assert (flatten.flops, flatten.moved_bytes) == (0, 0)
    assert product.flops == 2 * 2 * 64 * 10
    assert (product.read_bytes, product.written_bytes, product.weight_bytes) == (2 * 64, 4 * 2 * 10, 640)
    assert seen.uncounted == ()


def test_a_tensor_that_another_layer_takes_as_it_is_stays_wide() -> None:
    graph = """g (float[4,8] x) => (float[4,8] y, float[4,8] r)
        <float s, uint8 z>
        { r = Relu(x)
          n = Neg(x)
          rq = QuantizeLinear(r, s, z)
          nq = QuantizeLinear(n, s, z)
          rd = DequantizeLinear(rq, s, z)
          nd = DequantizeLinear(nq, s, z)
          e = Exp(n)
          a = Add(rd, nd)
          y = Add(a, e) }"""
    relu, neg, exp, add, last = inspect(written(graph), {}).layers
    assert relu.written_bytes == 128  # it is an answer too
    assert neg.written_bytes == 128  # Exp takes it
    assert exp.read_bytes == 128
    assert add.read_bytes == 64
    assert (last.read_bytes, last.written_bytes) == (256, 128)


def test_weights_that_are_quantised_in_the_graph() -> None:
    """As some exporters leave them: FP32 in the file, and rounded by two nodes."""
    graph = """g (float[4,8] x) => (float[4,2] y)
        <float[8,2] w, float s, int8 z>
        { q = QuantizeLinear(w, s, z)
          d = DequantizeLinear(q, s, z)
          y = MatMul(x, d) }"""
    [product] = inspect(written(graph), {}).layers
    assert (product.read_bytes, product.weight_bytes) == (128, 16)


def test_attention_is_found_behind_quantising() -> None:
    graph = """g (float[1,2,4,8] q, float[1,2,8,4] k, float[1,2,4,8] v) => (float[1,2,4,8] y)
        <float s, uint8 z>
        { a = MatMul(q, k)
          aq = QuantizeLinear(a, s, z)
          ad = DequantizeLinear(aq, s, z)
          p = Softmax(ad)
          pq = QuantizeLinear(p, s, z)
          pd = DequantizeLinear(pq, s, z)
          y = MatMul(pd, v) }"""
    assert [layer.block for layer in inspect(written(graph), {}).layers] == ["attention"] * 3


def test_a_graph_without_is_as_it_was() -> None:
    model = written("g (float[4,8] x) => (float[4,2] y) <float[8,2] w> { y = MatMul(x, w) }")
    shapes = infer(model, {})
    assert as_moved(model.graph, shapes) == shapes
    assert held(model.graph) == {"w"}
    assert not any(map(is_quantising, model.graph.node))
    assert inspect(model, {}).layers == layers_of(model.graph, shapes)
    assert inspect(model, {}).quantising_nodes == 0


def timed(*groups: tuple[str, tuple[str, ...]]) -> list[LayerTime]:
    """Rows of an operator that computes these nodes; the work that they are given."""
    model = written(TEXT)
    for node in model.graph.node:
        node.name = node.output[0]
    shapes = infer(model, {"batch": 2})
    rows = [LayerTime(names[0], op_type, 1.0, names) for op_type, names in groups]
    return list(with_work(rows, model.graph, layers_of(model.graph, shapes), shapes))


def test_what_an_engine_ran_as_one_moves_8_bits() -> None:
    conv, product, whole = timed(
        ("QLinearConv", ("xd", "c", "cq")), ("QGemm", ("fd", "y")), ("CaskConvolution", ("xd", "wd", "bd", "c", "cq"))
    )
    assert (conv.flops, conv.moved_bytes) == (2 * 4 * 16 * 55, 2 * 3 * 64 + 2 * 4 * 16 + 124)
    assert (product.flops, product.moved_bytes) == (2 * 2 * 64 * 10, 2 * 64 + 80 + 640)
    assert (whole.flops, whole.moved_bytes) == (conv.flops, conv.moved_bytes)  # as TensorRT tells it


def test_what_an_engine_ran_in_fp32_moves_32() -> None:
    conv, alone, views = timed(("Conv", ("c",)), ("QuantizeLinear", ("xq",)), ("Flatten", ("cd", "f", "fq")))
    assert conv.moved_bytes == 4 * (2 * 3 * 64 + 2 * 4 * 16 + 4 * 27 + 4)
    assert alone.moved_bytes == 5 * 2 * 3 * 64 + 4 + 1
    assert (views.flops, views.moved_bytes) == (0, 0)


@pytest.mark.parametrize("engine", ["onnxruntime", "tensorrt"])
def test_digits_as_they_are_quantised(engine: Literal["onnxruntime", "tensorrt"]) -> None:
    """As many operations, and a quarter of the weights' bytes, whether they are INT8 or FP32 before a Q."""
    model = read_graph(DIGITS)
    pixels = np.random.default_rng(1).random((16, 1, 8, 8), np.float32)
    made = quantize(model, collect(model, Samples(({"pixels": pixels},), "pixels")), for_engine=engine)
    before, after = inspect(model, {}, 8), inspect(made, {}, 8)
    there = {layer.name: layer for layer in after.layers}
    for layer in before.layers:
        if layer.op_type in ("Conv", "Gemm"):
            bias_bytes = 4 * int((layer.shape or ())[1] or 0)
            assert there[layer.name].flops == layer.flops
            assert there[layer.name].weight_bytes == (layer.weight_bytes - bias_bytes) / 4 + bias_bytes
    assert after.moved_bytes < before.moved_bytes
    assert {layer.op_type for layer in after.layers} <= {layer.op_type for layer in before.layers}
