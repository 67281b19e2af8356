"""What `auto` could not try when it was measured, and could now: seen without importing anything."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from engine_projects import digits_project, model

from generator.engine.build.candidates import presence
from generator.engine.build.candidates.choices import Choice
from generator.engine.build.candidates.presence import seems_here

Run = Callable[..., "subprocess.CompletedProcess[str]"]
AUTO = {"engine": "auto", "precision": "fp16"}


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Puts packages in the way; one that is imported ends the test."""

    def put(*names: str, gpu: bool = False) -> None:
        for name in names:
            (tmp_path / name).mkdir()
            (tmp_path / name / "__init__.py").write_text("raise SystemExit('imported')\n")
        monkeypatch.syspath_prepend(tmp_path)
        device = tmp_path / "device"
        if gpu:
            device.touch()
        monkeypatch.setattr(presence, "GPUS", (device,))

    return put


def test_a_package_and_its_gpu(packages: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    packages("tensorrt_bindings", "torch")
    assert not seems_here(Choice("tensorrt", "fp16")), "no GPU"
    assert seems_here(Choice("inductor", "fp32"))
    assert not seems_here(Choice("inductor", "fp32", cuda=True))
    assert seems_here(Choice("onnxruntime", "fp32"))
    monkeypatch.setattr(presence, "GPUS", (Path("/dev/null"),))
    assert seems_here(Choice("tensorrt", "fp16"))
    assert seems_here(Choice("inductor", "fp32", cuda=True))


def test_onnxruntime_on_a_gpu_has_a_library_for_it(
    packages: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages("onnxruntime", gpu=True)
    monkeypatch.delitem(sys.modules, "onnxruntime", raising=False)
    assert not seems_here(Choice("onnxruntime", "fp16", cuda=True))
    (tmp_path / "onnxruntime" / "capi").mkdir()
    (tmp_path / "onnxruntime" / "capi" / "libonnxruntime_providers_cuda.so").touch()
    assert seems_here(Choice("onnxruntime", "fp16", cuda=True))


def test_what_is_not_here_is_marked_so(tmp_path: Path, command: Run) -> None:
    root = digits_project(tmp_path / "project", model(**AUTO)).root
    first = command(root, "build", "--json")
    assert first.returncode == 0, first.stderr
    [outcome] = json.loads(first.stdout)
    tried = {(row["engine"], row["precision"]): row for row in outcome["tried"]}
    assert tried["inductor", "fp32"].get("absent", False) == (find_spec("torch") is None)
    assert not any(row.get("absent") for row in tried.values() if row["engine"] == "onnxruntime")


def listed(command: Run, root: Path, **more: str) -> dict[str, Any]:
    [one] = json.loads(command(root, "engines", "--json", **more).stdout)
    return dict(one)


def test_a_note_and_no_more(tmp_path: Path, command: Run) -> None:
    root = digits_project(tmp_path / "project", model(**AUTO)).root
    assert command(root, "build").returncode == 0
    file = root / "engines" / "embedded" / "digits_engine" / "1" / "engine.json"
    manifest = json.loads(file.read_text())
    for row in manifest["measured"]["tried"]:  # as where torch was not: what was measured is in no hash
        if row["engine"] == "inductor":
            row |= {"absent": True, "passed": None}
    file.write_text(json.dumps(manifest))
    here = tmp_path / "here"
    (here / "torch").mkdir(parents=True)
    (here / "torch" / "__init__.py").write_text("raise SystemExit('imported')\n")
    more = {"PYTHONPATH": str(here)}
    one = listed(command, root, **more)
    why = "inductor fp32, inductor fp16: not here when `auto` was measured, and here now as it seems"
    assert (one["state"], one["why"]) == ("current", why)
    assert command(root, "engines", "--check", **more).returncode == 0
    done = command(root, "build", "--json", **more)
    assert done.returncode == 0, done.stderr
    [outcome] = json.loads(done.stdout)
    [note] = [problem for problem in outcome["problems"] if problem["code"] == "TK994"]
    assert (outcome["status"], note["severity"]) == ("current", "note")
    assert why in note["message"]
    assert note["hint"] == "`tritonkit build specs/digits.yaml --target embedded --force` tries them too"
    assert command(root, "render", "--target", "embedded", **more).returncode == 0
