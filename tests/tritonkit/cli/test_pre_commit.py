"""The hook of .pre-commit-hooks.yaml, run as pre-commit runs it: its entry and arguments, then the files that changed."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from cli_session import CLONE

from generator.project import Project

TENSORS = 'input [ { name: "x" data_type: TYPE_FP32 dims: [ 4 ] } ]\noutput [ { name: "y" data_type: TYPE_FP32 dims: [ 4 ] } ]\n'


@pytest.fixture(scope="module")
def hook() -> dict[str, Any]:
    [found] = yaml.safe_load((CLONE / ".pre-commit-hooks.yaml").read_text())
    return dict(found)


def run(hook: dict[str, Any], root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The entry with those of all files below `root` that the hook is for."""
    every = sorted(file.relative_to(root).as_posix() for file in root.rglob("*") if file.is_file())
    files = [file for file in every if re.search(hook["files"], file)]
    program, *words = shlex.split(hook["entry"])
    program = str(Path(sys.executable).with_name(program))
    return subprocess.run(
        [program, *words, *arguments, *files], cwd=root, capture_output=True, text=True, timeout=60, check=False
    )


def test_it_has_what_pre_commit_wants(hook: dict[str, Any]) -> None:
    assert set(hook) == {"id", "name", "description", "entry", "language", "files", "require_serial"}
    assert (hook["id"], hook["language"]) == ("tritonkit-lint", "python")
    assert "- id: tritonkit-lint" in (CLONE / "docs" / "how-to" / "lint.md").read_text()


@pytest.mark.parametrize(
    ("file", "is_ours"),
    [
        ("config.pbtxt", True), ("a/config.pbtxt", True), ("r/a/configs/small.pbtxt", True), ("specs/a.yaml", True),
        ("specs/a.yml", True), ("p/specs/a.yaml", True), ("a/xconfig.pbtxt", False), ("a/graph.pbtxt", False),
        ("specs/deep/a.yaml", False), ("docker-compose.yaml", False), ("a/config.pbtxt.orig", False),
    ],
)  # fmt: skip
def test_the_files_that_it_is_for(hook: dict[str, Any], file: str, is_ours: bool) -> None:
    assert (re.search(hook["files"], file) is not None) == is_ours


def test_a_commit(hook: dict[str, Any], project: Project) -> None:
    for repository in ("one", "two"):
        (project.root / repository / "m" / "1").mkdir(parents=True)
        (project.root / repository / "m" / "1" / "model.py").write_text(
            "class TritonPythonModel:\n    def execute(self, r): ...\n"
        )
        (project.root / repository / "m" / "config.pbtxt").write_text(f'name: "m"\nbackend: "python"\n{TENSORS}')
    fine = run(hook, project.root, "--server", "24.10")
    assert fine.stderr == "checked 3 files: nothing found\n"
    assert (fine.returncode, fine.stdout, fine.stderr) == (0, "", "checked 3 files: nothing found\n")
    (project.root / "two" / "m" / "config.pbtxt").write_text(f'name: "n"\nbackend: "python"\n{TENSORS}')
    spec = project.specs / "small.yaml"
    spec.write_text(spec.read_text().replace("softmax", "sotfmax"))
    wrong = run(hook, project.root)
    assert wrong.returncode == 1
    assert re.findall(r"^error\[.*", wrong.stderr, re.MULTILINE) == [
        f"error[TK121]: specs/small.yaml:{1 + spec.read_text().splitlines().index('  - sotfmax')}:5: postprocess[0].sotfmax",
        "error[TK502]: two/m/config.pbtxt:1:7: name",
    ]
