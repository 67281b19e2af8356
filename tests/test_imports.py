"""Imports never turn back: tritonkit → {deploy, loadtest} → generator → the runtime."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAY_IMPORT = {
    "tritonkit": {"tritonkit", "deploy", "loadtest", "generator"},
    "deploy": {"deploy", "generator"},
    "loadtest": {"loadtest", "generator", "tritonkit_runtime"},
    "generator": {"generator"},
    "python_backend/tritonkit_runtime": {"tritonkit_runtime"},
}
OURS = {"tritonkit", "deploy", "loadtest", "generator", "tritonkit_runtime", "tests", "models", "steps"}


def imported(file: Path) -> set[str]:
    """The first parts of everything that `file` imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative imports hide where an arrow points"
            names.add(node.module or "")
    return {name.partition(".")[0] for name in names}


@pytest.mark.parametrize("folder", MAY_IMPORT)
def test_arrows(folder: str) -> None:
    for file in sorted((ROOT / folder).rglob("*.py")):
        allowed = MAY_IMPORT[folder]
        if file.is_relative_to(ROOT / "generator" / "engine"):
            allowed = allowed | {"tritonkit_runtime"}
        assert imported(file) & OURS <= allowed, file


def test_only_the_adapter_knows_the_backend_of_triton() -> None:
    users = [
        file.relative_to(ROOT).as_posix()
        for folder in MAY_IMPORT
        for file in (ROOT / folder).rglob("*.py")
        if "triton_python_backend_utils" in imported(file)
    ]
    assert users == ["python_backend/tritonkit_runtime/adapter.py"]


def test_no_file_is_long() -> None:
    long = {
        file.relative_to(ROOT).as_posix(): lines
        for folder in [*MAY_IMPORT, "tests", "models", "docs", "scripts"]
        for file in (ROOT / folder).rglob("*.py")
        if (lines := len(file.read_text(encoding="utf-8").splitlines())) > 400
    }
    assert long == {}
