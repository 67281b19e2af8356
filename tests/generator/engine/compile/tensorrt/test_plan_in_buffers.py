"""A plan behind the runtime's ring of buffers, with stand-ins for TensorRT and the driver."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[5]

# Run apart, since a process keeps the TensorRT and the driver that it has loaded.
SCRIPT = """
import json, sys
from pathlib import Path
import numpy as np, onnx
from onnx import TensorProto, helper
from generator.engine.compile.base import Settings, ShapeRange
from generator.engine.compile.tensorrt import TensorRT
from tritonkit_runtime.buffered.loading import load
from tritonkit_runtime.buffered.requests import begin
from tritonkit_runtime.buffered.ring import Ring
from tritonkit_runtime.buffered.tensorrt import TensorRT as Plan
from tritonkit_runtime.device.cuda import Cuda
from tritonkit_runtime.device.errors import CudaError
from tritonkit_runtime.parameters import ParameterError, TensorSpec

def value(name, kind, shape):
    return helper.make_tensor_value_info(name, kind, shape)

F, I = TensorProto.FLOAT, TensorProto.INT64
nodes = [
    helper.make_node("Relu", ["x"], ["y"], "relu"),
    helper.make_node("NonZero", ["y"], ["places"], "places"),
    helper.make_node("Transpose", ["places"], ["selected"], "selected"),
]
def model(data):
    outputs = [value("y", F, ["b", 3])] + ([value("selected", I, ["n", 2])] if data else [])
    graph = helper.make_graph(nodes if data else nodes[:1], "g", [value("x", F, ["b", 3])], outputs)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()

folder = Path(sys.argv[1])
near, far = ShapeRange((1, 3), (4, 3), (8, 3)), ShapeRange((4, 3), (32, 3), (64, 3))
settings = Settings("fp32", [{"x": near}, {"x": far}])
for name, data in (("plain", False), ("data", True)):
    (folder / f"{name}.plan").write_bytes(TensorRT().compile(model(data), settings, lambda t: None).data)
X, Y, S = TensorSpec("x", "FP32", (3,)), TensorSpec("y", "FP32", (3,)), TensorSpec("selected", "INT64", (2,))
device, seen = Cuda(), {}
plan = Plan(device, folder / "plain.plan", [X], [Y], (1, 8, 64))
seen["profiles"] = {size.items: number for size, number in plan.profiles.items()}
seen["recordable"] = plan.recordable
x = np.random.default_rng(0).normal(size=(64, 3)).astype(np.float32)
for copies in ("inside", "beside"):
    ring = Ring(device, plan, (1, 8, 64), slots=2, copies=copies, graphs=False)
    sizes = (1, 5, 8, 9, 64, 2)
    answers = begin(ring, [{"x": x[:n]} for n in sizes]).answers()
    seen[copies] = [np.array_equal(a["y"], np.maximum(x[:n], 0)) for a, n in zip(answers, sizes)]
    ring.close()
plan.close()
model = load("tensorrt", folder / "data.plan", [X], [Y, S], (2, 4), gpu=0, slots=2)
seen["data_recordable"] = model.engine.recordable
x = np.array([[1, -1, 2], [0, 5, 0]], np.float32)
seen["selected"] = [model.ring.run({"x": part})["selected"].tolist() for part in (x, x[::-1].copy(), np.repeat(x, 2, 0))]
model.close()

graph = helper.make_graph(nodes[:1], "g", [value("x", F, ["b", "n"])], [value("y", F, ["b", "n"])])
opened = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
settings = Settings("fp32", [{"x": ShapeRange((1, 1), (4, 8), (8, 64))}])
(folder / "open.plan").write_bytes(TensorRT().compile(opened, settings, lambda t: None).data)
ends = [TensorSpec("x", "FP32", (-1,))], [TensorSpec("y", "FP32", (-1,))]
plan = Plan(device, folder / "open.plan", *ends, (1, 8), lengths=(16, 64))
ring = Ring(device, plan, (1, 8), slots=2, graphs=False, lengths=(16, 64))
x = np.random.default_rng(0).normal(size=(8, 64)).astype(np.float32)
shapes = [(1, 1), (3, 16), (8, 17), (1, 64)]
answers = begin(ring, [{"x": x[:items, :length].copy()} for items, length in shapes]).answers()
seen["lengths"] = [np.array_equal(a["y"], np.maximum(x[:n, :m], 0)) for a, (n, m) in zip(answers, shapes)]
ring.close()
plan.close()
try:
    load("tensorrt", folder / "open.plan", *ends, (1, 8), gpu=0, lengths=(16, 65))
except ParameterError as error:
    seen["too_long"] = str(error)

def said(file, inputs, outputs, sizes=(1, 8)):
    try:
        load("tensorrt", folder / file, inputs, outputs, sizes, gpu=0)
    except (ParameterError, CudaError) as error:
        return f"{type(error).__name__}: {error}"

good = (folder / "plain.plan").read_bytes()
(folder / "no.plan").write_bytes(b"ONNX" + good[4:])
(folder / "other.plan").write_bytes(b"ftrt" + bytes(20) + bytes([10, 9, 0, 34]) + good[28:])
(folder / "broken.plan").write_bytes(b"ftrt" + bytes(20) + bytes([*map(int, sys.argv[2].split(".")[:3]), 0]))
def headed(name, *made):
    # The good plan with a header of another TensorRT, which TensorRT itself does not look at.
    (folder / name).write_bytes(b"ftrt" + bytes(20) + bytes([*made, 0]) + good[4:])
    return said(name, [X], [Y])

here = [int(number) for number in sys.argv[2].split(".")[:3]]
seen["headed"] = [
    headed("same.plan", *here), headed("earlier.plan", 8, 6, 0), headed("later.plan", here[0], here[1], here[2] + 1),
    headed("newest.plan", 99, 1, 2), headed("oldest.plan", 7, 1, 2),
]
seen["said"] = [
    said("no.plan", [X], [Y]), said("other.plan", [X], [Y]), said("broken.plan", [X], [Y]),
    said("plain.plan", [X], [Y], (1, 65)),
    said("plain.plan", [X], [TensorSpec("z", "FP32", (3,))]),
    said("data.plan", [X], [Y]),
    said("plain.plan", [TensorSpec("x", "FP16", (3,))], [Y]),
    said("plain.plan", [TensorSpec("x", "FP32", (4,))], [Y]),
]
sys.modules["tensorrt"].ICudaEngine.create_execution_context = lambda self: None
seen["no_context"] = said("plain.plan", [X], [Y])
print(json.dumps(seen))
"""


@pytest.fixture(scope="module", params=["8.6.1", "10.15.1.29", "11.4.0.106"])
def seen(
    request: pytest.FixtureRequest, driver: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, dict[str, object]]:
    version: str = request.param
    stand_ins = Path(__file__).parent / "stand_ins"
    env = {
        **os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{stand_ins}", "LD_LIBRARY_PATH": str(driver),
        "STAND_IN_VERSION": version, "STAND_IN_BUILD": "plan",
    }  # fmt: skip
    command = [sys.executable, "-c", SCRIPT, str(tmp_path_factory.mktemp("plans")), version]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return version, json.loads(done.stdout.splitlines()[-1])


def test_answers_are_the_graphs_in_both_ways_of_copying(seen: tuple[str, dict[str, object]]) -> None:
    assert seen[1]["inside"] == seen[1]["beside"] == [True] * 6


def test_an_open_axis_is_run_in_its_lengths(seen: tuple[str, dict[str, object]]) -> None:
    assert seen[1]["lengths"] == [True] * 4
    assert "no profile of the plan open.plan takes a batch of 1 of length 65" in str(seen[1]["too_long"])


def test_each_size_has_the_profile_that_is_nearest(seen: tuple[str, dict[str, object]]) -> None:
    assert seen[1]["profiles"] == {"1": 0, "8": 0, "64": 1}
    assert seen[1]["recordable"] is True


def test_an_output_that_depends_on_the_data_comes_in_the_size_that_it_has(
    seen: tuple[str, dict[str, object]],
) -> None:
    assert seen[1]["data_recordable"] is False
    first, second, third = seen[1]["selected"]  # type: ignore[misc]
    assert first == [[0, 0], [0, 2], [1, 1]]  # type: ignore[has-type]
    assert second == [[0, 1], [1, 0], [1, 2]]  # type: ignore[has-type]
    assert third == [[0, 0], [0, 2], [1, 0], [1, 2], [2, 1], [3, 1]]  # type: ignore[has-type]


def test_no_room_for_a_context_is_said(seen: tuple[str, dict[str, object]]) -> None:
    assert str(seen[1]["no_context"]).startswith(
        "OutOfMemoryError: there is no room for an execution context of the plan plain.plan: 549,755,813,888 of the GPU's "
        "1,099,511,627,776 bytes are free"
    )


def test_what_is_wrong_with_a_plan_is_said(seen: tuple[str, dict[str, object]]) -> None:
    version, found = seen
    here = "Stand-in GPU, compute capability 9.0"
    assert found["said"] == [
        "ParameterError: no.plan is no TensorRT plan: build or render the model again",
        f"ParameterError: other.plan was made by TensorRT 10.9.0, and here is {version} ({here}): build it again for this "
        "one",
        f"ParameterError: TensorRT {version} cannot load broken.plan on this GPU ({here}): another kind of GPU made it, or "
        "the file is damaged; build it again here",
        "ParameterError: no profile of the plan plain.plan takes a batch of 65: x may be [1, 3] to [8, 3] or [4, 3] to "
        "[64, 3]; build it for this size, or leave the bucket out",
        "ParameterError: the plan plain.plan has no output 'z'; its outputs are y",
        "ParameterError: the plan data.plan has an output 'selected' that is not declared: a plan runs with all of its "
        "tensors",
        "ParameterError: input 'x' of the plan plain.plan is FP32, declared is FP16",
        "ParameterError: input 'x' of the plan plain.plan is [-1, 3], declared is [-1, 4]",
    ]


def test_a_plan_that_no_option_makes_loadable_here_is_refused_before_tensorrt_is_asked(
    seen: tuple[str, dict[str, object]],
) -> None:
    version, found = seen
    major, minor, patch = map(int, version.split(".")[:3])
    same, earlier, later, newest, oldest = found["headed"]  # type: ignore[misc]
    assert same is None  # type: ignore[has-type]
    assert earlier is None, "it may be version-compatible"  # type: ignore[has-type]
    for file, made, text in (
        ("later", f"{major}.{minor}.{patch + 1}", later),  # type: ignore[has-type]
        ("newest", "99.1.2", newest),  # type: ignore[has-type]
        ("oldest", "7.1.2", oldest),  # type: ignore[has-type]
    ):
        assert text == (
            f"ParameterError: {file}.plan was made by TensorRT {made}, and here is {version} (Stand-in GPU, compute "
            "capability 9.0): build it again for this one"
        )
