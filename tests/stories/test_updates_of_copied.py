"""Ensembles in Triton's own words: one inside another, and two that share a model. What changes below is served."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from story_tools import serving, tritonkit
from update_tools import addresses, updated

from tritonkit import Pipeline

pytestmark = pytest.mark.server

ADD_PY = """\
import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        found = [pb_utils.get_input_tensor_by_name(request, "x").as_numpy() for request in requests]
        return [pb_utils.InferenceResponse([pb_utils.Tensor("y", x + np.float32(ADDS))]) for x in found]
"""
TENSORS = """\
max_batch_size: 8
input { name: "x" data_type: TYPE_FP32 dims: [ 1 ] }
output { name: "y" data_type: TYPE_FP32 dims: [ 1 ] }
"""
# Ensembles by name, and the models that run in each of them, one after the other.
NESTED = {"outer": ("inner", "part"), "inner": ("zed",)}
SHARED = {"left": ("both", "one"), "right": ("both", "two")}


def write_model(root: Path, name: str, adds: int) -> None:
    """A model that adds a number to its input."""
    (root / name / "1").mkdir(parents=True, exist_ok=True)
    (root / name / "config.pbtxt").write_text(f'name: "{name}" backend: "python"\n{TENSORS}')
    (root / name / "1" / "model.py").write_text(ADD_PY.replace("ADDS", str(adds)))


def write_ensemble(root: Path, name: str, steps: tuple[str, ...]) -> None:
    """An ensemble of models that take `x` and give `y`."""
    passed = ["x", *(f"after_{step}" for step in steps[:-1]), "y"]
    words = "".join(
        f'  step {{ model_name: "{step}" model_version: -1\n'
        f'    input_map {{ key: "x" value: "{passed[index]}" }} output_map {{ key: "y" value: "{passed[index + 1]}" }} }}\n'
        for index, step in enumerate(steps)
    )
    (root / name / "1").mkdir(parents=True)
    (root / name / "config.pbtxt").write_text(
        f'name: "{name}" platform: "ensemble"\n{TENSORS}ensemble_scheduling {{\n{words}}}\n'
    )


def imported(folder: Path, ensembles: Mapping[str, tuple[str, ...]]) -> Path:
    """A project of a repository in which each model adds 1."""
    theirs, root = folder / "theirs", folder / "project"
    for name, steps in ensembles.items():
        write_ensemble(theirs, name, steps)
        for step in steps:
            if step not in ensembles:
                write_model(theirs, step, 1)
    root.mkdir()
    done = tritonkit(root, "import", str(theirs), "--target", "embedded")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 1, "one spec is of all of them"
    return root


def answer(address: str, name: str) -> float:
    """What `name` makes of 0."""
    with Pipeline(name, address) as pipeline:
        return float(pipeline.infer_one(np.zeros(1, np.float32)).y[0])


def test_an_ensemble_in_an_ensemble(tmp_path: Path) -> None:
    root = imported(tmp_path, NESTED)
    with serving(root, "--updatable", lines=1) as process:
        address = addresses(process)["grpc"]
        assert [answer(address, name) for name in ("outer", "inner", "part", "zed")] == [2, 1, 1, 1]
        write_model(root / "models", "part", 10)
        write_model(root / "models", "zed", 100)
        kinds = {name: kind for name, (kind, *_) in updated(root).items()}
        assert kinds == {"outer": "same", "inner": "same", "part": "changed", "zed": "changed"}
        assert [answer(address, name) for name in ("outer", "inner", "part", "zed")] == [110, 100, 10, 100]
        write_model(root / "models", "zed", 7)
        updated(root)
        assert [answer(address, name) for name in ("outer", "inner")] == [17, 7]


def test_two_ensembles_that_share_a_model(tmp_path: Path) -> None:
    root = imported(tmp_path, SHARED)
    with serving(root, "--updatable", lines=1) as process:
        address = addresses(process)["grpc"]
        assert [answer(address, name) for name in ("left", "right")] == [2, 2]
        for name, adds in (("both", 10), ("two", 100)):
            write_model(root / "models", name, adds)
        kinds = {name: kind for name, (kind, *_) in updated(root).items()}
        assert kinds == {"left": "same", "right": "same", "both": "changed", "one": "same", "two": "changed"}
        assert [answer(address, name) for name in ("left", "right")] == [11, 110]
        for name, adds in (("both", 20), ("one", 200), ("two", 300)):
            write_model(root / "models", name, adds)
        updated(root)
        assert [answer(address, name) for name in ("left", "right", "both")] == [220, 320, 20]
