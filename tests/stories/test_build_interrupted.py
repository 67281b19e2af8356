"""A build that is stopped, or that finds no room, leaves what was there and nothing else."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from engine_projects import PLACE, digits_project, files, int8, merged, model, of_nodes, write_spec
from onnx import helper
from story_tools import children_heed_interrupts, command_line, eventually, tritonkit

from generator.project import Project

# The line of each stage that a build of INT8 with mixed precision prints, in its order.
STAGES = [
    "reading the specs", "reading the graph", "the gate set through FP32", "reading the calibration data",
    "calibrating (entropy)", "how much each layer harms", "layers in int8:", "quantising to int8",
    "compiling onnxruntime int8", "the gate set through onnxruntime int8", "timing batches", "installing",
]  # fmt: skip
BY_TERM = {"the gate set through FP32", "timing batches"}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An engine in FP16 is there; the spec asks for another one now."""
    project = digits_project(tmp_path_factory.mktemp("built") / "project", model(precision="fp16"))
    done = tritonkit(project.root, "build")
    assert done.returncode == 0, done.stderr
    write_spec(project.root, int8(mixed=True))
    return project.root


@pytest.fixture
def project(built: Path, tmp_path: Path) -> Project:
    """A copy of it."""
    shutil.copytree(built, tmp_path / "project")
    return Project(tmp_path / "project")


def tree(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*")}


class Building:
    """A running `tritonkit build`. Its temporary files are in a folder of its own."""

    def __init__(self, root: Path, temporary: Path) -> None:
        temporary.mkdir()
        self.temporary = temporary
        self.told = temporary.with_suffix(".err")
        with children_heed_interrupts(), self.told.open("wb") as err:
            self.process = subprocess.Popen(
                command_line("build", "--force"), cwd=root, stdout=subprocess.DEVNULL, stderr=err,
                stdin=subprocess.DEVNULL, env={**os.environ, "TMPDIR": str(temporary)},
            )  # fmt: skip

    def says(self, words: str) -> bool:
        """Whether it has come to that line, or has ended."""
        return words in self.told.read_text() or self.process.poll() is not None

    def left(self) -> list[str]:
        """What of ours is left of its temporary files (ONNX Runtime's telemetry leaves one of its own)."""
        return [path.name for path in self.temporary.iterdir() if path.name.startswith("tritonkit")]

    def end(self) -> int:
        """Its exit status."""
        try:
            return self.process.wait(60)
        finally:
            self.process.kill()
            self.process.wait()


@pytest.mark.parametrize("stage", STAGES)
def test_a_build_that_is_stopped(project: Project, tmp_path: Path, stage: str) -> None:
    before, places = files(project.root), tree(project.root / "engines")
    building = Building(project.root, tmp_path / "temporary")
    assert eventually(lambda: building.says(stage), 60), building.told.read_text()
    building.process.send_signal(signal.SIGTERM if stage in BY_TERM else signal.SIGINT)
    status, told = building.end(), building.told.read_text()
    assert "Traceback" not in told
    assert tree(project.root / "engines") == places
    assert building.left() == []
    if stage == "installing" and files(project.root) != before:  # the signal came when the new one was in its place
        assert tritonkit(project.root, "engines", "--check").returncode == 0
        return
    assert status == 130, told
    assert files(project.root) == before


def test_what_was_stopped_can_be_built_again(project: Project, tmp_path: Path) -> None:
    building = Building(project.root, tmp_path / "temporary")
    assert eventually(lambda: building.says("quantising"), 60)
    building.process.send_signal(signal.SIGINT)
    assert building.end() == 130
    after = tritonkit(project.root, "build", "--json")
    assert after.returncode == 0, after.stderr
    assert json.loads(after.stdout)[0]["status"] == "installed"
    assert tritonkit(project.root, "engines", "--check").returncode == 0


# No room ---------------------------------------------------------------------------------------------------


def many_layers(root: Path, layers: int = 24) -> None:
    """Replaces the graph by one whose INT8 has more bytes than itself: layers that change nothing, each with Q/DQ.

    It is no good at digits; nothing holds it to that.
    """
    random = np.random.default_rng(0)
    nodes, weights, last = [], {}, "pixels"
    for index in range(layers):
        weights[f"w{index}"] = np.pad(np.ones((1, 1, 1, 1), np.float32), ((0, 0), (0, 0), (1, 1), (1, 1)))
        nodes.append(helper.make_node("Conv", [last, f"w{index}"], [f"c{index}"], name=f"c{index}", pads=[1] * 4))
        last = f"c{index}"
    weights["w"] = random.standard_normal((64, 10)).astype(np.float32)
    nodes.append(helper.make_node("Flatten", [last], ["flat"], name="flat"))
    nodes.append(helper.make_node("MatMul", ["flat", "w"], ["logits"], name="logits"))
    graph = of_nodes(nodes, {"pixels": ["batch", 1, 8, 8]}, {"logits": ["batch", 10]}, weights)
    onnx.checker.check_model(onnx.load_from_string(graph))
    (root / "models" / "digits.onnx").write_bytes(graph)


def build_with_room(root: Path, largest_bytes: int) -> subprocess.CompletedProcess[str]:
    """A build in which no file can grow beyond that."""
    code = (
        "import resource, sys; from tritonkit.cli import main; "
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({largest_bytes}, resource.RLIM_INFINITY)); "
        "sys.exit(main(['build', '--force', '--json']))"
    )
    return subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=120, check=False
    )


def test_a_disk_that_is_full(tmp_path: Path) -> None:
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[1] == resource.RLIM_INFINITY
    cosine = {"metric": "cosine", "floor": 0.9}
    project = digits_project(tmp_path / "project", merged(int8(), model(accuracy=cosine)))
    many_layers(project.root)
    done = tritonkit(project.root, "build")
    assert done.returncode == 0, done.stderr
    before, places = files(project.root), tree(project.root / "engines")
    graph = (project.root / "models" / "digits.onnx").stat().st_size
    engine = len(before[str(Path(*PLACE, "model.onnx"))])
    assert graph + 2000 < engine, "or the build would end before it writes the engine"
    words: dict[int, str] = {1000: "", graph + 1000: "cannot be written to", engine - 1: "cannot be written to"}
    for room, wanted in words.items():
        done = build_with_room(project.root, room)
        assert done.returncode == 1, done.stderr
        [told] = json.loads(done.stdout)
        problems: list[dict[str, Any]] = [p for p in told["problems"] if p["severity"] == "error"]
        assert [p["code"] for p in problems] == ["TK983"]
        assert "File too large" in problems[0]["message"]
        assert wanted in problems[0]["message"]
        assert (files(project.root), tree(project.root / "engines")) == (before, places)
