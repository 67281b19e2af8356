from __future__ import annotations

import json
import shutil

import pytest
from cli_session import CLONE, Session

from tritonkit.cli.commands.profile import _apart
from written_graphs import as_released, written

DIGITS = CLONE / "models" / "digits.onnx"


def test_a_file_is_timed_by_layer(session: Session) -> None:
    shutil.copy(DIGITS, session.folder / "digits.onnx")
    before = sorted(session.folder.iterdir())
    ended = session.quietly("profile", "digits.onnx", "--batch", "4", "--runs", "3", "--threads", "1", "--json")
    assert ended.status == 0
    [found] = json.loads(ended.out)
    assert [row["layers"] for row in found["rows"] if len(row["layers"]) > 1] == [
        ["conv_0", "relu_1"], ["conv_2", "relu_3"], ["gemm_6", "relu_7"],
    ]  # fmt: skip
    assert found["roofs"]["threads"] == 1
    assert all(row["bound"] in {"memory", "compute", "neither", "unknown"} for row in found["rows"])
    assert sorted(session.folder.iterdir()) == before


@pytest.mark.parametrize(
    ("total_ms", "said"),
    [(1.5, "of it 0.500 ms outside of layers"), (0.8, "timed one by one, its layers take 1.000 ms")],
)
def test_what_a_run_is_beside_its_layers(total_ms: float, said: str) -> None:
    """On an H200 a run of 0.155 ms had layers that took 0.218 ms together, each timed by itself."""
    from generator.engine.profile.rows import LayerTime, Profile

    row = LayerTime("conv", "Conv", 1.0, ("conv",), None, None)
    assert _apart(Profile("tensorrt", (row,), total_ms, total_ms - 1.0, 3)) == said


def test_a_spec_is_timed_as_a_table_and_a_chart(session: Session) -> None:
    as_released(session.folder / "models" / "net.onnx")
    ended = session.quietly("profile", "specs/small.yaml", "--runs", "2", "--chart", "chart.svg")
    assert ended.status == 0
    assert ended.out.startswith("small_engine: models/")
    assert "GFLOP/s (a product of matrices)" in ended.out
    assert "measured now" in ended.out
    assert (session.folder / "chart.svg").read_text().startswith("<?xml")


def test_what_cannot_be_profiled(session: Session) -> None:
    shutil.copy(DIGITS, session.folder / "digits.onnx")
    wrong = written("g (float[N,8] x) => (float[N,2] y) <int64[1] s = {3}> { y = Reshape(x, s) }")
    (session.folder / "wrong.onnx").write_bytes(wrong.SerializeToString())
    free = written("g (float[N,T] x) => (float[N,T] y) { y = Relu(x) }")
    (session.folder / "free.onnx").write_bytes(free.SerializeToString())
    for arguments, says in (
        (["wrong.onnx"], "TK918"), (["free.onnx"], "the length of `T` is not given"),
        (["free.onnx", "--length", "T=999999999"], "would take"), (["digits.onnx", "--chart", "x.doc"], ".svg, .png, .pdf"),
        (["digits.onnx", "--runs", "1", "--chart", "no/such/folder.svg"], "there is no folder no/such"),
        (["digits.onnx", "--nsys"], "--nsys is about the server of a spec"), (["digits.onnx", "--runs", "0"], "--runs"),
    ):  # fmt: skip
        ended = session.quietly("profile", *arguments)
        assert (ended.status, ended.out) == (1, ""), arguments
        assert says in ended.err
        assert "Traceback" not in ended.err


@pytest.mark.parametrize("target", ["embedded", "production"])
def test_the_command_for_nsight_systems(session: Session, target: str) -> None:
    ended = session.quietly("profile", "specs/small.yaml", "--nsys", "--target", target)
    assert (ended.status, ended.err) == (0, "")
    assert ended.out.startswith("nsys profile --trace=cuda,nvtx")
    assert ended.out.endswith(f"tritonkit serve --repository model_repository/{target}\n")
