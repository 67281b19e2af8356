"""A loaded plan in this process, with stand-ins for TensorRT and the driver: what fits, which profile, what is timed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from generator.engine.compile.tensorrt.runner import _why_not
from generator.engine.compile.tensorrt.tensors import as_given, as_stored, numpy_type

ROOT = Path(__file__).resolve().parents[5]
Put = Callable[..., None]

# Run apart, since a process keeps the TensorRT that it has imported.
SCRIPT = """
import json, sys
import numpy as np, onnx
from onnx import TensorProto, helper
from generator.engine.compile.base import Settings, ShapeRange
from generator.engine.compile.tensorrt import TensorRT
from generator.engine.compile.tensorrt.runner import loaded

def value(name, kind, shape):
    return helper.make_tensor_value_info(name, kind, shape)

F, I = TensorProto.FLOAT, TensorProto.INT64
nodes = [
    helper.make_node("Relu", ["x"], ["y"], "relu"),
    helper.make_node("NonZero", ["y"], ["places"], "places"),
    helper.make_node("Transpose", ["places"], ["selected"], "selected"),
]
graph = helper.make_graph(nodes, "g", [value("x", F, ["b", 3])], [value("y", F, ["b", 3]), value("selected", I, ["n", 2])])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
near, far = ShapeRange((1, 3), (4, 3), (8, 3)), ShapeRange((4, 3), (32, 3), (64, 3))
plan = TensorRT().compile(model.SerializeToString(), Settings("fp32", [{"x": near}, {"x": far}]), lambda t: None).data
x = np.array([[1, -1, 2], [0, 5, 0]], np.float32)
seen = {}
with loaded(plan) as runner:
    seen["profiles"] = runner.profiles
    seen["activation_bytes"] = runner.activation_bytes
    seen["tensors"] = [[t.name, t.dtype, list(t.shape), t.is_input] for t in runner.tensors]
    first = runner.run({"x": x})
    seen["y"] = first["y"].tolist()
    seen["selected"] = first["selected"].tolist()
    more = runner.run({"x": np.ones((50, 3), np.float32)})
    seen["shapes"] = [list(more[name].shape) for name in ("y", "selected")]
    seen["chosen"] = [runner._choose({"x": (size, 3)}) for size in (1, 4, 8, 9, 64)]
    seen["float64"] = runner.run({"x": x.astype(np.float64)})["y"].tolist()
    wrong = []
    for tensors in ({"x": np.ones((65, 3), np.float32)}, {"z": x}, {"x": x.astype(np.complex64)}, {"x": x[0]}):
        try:
            runner.run(tensors)
        except ValueError as error:
            wrong.append(str(error))
    seen["wrong"] = wrong
    seen["times_us"] = runner.time_us({"x": x}, 3, warm_up=1)
    seen["graph_us"] = runner.time_us({"x": x}, 2, graph=True)
    seen["layers"] = runner.layers({"x": x}, 2)
    seen["after"] = runner.run({"x": x})["y"].tolist()
    seen["information"] = runner.information()
    seen["of_shapes"] = runner.information({"x": x})
    again = runner.serialised()
with loaded(again, profile=1) as runner:
    seen["again"] = runner.run({"x": np.ones((4, 3), np.float32)})["y"].tolist()
    try:
        runner.run({"x": x})
    except ValueError as error:
        seen["forced"] = str(error)
print(json.dumps(seen))
"""


@pytest.fixture(scope="module", params=["8.6.1", "10.15.1.29"])
def seen(request: pytest.FixtureRequest, driver: Path) -> dict[str, object]:
    import os

    stand_ins = Path(__file__).parent / "stand_ins"
    env = {
        **os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{stand_ins}", "LD_LIBRARY_PATH": str(driver),
        "STAND_IN_VERSION": request.param, "STAND_IN_BUILD": "plan",
    }  # fmt: skip
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_answers_are_the_graphs(seen: dict[str, object]) -> None:
    assert seen["y"] == [[1, 0, 2], [0, 5, 0]]
    assert seen["float64"] == seen["y"] == seen["after"]
    assert seen["tensors"] == [
        ["x", "FLOAT", [-1, 3], True], ["y", "FLOAT", [-1, 3], False], ["selected", "INT64", [-1, 2], False],
    ]  # fmt: skip


def test_an_output_that_depends_on_the_data_has_the_size_that_it_needs(seen: dict[str, object]) -> None:
    assert seen["selected"] == [[0, 0], [0, 2], [1, 1]]
    assert seen["shapes"] == [[50, 3], [150, 2]]


def test_the_profile_with_the_nearest_usual_shape_is_taken(seen: dict[str, object]) -> None:
    assert seen["profiles"] == 2
    assert seen["activation_bytes"] == 3000, "as TensorRT says of a context"
    assert seen["chosen"] == [0, 0, 0, 1, 1]
    assert seen["again"] == [[1, 1, 1]] * 4
    assert "fits no profile" in str(seen["forced"])


def test_tensors_that_do_not_fit_are_refused(seen: dict[str, object]) -> None:
    wrong = seen["wrong"]
    assert isinstance(wrong, list)
    assert len(wrong) == 4
    assert "no profile of the plan takes {'x': [65, 3]}" in wrong[0]
    assert "the plan takes x; given: z" in wrong[1]
    assert "complex64" in wrong[2]


def test_times_layers_and_the_inspector(seen: dict[str, object]) -> None:
    assert seen["times_us"] == [1000.0] * 3, "the stand-in's clock ticks once an event"
    assert seen["graph_us"] == [1000.0] * 2
    assert seen["layers"] == [["relu", 0.5], ["places", 0.5], ["selected", 0.5]]
    assert seen["information"] == {"Layers": ["relu", "places", "selected"]}
    assert seen["of_shapes"] == {"Layers": ["relu", "places", "selected"], "Shapes": {"x": [2, 3]}}


def test_integers_change_their_width_only_where_every_value_survives() -> None:
    ids = np.array([1, 2**31 - 1], np.int64)
    assert as_stored(ids, "INT32", "ids").dtype == np.int32
    with pytest.raises(ValueError, match="'ids' has values that int32"):
        as_stored(ids + 1, "INT32", "ids")
    with pytest.raises(ValueError, match="'x' is float32, and the plan takes int32"):
        as_stored(np.zeros(2, np.float32), "INT32", "x")
    with pytest.raises(ValueError, match="type FP8 cannot be handled"):
        numpy_type("FP8")


def test_bf16_is_rounded_to_the_nearest() -> None:
    exact = np.array([1.0, 1.00390625, 1.01171875, -3.140625, np.inf, np.nan, 0.0], np.float32)
    back = as_given(as_stored(exact, "BF16", "x"), "BF16")
    expected = np.array([1.0, 1.0, 1.015625, -3.140625, np.inf, np.nan, 0.0], np.float32)
    np.testing.assert_array_equal(back, expected)


def test_why_a_plan_was_refused() -> None:
    """By a plan of 8.6.1 that a GPU made."""
    plan = (ROOT / "tests" / "generator" / "lint" / "plans" / "fixed.plan").read_bytes()
    assert _why_not(plan) == "TensorRT 8.6.1.6 made it; another version, another kind of GPU, or it is damaged"
    assert _why_not(plan[:1818]) == "it is damaged: 1,818 bytes are here, and its header says 3,636"
    assert _why_not(b"") == "it is empty"
    assert _why_not(plan[:10]) == "it ends after 10 bytes, inside its header"
