"""A profile from ONNX Runtime's trace: what adds up, what is left out, and that nothing stays behind."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from generator.engine.errors import StageError
from generator.engine.inspect import inspect, read_graph
from generator.engine.profile import profile
from generator.engine.profile.inputs import made_inputs
from generator.engine.profile.onnxruntime import called, split
from written_graphs import written

DIGITS = Path(__file__).parents[4] / "models" / "digits.onnx"


def test_rows_have_the_work_of_the_inspection() -> None:
    model = read_graph(DIGITS)
    seen, found = inspect(model, {}, 4), profile(model, {}, 4, runs=3, threads=1)
    assert (found.engine, found.runs) == ("onnxruntime", 3)
    assert sum(row.flops or 0 for row in found.rows) == seen.flops
    assert all(row.ms >= 0 for row in found.rows)
    assert found.layers_ms == sum(row.ms for row in found.rows) > 0
    alone = {layer.name: layer for layer in seen.layers}
    for row in found.rows:
        if len(row.layers) == 1:
            assert row.moved_bytes == alone[row.layers[0]].moved_bytes
        elif row.layers:  # what lies between two nodes that run as one is neither written nor read again
            assert row.moved_bytes is not None
            assert row.moved_bytes < sum(alone[name].moved_bytes or 0 for name in row.layers)


def test_bytes_of_a_fused_row_by_hand() -> None:
    model = written("g (float[N,8] x) => (float[N,5] y) <float[8,5] w, float[5] b> { a = Gemm(x, w, b) y = Relu(a) }")
    [row] = profile(model, {}, 3, runs=1, threads=1).rows
    assert row.layers == ("Gemm_0", "Relu_1")
    assert row.moved_bytes == 4 * (3 * 8 + 3 * 5 + 8 * 5 + 5)


def test_nothing_is_left_in_the_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    profile(read_graph(DIGITS), {}, runs=1, threads=1)
    wrong = written("g (float[N,8] x) => (float[N,2] y) <int64[1] s = {3}> { y = Reshape(x, s) }")
    with pytest.raises(StageError, match="ONNX Runtime cannot run the model"):
        profile(wrong, {}, runs=1, threads=1)
    assert list(tmp_path.iterdir()) == []


def event(name: str, ts: int, dur: int, cat: str = "Node") -> dict[str, object]:
    return {"name": name, "ts": ts, "dur": dur, "cat": cat}


def test_a_trace_is_split_by_run() -> None:
    """Events in any order; nodes of the same name by their order; the body of a loop is in its loop."""
    events = [
        event("session_initialization", 0, 50, "Session"),
        event("model_run", 100, 40, "Session"), event("model_run", 200, 60, "Session"),
        event("b_kernel_time", 120, 9), event("a_kernel_time", 105, 7), event("a_kernel_time", 130, 5),
        event("inner_kernel_time", 121, 2), event("a_fence_before", 104, 1),
        event("a_kernel_time", 210, 8), event("b_kernel_time", 220, 10), event("a_kernel_time", 240, 6),
    ]  # fmt: skip
    runs, totals = split(events, ["a", "b", "a"])
    assert runs == [
        [("a", 0.007), ("b", 0.009), ("a#2", 0.005)],
        [("a", 0.008), ("b", 0.010), ("a#2", 0.006)],
    ]
    assert totals == [0.040, 0.060]
    assert all(sum(ms for _, ms in run) <= total for run, total in zip(runs, totals, strict=True))


@pytest.mark.parametrize(
    "kind", ["float", "float16", "bfloat16", "double", "uint8", "int32", "int64", "bool", "string"]
)
def test_inputs_of_every_type(kind: str) -> None:
    model = written(f"g ({kind}[N,3] x) => ({kind}[N,3] y) {{ y = Identity(x) }}")
    found = made_inputs(model, {"N": 2}, seed=1)
    assert found["x"].shape == (2, 3)
    again = made_inputs(model, {"N": 2}, seed=1)
    assert found["x"].tobytes() == again["x"].tobytes() or kind == "string"


@pytest.mark.parametrize(
    ("lengths", "says"), [({}, "the length of `T` is not given"), ({"T": 10**9}, "the inputs would take")]
)
def test_lengths_that_are_missing_or_far_too_large(lengths: dict[str, int], says: str) -> None:
    model = written("g (float[N,T] x) => (float[N,T] y) { y = Relu(x) }")
    with pytest.raises(StageError, match=says) as caught:
        profile(model, lengths, 8, runs=1)
    assert caught.value.findings[0].code == "TK910"


def test_control_flow_is_timed_as_one_row() -> None:
    model = written("""g (bool c, float[N] x) => (float[N] y)
        { y = If(c) <then_branch = t () => (float[N] p) { o = Relu(x) p = Exp(o) },
                     else_branch = e () => (float[N] q) { q = Neg(x) }> }""")
    found = profile(model, {}, 2, runs=2, threads=1)
    assert [(row.op_type, row.layers, row.flops) for row in found.rows] == [("If", ("If_0",), None)]


def test_what_runs_is_called_by_its_node_in_the_graph() -> None:
    found = profile(read_graph(DIGITS), {}, 1, runs=1, threads=1)
    assert [row.name for row in found.rows if row.layers and row.name not in row.layers] == []
    assert called("conv_2_token_4", ("conv_2", "relu_3")) == "conv_2"
    assert called("ReorderOutput", ()) == "ReorderOutput"
