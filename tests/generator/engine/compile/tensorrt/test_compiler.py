"""Builds from settings to plan, in their own process, with stand-ins for TensorRT and the driver."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from generator.engine.compile.base import Settings, ShapeRange
from generator.engine.compile.codes import CODES
from generator.engine.compile.tensorrt import TensorRT
from generator.engine.compile.tensorrt.apart import probe, run_apart
from generator.engine.errors import Finding, StageError
from generator.engine.fold.nms import add_nms

Put = Callable[..., None]
X = ShapeRange((1, 4), (8, 4), (32, 4))
ROOT = Path(__file__).resolve().parents[5]


def graph(*, operator: str = "Relu", to: int | None = None, quantised: bool = False) -> bytes:
    """x [batch, 4] → y, through one operator; in 16 bits between casts, or behind Q/DQ."""
    nodes = [helper.make_node(operator, ["x"], ["y"], "op")]
    weights = []
    if to is not None:
        nodes = [
            helper.make_node("Cast", ["x"], ["low"], "down", to=to),
            helper.make_node("Relu", ["low"], ["low_y"], "op"),
            helper.make_node("Cast", ["low_y"], ["y"], "up", to=TensorProto.FLOAT),
        ]
    if quantised:
        weights = [
            helper.make_tensor("s", TensorProto.FLOAT, [], [0.1]),
            helper.make_tensor("z", TensorProto.INT8, [], [0]),
        ]
        nodes = [
            helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], "q"),
            helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"], "d"),
            helper.make_node("Relu", ["d"], ["y"], "op"),
        ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 4])
    made = helper.make_graph(nodes, "g", [x], [y], weights)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


def settings(precision: str = "fp32", **more: Any) -> Settings:
    return Settings(precision, **{"profiles": [{"x": X}], **more})


def told(plan: bytes) -> dict[str, Any]:
    """What the stand-in's builder was told."""
    head: dict[str, Any] = json.loads(plan[4:].partition(b"\n")[0])
    return head


def findings(compiler: TensorRT, data: bytes, asked: Settings) -> tuple[Finding, ...]:
    with pytest.raises(StageError) as raised:
        compiler.compile(data, asked, lambda _text: None)
    assert {finding.code for finding in raised.value.findings} <= CODES.keys()
    return raised.value.findings


@pytest.mark.parametrize(
    ("precision", "flags"),
    [
        ("fp32", []),
        ("tf32", ["TF32"]),
        ("fp16", ["FP16", "TF32"]),
        ("int8", ["FP16", "INT8", "TF32"]),
    ],
)
def test_on_8_6_precision_is_flags(stand_in: Put, precision: str, flags: list[str]) -> None:
    stand_in("8.6.1")
    made = TensorRT().compile(graph(), settings(precision, ranges={"x": (-1.0, 2.0)}), lambda _text: None)
    head = told(made.data)
    assert sorted(head["flags"]) == flags
    assert head["network"] == 1, "EXPLICIT_BATCH alone"
    assert made.file == "model.plan"
    assert made.facts["tensorrt"] == "8.6.1"
    assert made.facts["gpu"] == "Stand-in GPU"
    assert made.facts["compute_capability"] == "9.0"
    assert [t["name"] for t in made.facts["tensors"]] == ["x", "y"]


def test_int8_reads_a_calibration_cache_of_the_ranges(stand_in: Put) -> None:
    stand_in("8.6.1")
    asked = settings("int8", ranges={"x": (-1.27, 0.5), "y": (0.0, 12.7)})
    head = told(TensorRT().compile(graph(), asked, lambda _text: None).data)
    assert head["calibration"] == "TRT-8601-EntropyCalibration2\nx: 3c23d70a\ny: 3dcccccd\n"


def test_int8_by_dynamic_ranges(stand_in: Put) -> None:
    stand_in("8.6.1")
    asked = settings("int8", ranges={"x": (-1.0, 0.5), "y": (0.0, 3.0), "gone": (0.0, 1.0)})
    made = TensorRT(int8_by="dynamic_range").compile(graph(), asked, lambda _text: None)
    assert told(made.data)["ranges"] == {"x": [-1.0, 1.0], "y": [-3.0, 3.0]}
    assert made.facts["precision_from"] == "dynamic ranges"


def test_int8_by_batches_that_are_fed(stand_in: Put) -> None:
    stand_in("8.6.1")
    batches = [{"x": np.full((8, 4), n, np.float32)} for n in range(3)]
    compiler = TensorRT(int8_by="batches", batches=batches)
    compiler.compile(graph(), settings("int8"), lambda _text: None)
    assert compiler.calibration_cache == b"3 x 8"


def test_a_graph_with_its_own_q_dq_needs_no_ranges(stand_in: Put) -> None:
    stand_in("8.6.1")
    made = TensorRT().compile(graph(quantised=True), settings("int8"), lambda _text: None)
    assert made.facts["precision_from"] == "graph and flags"
    assert told(made.data)["calibration"] is None


@pytest.mark.parametrize("version", ["10.15.1.29", "11.4.0.106"])
@pytest.mark.parametrize(
    ("precision", "data", "flags"),
    [
        ("fp32", graph(), []),
        ("tf32", graph(), ["TF32"]),
        ("fp16", graph(to=TensorProto.FLOAT16), ["TF32"]),
        ("bf16", graph(to=TensorProto.BFLOAT16), ["TF32"]),
        ("int8", graph(quantised=True), ["TF32"]),
    ],
    ids=["fp32", "tf32", "fp16", "bf16", "int8"],
)
def test_from_10_on_precision_is_in_the_graph(
    stand_in: Put, version: str, precision: str, data: bytes, flags: list[str]
) -> None:
    stand_in(version)
    made = TensorRT().compile(data, settings(precision), lambda _text: None)
    assert told(made.data)["flags"] == flags
    assert told(made.data)["network"] == 1 << 1, "STRONGLY_TYPED"
    assert made.facts["precision_from"] == "graph"


@pytest.mark.parametrize("precision", ["fp16", "bf16", "int8", "fp8"])
def test_from_10_on_a_graph_that_was_not_lowered_is_refused(stand_in: Put, precision: str) -> None:
    stand_in("11.4.0.106")
    [finding] = findings(TensorRT(), graph(), settings(precision, ranges={"x": (0.0, 1.0)}))
    assert finding.code == "TK954"
    assert f"nothing in {precision}" in finding.message


def test_everything_else_that_is_asked_for_reaches_the_builder(stand_in: Put) -> None:
    stand_in("10.15.1.29")
    profiles = [{"x": X}, {"x": ShapeRange((33, 4), (64, 4), (128, 4))}]
    asked = settings(
        profiles=profiles, workspace_mib=64, optimization_level=5, hardware="same_compute_capability",
        version_compatible=True, refit=True, channels_last=True,
    )  # fmt: skip
    made = TensorRT().compile(graph(), asked, lambda _text: None)
    head = told(made.data)
    assert head["profiles"] == [{"x": [[1, 4], [8, 4], [32, 4]]}, {"x": [[33, 4], [64, 4], [128, 4]]}]
    assert head["workspace_bytes"] == 64 << 20
    assert head["level"] == 5
    assert head["hardware"] == "SAME_COMPUTE_CAPABILITY"
    assert set(head["flags"]) == {"VERSION_COMPATIBLE", "EXCLUDE_LEAN_RUNTIME", "REFIT"}
    assert made.facts["lean_runtime"].startswith("excluded")
    assert "TensorRT" in made.facts["channels_last"]
    assert made.facts["tactic_sources_off"] == ["CUBLAS", "CUBLAS_LT", "CUDNN"]
    assert head["tactics"] == 0b11000, "what needs no library that is missing"


def test_a_timing_cache_is_used_and_one_of_another_version_is_not(stand_in: Put) -> None:
    stand_in("8.6.1")
    first = TensorRT().compile(graph(), settings(), lambda _text: None)
    assert first.facts["timing_cache"] == "new"
    again = TensorRT().compile(graph(), settings(timing_cache=first.timing_cache), lambda _text: None)
    assert again.facts["timing_cache"] == "used"
    other = TensorRT().compile(graph(), settings(timing_cache=b"10.1.0 times"), lambda _text: None)
    assert other.facts["timing_cache"].startswith("ignored")
    assert other.timing_cache == first.timing_cache


@pytest.mark.parametrize("version", ["8.6.1", "10.15.1", "11.4.0"])
def test_tensorrts_own_plugins_are_there_for_the_parser(stand_in: Put, version: str) -> None:
    """A graph with its suppression, and no library named."""
    stand_in(version)
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 6, last])
        for name, last in (("boxes", 4), ("scores", 3))
    ]
    model = onnx.helper.make_model(
        helper.make_graph([], "detector", [], values), opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    )
    for value in values:
        taken = model.graph.input.add()
        taken.CopyFrom(value)
        taken.name = f"in_{value.name}"
        model.graph.node.append(helper.make_node("Identity", [taken.name], [value.name], value.name))
    wanted: Any = {"max_detections": 4, "iou_threshold": 0.5, "score_threshold": 0.3, "style": "efficient"}
    profile = {f"in_{n}": ShapeRange((1, 6, k), (2, 6, k), (8, 6, k)) for n, k in (("boxes", 4), ("scores", 3))}
    data = add_nms(model, "boxes", "scores", **wanted).SerializeToString()
    made = TensorRT().compile(data, Settings("fp32", [profile]), lambda _text: None)
    assert [t["name"] for t in made.facts["tensors"]][2:] == ["boxes", "label", "score", "count"]


def test_every_node_that_the_parser_refuses_is_named(stand_in: Put) -> None:
    stand_in("8.6.1")
    model = onnx.load_model_from_string(graph())
    model.graph.node[0].op_type = "Mish2"
    model.graph.node.append(helper.make_node("Zip", ["y"], ["z"], "zipped"))
    found = findings(TensorRT(), bytes(model.SerializeToString()), settings())
    assert [finding.code for finding in found] == ["TK951", "TK951"]
    assert "node 0 (Mish2 'op')" in found[0].message
    assert "node 1 (Zip 'zipped')" in found[1].message


@pytest.mark.parametrize(
    ("profiles", "said"),
    [
        ([], "no profile says how long"),
        ([{}], "does not say the shape of 'x'"),
        ([{"x": X, "w": X}], "names the input 'w'"),
        ([{"x": ShapeRange((1, 5), (8, 5), (32, 5))}], "min of 'x' is [1, 5]"),
        ([{"x": ShapeRange((1,), (8,), (32,))}], "its shape is [-1, 4]"),
    ],
)
def test_profiles_that_do_not_fit_are_told_apart(stand_in: Put, profiles: list[Any], said: str) -> None:
    stand_in("8.6.1")
    found = findings(TensorRT(), graph(), settings(profiles=profiles))
    assert {finding.code for finding in found} == {"TK952"}
    assert any(said in finding.message for finding in found)


@pytest.mark.parametrize(
    ("asked", "code", "said"),
    [
        (settings("bf16"), "TK953", "bf16"),
        (settings(hardware="same_compute_capability"), "TK953", "same_compute_capability"),
        (settings("int8"), "TK954", "ranges"),
        (settings(plugins=["/nowhere/plugin.so"]), "TK958", "/nowhere/plugin.so"),
    ],
)
def test_what_8_6_cannot_do_is_said(stand_in: Put, asked: Settings, code: str, said: str) -> None:
    stand_in("8.6.1")
    [finding] = findings(TensorRT(), graph(), asked)
    assert finding.code == code
    assert said in finding.message
    assert finding.hint


def test_a_missing_builder_resource_is_named(stand_in: Put) -> None:
    stand_in("10.15.1.29", build="no resource")
    [finding] = findings(TensorRT(), graph(), settings())
    assert finding.code == "TK956"
    assert "libnvinfer_builder_resource_sm90.so.10.15.1," in finding.message
    assert "trtexec" in finding.hint


def test_what_tensorrt_says_of_a_failed_build_is_passed_on(stand_in: Put) -> None:
    stand_in("8.6.1", build="none")
    [finding] = findings(TensorRT(), graph(), settings())
    assert finding.code == "TK955"
    assert "no tactic was found for layer conv" in finding.message


def test_a_crash_is_a_finding(stand_in: Put) -> None:
    stand_in("8.6.1", build="crash")
    [finding] = findings(TensorRT(), graph(), settings())
    assert finding.code == "TK957"
    assert "SIGSEGV" in finding.message


def test_a_build_that_hangs_is_ended(stand_in: Put) -> None:
    stand_in("8.6.1", build="hang")
    steps: list[str] = []
    start = time.monotonic()
    with pytest.raises(StageError, match=r"TK957.*longer than 4 s"):
        TensorRT(limit_s=4).compile(graph(), settings(), steps.append)
    assert time.monotonic() - start < 60


def test_ctrl_c_ends_the_worker_too(stand_in: Put, tmp_path: Path) -> None:
    stand_in("8.6.1", build="hang")
    (tmp_path / "graph.onnx").write_bytes(graph())
    code = f"""
import pathlib
from generator.engine.compile.base import Settings, ShapeRange
from generator.engine.compile.tensorrt import TensorRT
x = ShapeRange((1, 4), (8, 4), (32, 4))
data = pathlib.Path({str(tmp_path)!r}, "graph.onnx").read_bytes()
TensorRT().compile(data, Settings("fp32", [{{"x": x}}]), lambda text: print(text, flush=True))
"""
    env = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ['PYTHONPATH']}", "TMPDIR": str(tmp_path)}
    process = subprocess.Popen(
        [sys.executable, "-c", code], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    while "building" not in process.stdout.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert "KeyboardInterrupt" in errors
    assert sorted(path.name for path in tmp_path.iterdir()) == ["graph.onnx"], "its folder is gone"
    assert not _processes_that_name(str(tmp_path))


def _processes_that_name(text: str) -> list[str]:
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = entry.read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if text in line and "tensorrt.worker" in line:
            found.append(line)
    return found


def test_a_probe_tells_what_is_here(stand_in: Put) -> None:
    stand_in("11.4.0.106")
    facts = probe()
    assert facts["tensorrt"] == "11.4.0.106"
    assert facts["strongly_typed"] is True
    assert facts["hardware"] == ["ampere_plus", "none", "same_compute_capability"]
    assert TensorRT().missing() == ""


def test_without_tensorrt_a_build_is_refused_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTHONPATH", raising=False)
    assert "neither the package tensorrt nor tensorrt_bindings" in TensorRT().missing()
    [finding] = findings(TensorRT(), graph(), settings())
    assert finding.code == "TK950"


def test_without_a_gpu_the_builder_is_refused(stand_in: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in("8.6.1")
    monkeypatch.setenv("STAND_IN_GPU", "none")
    [finding] = findings(TensorRT(), graph(), settings())
    assert finding.code == "TK950"
    facts = probe()
    assert "makes no builder" in facts["reason"]
    assert facts["gpu"] == "Stand-in GPU"


def test_a_plan_runs_on_batches_in_a_process_of_its_own(stand_in: Put) -> None:
    stand_in("8.6.1")
    plan = TensorRT().compile(graph(), settings(), lambda _text: None).data
    batches = [{"x": np.array([[-1, 2, -3, 4]] * size, np.float32)} for size in (1, 3, 32)]
    answers = run_apart(plan, batches)
    for batch, answer in zip(batches, answers, strict=True):
        np.testing.assert_array_equal(answer["y"], np.maximum(batch["x"], 0))
    with pytest.raises(StageError, match=r"TK952.*no profile of the plan takes"):
        run_apart(plan, [{"x": np.zeros((33, 4), np.float32)}])
    with pytest.raises(StageError, match=r"TK950.*cannot load the plan"):
        run_apart(plan[:40], batches)


def test_settings_reach_the_worker_as_they_are() -> None:
    from dataclasses import asdict

    from generator.engine.compile.tensorrt.worker import settings_of

    asked = settings("int8", ranges={"x": (-1.5, 2.0)}, plugins=["a.so"], workspace_mib=3)
    data = json.loads(json.dumps(asdict(asked)))
    assert settings_of(data, None) == asked
    assert settings_of(data, b"t") == replace(asked, timing_cache=b"t")
