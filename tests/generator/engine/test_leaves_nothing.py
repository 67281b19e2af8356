"""ONNX Runtime sends nothing and leaves nothing behind, whoever loads it first."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from engine_projects import digits_project, model

CLONE = Path(__file__).parents[3]
RUNTIME = """
from pathlib import Path
from tritonkit_runtime.engines.onnxruntime import OnnxRuntime
try:
    OnnxRuntime(Path("models/digits.onnx"), [], [], 8, 1)
except ValueError as error:
    assert "input" in str(error)
"""
BUILD = """
from tritonkit.cli import main
raise SystemExit(main(["build", "specs/digits.yaml"]))
"""


def left_by(code: str, root: Path, cwd: Path) -> list[str]:
    """The files that a process makes in its temporary folder and in its home; it must end well."""
    folders = {name: root / name for name in ("temporary", "home")}
    for folder in folders.values():
        folder.mkdir(parents=True)
    # Where a CI says that it is one, the library sends nothing anyway.
    kept = {name: value for name, value in os.environ.items() if name not in {"ORT_DISABLE_TELEMETRY", "CI"}}
    path = f"{CLONE}:{CLONE / 'python_backend'}"
    environment = {**kept, "TMPDIR": str(folders["temporary"]), "HOME": str(folders["home"]), "PYTHONPATH": path}
    environment.pop("XDG_CACHE_HOME", None)
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, env=environment, capture_output=True, text=True, timeout=120,
        check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def test_a_build_leaves_nothing(tmp_path: Path) -> None:
    project = digits_project(tmp_path / "project", model(precision="fp16"))
    assert left_by(BUILD, tmp_path / "left", project.root) == []
    assert (project.root / "engines").is_dir()


@pytest.mark.parametrize("code", ["import generator, onnxruntime", RUNTIME], ids=["generator", "runtime"])
def test_nor_does_who_loads_it_alone(tmp_path: Path, code: str) -> None:
    assert left_by(code, tmp_path, CLONE) == []
