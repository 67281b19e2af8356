"""Operations and bytes by layer, against numbers counted by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from generator.engine.inspect import Inspection, inspect, read_graph
from written_graphs import written

DIGITS = Path(__file__).parents[4] / "models" / "digits.onnx"


def seen(text: str, batch: int | None = None, opset: int = 17, **lengths: int) -> Inspection:
    """The inspection of a graph in ONNX's own text form."""
    return inspect(written(text, opset), lengths, batch)


@pytest.mark.parametrize(
    ("graph", "flops"),
    [
        # 4 filters of 3x3x3 at 6x6 places of 2 images: 27 multiplications and 27 additions each
        ("g (float[2,3,8,8] x, float[4,3,3,3] w) => (float[2,4,6,6] y) { y = Conv(x, w) }", 2 * 4 * 36 * 54),
        ("g (float[2,3,8,8] x, float[4,3,3,3] w, float[4] b) => (float[2,4,6,6] y) { y = Conv(x, w, b) }",
         2 * 4 * 36 * 55),
        # depthwise: every output value sees one channel
        ("g (float[1,4,8,8] x, float[4,1,3,3] w) => (float[1,4,8,8] y) "
         "{ y = Conv<group=4, pads=[1,1,1,1]>(x, w) }", 4 * 64 * 18),
        # 5x5 input values of 3 channels, each spread over 2 channels x 2x2
        ("g (float[1,3,5,5] x, float[3,2,2,2] w) => (float[1,2,10,10] y) "
         "{ y = ConvTranspose<strides=[2,2]>(x, w) }", 2 * 75 * 8),
        ("g (float[5,7] a, float[7,3] b) => (float[5,3] y) { y = Gemm(a, b) }", 2 * 5 * 7 * 3),
        ("g (float[7,5] a, float[3,7] b, float[3] c) => (float[5,3] y) { y = Gemm<transA=1, transB=1>(a, b, c) }",
         2 * 5 * 7 * 3 + 15),
        ("g (float[2,6,5,7] a, float[2,6,7,3] b) => (float[2,6,5,3] y) { y = MatMul(a, b) }", 12 * 2 * 5 * 7 * 3),
        ("g (float[2,6,5,7] a, float[7,3] b) => (float[2,6,5,3] y) { y = MatMul(a, b) }", 12 * 2 * 5 * 7 * 3),
        ("g (float[7] a, float[7] b) => (float y) { y = MatMul(a, b) }", 14),
        ('g (float[2,5,7] a, float[2,7,3] b) => (float[2,5,3] y) { y = Einsum<equation="bij,bjk->bik">(a, b) }',
         2 * 2 * 5 * 7 * 3),
        ("g (float[1,2,8,8] x) => (float[1,2,4,4] y) { y = MaxPool<kernel_shape=[2,2], strides=[2,2]>(x) }", 32 * 4),
        ("g (float[1,2,8,8] x) => (float[1,2,1,1] y) { y = GlobalAveragePool(x) }", 128),
        ("g (float[4,8] x) => (float[4,8] y) { y = Softmax(x) }", 5 * 32),
        ("g (float[4,8] x, float[8] s, float[8] b) => (float[4,8] y) { y = LayerNormalization(x, s, b) }", 7 * 32),
        ("g (float[4,8] x) => (float[4] y) { y = ReduceMean<axes=[1], keepdims=0>(x) }", 32),
        ("g (float[4,8] x, float[8] z) => (float[4,8] y) { y = Add(x, z) }", 32),
        ("g (float[4,8] x, float[8] z) => (float[4,8] y) { y = Max(x, z, z) }", 64),
        ("g (float[4,8] x) => (float[8,4] y) { y = Transpose(x) }", 0),
        # four gates, each a product with 3 features and 5 hidden values, over 6 steps of 2 items
        ("g (float[6,2,3] x, float[1,20,3] w, float[1,20,5] r) => (float[6,1,2,5] y) "
         "{ y = LSTM<hidden_size=5>(x, w, r) }", 2 * 6 * 2 * 20 * 8),
    ],
)  # fmt: skip
def test_operations(graph: str, flops: int) -> None:
    [layer] = seen(graph).layers
    assert layer.flops == flops


def test_attention_as_one_operator_and_as_a_pattern() -> None:
    """Both count the two products and the softmax; scaling and masking are of the pattern alone."""
    one = seen("g (float[2,4,8,16] q, float[2,4,8,16] k, float[2,4,8,16] v) => (float[2,4,8,16] y) "
               "{ y = Attention(q, k, v) }", opset=23)  # fmt: skip
    many = seen("""g (float[2,4,8,16] q, float[2,4,16,8] k, float[2,4,8,16] v, float s) => (float[2,4,8,16] y)
                   { a = MatMul(q, k)
                     b = Mul(a, s)
                     c = Softmax(b)
                     y = MatMul(c, v) }""")
    scores = 2 * 4 * 8 * 8
    assert one.flops == scores * (2 * 16 + 5 + 2 * 16)
    assert many.flops == one.flops + scores
    assert [layer.block for layer in many.layers] == ["attention"] * 4
    assert [layer.block for layer in one.layers] == ["attention"]


def test_a_softmax_at_the_end_of_a_classifier_is_no_attention() -> None:
    found = seen("g (float[4,8] x) => (float[4,3] y) <float[8,3] w> { a = MatMul(x, w)\n y = Softmax(a) }")
    assert {layer.block for layer in found.layers} == {""}


def test_bytes_and_intensity() -> None:
    found = seen("g (float[N,3,8,8] x) => (float[N,4,6,6] y) <float[4,3,3,3] w, float[4] b> { y = Conv(x, w, b) }", 2)
    [layer] = found.layers
    assert (layer.read_bytes, layer.written_bytes, layer.weight_bytes) == (2 * 192 * 4, 2 * 144 * 4, (108 + 4) * 4)
    assert layer.moved_bytes == 1536 + 1152 + 448
    assert layer.intensity == pytest.approx(288 * 55 / 3136)


def test_a_gather_reads_the_rows_that_it_takes() -> None:
    found = seen("g (int64[N,5] i) => (float[N,5,16] y) <float[1000,16] table> { y = Gather(table, i) }", 2)
    [layer] = found.layers
    assert layer.weight_bytes == layer.written_bytes == 2 * 5 * 16 * 4
    assert found.weights["FP32"].bytes == 64_000


def test_views_move_nothing_and_constants_are_weights() -> None:
    found = seen(
        """g (float[N,4,4] x) => (float[N,16] y) { s = Constant<value = int64[2] {-1, 16}>()
                                                            y = Reshape(x, s) }""",
        3,
    )
    [layer] = found.layers
    assert (layer.op_type, layer.shape, layer.flops, layer.moved_bytes) == ("Reshape", (3, 16), 0, 0)
    assert found.weights["INT64"].values == 2


def test_what_is_not_known_stays_unknown_and_is_said() -> None:
    """A number of results that the data decide, an axis without a length, a body of a loop."""
    data = seen("g (float[N,4] x) => (int64[2,M] y) { a = NonZero(x)\n y = Add(a, a) }", 2)
    assert [layer.flops for layer in data.layers] == [0, None]
    assert [layer.name for layer in data.uncounted] == ["NonZero_0", "Add_1"]
    free = seen("g (float[N,T] x) => (float[N,T] y) { y = Relu(x) }", 2)
    assert (free.free_axes, free.flops, free.layers[0].flops) == (("T",), 0, None)
    assert seen("g (float[N,T] x) => (float[N,T] y) { y = Relu(x) }", 2, T=5).flops == 10


def test_the_digits() -> None:
    found = inspect(read_graph(DIGITS), {})
    assert [layer.op_type for layer in found.layers] == [
        "Conv", "Relu", "Conv", "Relu", "MaxPool", "Flatten", "Gemm", "Relu", "Gemm",
    ]  # fmt: skip
    assert found.layers[2].flops == 32 * 64 * (2 * 24 * 9 + 1)
    assert (found.opset, found.producer, found.batch) == (17, "tritonkit", ("batch",))
    assert found.weights["FP32"].values * 4 == found.weights["FP32"].bytes


@given(batch=st.integers(1, 1000), rows=st.integers(1, 40), inner=st.integers(1, 40), columns=st.integers(1, 40))
@settings(max_examples=30)
def test_work_grows_with_the_batch_and_weights_do_not(batch: int, rows: int, inner: int, columns: int) -> None:
    graph = (f"g (float[N,{rows},{inner}] x) => (float[N,{rows},{columns}] y) <float[{inner},{columns}] w> "
             "{ a = MatMul(x, w)\n y = Relu(a) }")  # fmt: skip
    one, many = seen(graph, 1), seen(graph, batch)
    assert one.flops == 2 * rows * inner * columns + rows * columns
    assert many.flops == batch * one.flops
    assert [a.weight_bytes for a in one.layers] == [a.weight_bytes for a in many.layers]
    assert sum(a.written_bytes or 0 for a in many.layers) == batch * sum(a.written_bytes or 0 for a in one.layers)


def test_huge_lengths_are_counted_without_overflow() -> None:
    found = seen("g (float[N,T] x) => (float[N,T] y) { y = Relu(x) }", 10**9, T=10**9)
    assert found.flops == 10**18


def test_names_that_are_empty_or_twice_there() -> None:
    model = written("g (float[N] x) => (float[N] c) { a = Relu(x) b = Relu(a) c = Neg(b) }")
    model.graph.node[0].name = model.graph.node[1].name = "same"
    assert [layer.name for layer in inspect(model, {}).layers] == ["same", "same#2", "Neg_2"]
