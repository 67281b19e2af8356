"""`tritonkit layouts` on the real server: measured, refused, stopped."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import psutil
import pytest
from engine_projects import digits_project, model
from onnx import numpy_helper
from story_tools import children_heed_interrupts, command_line, eventually, lives, tritonkit

from generator import layouts as laying_out
from generator.layouts import Layouts
from generator.project import Project
from generator.workspace import Workspace
from tritonkit.cli import main

pytestmark = pytest.mark.server

QUICK = ("--rounds", "2", "--seconds", "0.3", "--in-flight", "4")
SPEC = "specs/digits.yaml"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return digits_project(tmp_path / "project")


def test_as_json(project: Project) -> None:
    done = tritonkit(project.root, "layouts", SPEC, *QUICK, "--batch", "2", "--json", timeout_s=180)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert (found["format"], found["pipeline"], found["own_layout"]) == (1, "digits", "ensemble")
    assert list(found["layouts"]) == ["ensemble", "fused", "folded"]
    assert found["left_out"] == {}
    assert found["data"] == {"source": "256 items of data/digits-gate.npz", "items": 256}
    assert found["agreement"]["items"] == 256
    assert {mode["name"]: (mode["items"], mode["in_flight"]) for mode in found["modes"]} == {
        "latency": (2, 1), "capacity": (2, 4),
    }  # fmt: skip
    turns = found["turns"]
    assert {(t["layout"], t["mode"], t["round"]) for t in turns} == {
        (layout, mode, number) for layout in found["layouts"] for mode in ("latency", "capacity") for number in (1, 2)
    }
    assert len(turns) == 12
    for turn in turns:
        assert turn["items"] == 2 * turn["requests"] > 0
        assert min(turn["median_us"], turn["items_per_s"], turn["server_cpu_us"]) > 0
        assert all(stage["compute_us"] > 0 for stage in turn["stages"]["models"].values())
        assert len(turn["stages"]["models"]) == (1 if turn["layout"] == "fused" else 3)
    assert {verdict["mode"] for verdict in found["verdicts"]} == {"latency", "capacity"}
    assert found["configs"]["digits_fused"]["max_batch_size"] == 32
    assert (found["rounds"], found["seed"], found["batch"]) == (2, 1, 2)
    assert found["machine"]["versions"]["nvidia-pytriton"]
    assert not (project.root / "model_repository").exists()


def test_as_a_table(project: Project) -> None:
    done = tritonkit(project.root, "layouts", SPEC, *QUICK, timeout_s=180)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    table = lines[: next(i for i, line in enumerate(lines) if line.startswith("Latency at 1 in flight: "))]
    assert max(map(len, table)) <= 80
    assert lines[1].split() == ["layout", "p50", "ms", "range", "items/s", "range", "CPU", "µs/item"]
    assert [line.split()[0] for line in lines[2:5]] == ["ensemble", "fused", "folded"]
    assert any(line.startswith("Capacity at 4 in flight: ") for line in lines)
    assert any(line.startswith("Answers to 256 items of data/digits-gate.npz: ") for line in lines)
    assert "round 2 of 2" in done.stderr


# Wrong answers ---------------------------------------------------------------------------------------------


def tampered(files: dict[str, bytes]) -> dict[str, bytes]:
    """The folded graph with a bias of its last layer changed, so that another digit wins."""
    path = "digits_engine_folded/1/model.onnx"
    graph = onnx.load_from_string(files[path])
    [bias] = [t for t in graph.graph.initializer if list(t.dims) == [10]]
    values = numpy_helper.to_array(bias).copy()
    values[3] += 100
    bias.CopyFrom(numpy_helper.from_array(values, bias.name))
    return {**files, path: graph.SerializeToString()}


def test_a_layout_that_answers_otherwise(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    whole: Callable[[Workspace], Layouts] = laying_out.in_layouts

    def planted(work: Workspace) -> Layouts:
        found = whole(work)
        folded = replace(found.found["folded"], files=tampered(dict(found.found["folded"].files)))
        return replace(found, found={**found.found, "folded": folded})

    monkeypatch.chdir(project.root)
    monkeypatch.setattr(laying_out, "in_layouts", planted)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = set(psutil.Process().children(recursive=True))
    assert main(["layouts", SPEC, *QUICK, "--json"]) == 1
    seen = capsys.readouterr()
    assert seen.out == ""
    assert re.search(r"error: item 0, output `(label|score)`\[0\]: \S+ in ensemble, \S+ in folded", seen.err), (
        seen.err
    )
    assert "hint: a layout must not change what a pipeline answers" in seen.err
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("tritonkit-")] == []
    assert set(psutil.Process().children(recursive=True)) <= before


# What cannot be measured -----------------------------------------------------------------------------------


def test_what_is_refused_before_a_server_starts(project: Project) -> None:
    big = tritonkit(project.root, "layouts", SPEC, "--batch", "64")
    assert (big.returncode, big.stdout) == (1, "")
    assert "error: a request of 64 items is refused: `batching.max_batch_size` is 32" in big.stderr
    no_number = tritonkit(project.root, "layouts", SPEC, "--tolerance", "nan")
    assert (no_number.returncode, no_number.stdout) == (1, "")
    assert "--tolerance nan is not a number from 0 to 1" in no_number.stderr
    missing = tritonkit(project.root, "layouts", "specs/none.yaml")
    assert missing.returncode == 1
    assert "none.yaml" in missing.stderr
    assert "starting" not in big.stderr + missing.stderr


def test_a_pipeline_with_one_layout(tmp_path: Path) -> None:
    changes = {
        "preprocess": None, "postprocess": None, "inputs": {"image": None, "pixels": {"type": "fp32", "dims": [1, 8, 8]}},
        "outputs": {"label": None, "score": None, "logits": {"type": "fp32", "dims": [10]}}, "model": None,
        "models": {"engine": {"onnx": "models/digits.onnx"}},
    }  # fmt: skip
    project = digits_project(tmp_path / "project", changes)
    done = tritonkit(project.root, "layouts", SPEC)
    assert (done.returncode, done.stdout) == (1, "")
    assert (
        "specs/digits.yaml has one layout, so there is nothing to compare: `fused`: the pipeline is one"
        in done.stderr
    )


def test_a_layout_whose_engine_is_not_built_is_left_out_with_the_reason(tmp_path: Path) -> None:
    """An engine is of its graph: the one that was built serves two layouts, and the folded graph is another."""
    project = digits_project(tmp_path / "project", model(precision="fp16"))
    assert tritonkit(project.root, "build", timeout_s=180).returncode == 0
    done = tritonkit(project.root, "layouts", SPEC, *QUICK, "--json", timeout_s=180)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert list(found["layouts"]) == ["ensemble", "fused"]
    assert list(found["left_out"]) == ["folded"]
    assert found["left_out"]["folded"].startswith("TK981 the engine of `digits_engine` was built before something")


# Stopped ---------------------------------------------------------------------------------------------------


class Measuring:
    """A running `tritonkit layouts` without an end, its temporary files in a folder of their own."""

    def __init__(self, root: Path, folder: Path) -> None:
        self.temporary, self.told = folder / "temporary", folder / "told"
        self.temporary.mkdir()
        with children_heed_interrupts(), self.told.open("wb") as err:
            self.process = subprocess.Popen(
                command_line("layouts", SPEC, "--rounds", "1000"), cwd=root, stdout=subprocess.PIPE, stderr=err,
                stdin=subprocess.DEVNULL, env={**os.environ, "TMPDIR": str(self.temporary)},
            )  # fmt: skip
        self.family: list[psutil.Process] = []

    def wait_for(self, words: str) -> None:
        """Until it has come to that line; then its family is known."""
        assert eventually(lambda: words in self.told.read_text() or self.process.poll() is not None, 60), words
        self.family = psutil.Process(self.process.pid).children(recursive=True)

    def end(self) -> tuple[int, bytes, str]:
        """Its exit status and what it printed."""
        try:
            out, _ = self.process.communicate(timeout=60)
        finally:
            self.process.kill()
            self.process.wait()
        return self.process.returncode, out, self.told.read_text()

    def left(self) -> list[str]:
        """What of it still stands: processes, and temporary files (ONNX Runtime's telemetry leaves one of its own)."""
        eventually(lambda: not any(lives(one) for one in self.family))
        files = [path.name for path in self.temporary.iterdir() if path.name.startswith("tritonkit-")]
        return [str(one) for one in self.family if lives(one)] + files


@pytest.mark.parametrize("words", ["starting the server", "comparing the answers", "round 1 of"])
def test_ctrl_c_leaves_nothing(project: Project, tmp_path: Path, words: str) -> None:
    measuring = Measuring(project.root, tmp_path)
    measuring.wait_for(words)
    measuring.process.send_signal(signal.SIGINT)
    status, out, told = measuring.end()
    assert (status, out) == (130, b""), told
    assert told.endswith("\ninterrupted\n")
    assert "Traceback" not in told
    assert measuring.left() == []


def test_a_server_that_dies_is_told(project: Project, tmp_path: Path) -> None:
    measuring = Measuring(project.root, tmp_path)
    measuring.wait_for("round 1 of")
    [server] = [one for one in measuring.family if "tritonserver" in one.name()]
    server.kill()
    status, out, told = measuring.end()
    assert (status, out) == (1, b""), told
    assert "error: the server was ended by signal 9" in told
    assert "Traceback" not in told
    # A server that failed leaves its log, and says where it is.
    [log] = [name for name in measuring.left() if name.startswith("tritonkit-server-")]
    assert f"the whole log: {measuring.temporary / log}" in told
