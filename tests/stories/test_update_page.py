"""docs/how-to/update-a-model.md does what it says: its edit of the spec, and its commands one after the other."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from story_tools import CLONE, make_project, serving, tritonkit

pytestmark = pytest.mark.server
PAGE = (CLONE / "docs" / "how-to" / "update-a-model.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """The page's blocks of a language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def test_the_page(tmp_path: Path) -> None:
    root = make_project(tmp_path / "project", copied=("digits.yaml",)).root
    (root / "models").unlink()
    (root / "models").mkdir()
    for name in ("digits.onnx", "digits-2.onnx"):
        shutil.copy(CLONE / "models" / "digits.onnx", root / "models" / name)
    np.save(root / "pixels.npy", np.zeros((1, 8, 8), np.float32))
    [edit] = blocks("yaml")
    spec = root / "specs" / "digits.yaml"
    [options] = set(re.findall(r"`tritonkit serve ([^`]+)`", PAGE))
    with serving(root, *options.split()):
        before = spec.read_text()
        assert "  onnx: models/digits.onnx\n" in before
        spec.write_text(before.replace("  onnx: models/digits.onnx\n", edit))
        printed = {}
        for line in "".join(blocks("sh")).splitlines():
            program, *arguments = shlex.split(line)
            assert program == "tritonkit"
            done = tritonkit(root, *arguments)
            assert done.returncode == 0, f"{line}\n{done.stderr}"
            printed[line] = done.stdout
        assert spec.read_text() == before.replace(
            "  onnx: models/digits.onnx\n", edit.replace("{latest: 2}", "{specific: [1]}")
        )
    assert re.search(r"digits_engine +changed +1 +1, 2$", printed["tritonkit update"], re.MULTILINE)
    assert re.search(r"digits_engine +yes +1, 2 ", printed["tritonkit status"])
    assert "+  versions: {specific: [1]}" in printed["tritonkit rollback digits --dry-run"]
    assert re.search(r"digits_engine +changed +1, 2 +1$", printed["tritonkit rollback digits"], re.MULTILINE)
    assert all("logits" in text for line, text in printed.items() if "infer" in line)


def test_what_it_says_of_the_command_line() -> None:
    """Every option and word of a spec on the page is one."""
    reference = (CLONE / "docs" / "reference" / "cli.md").read_text()
    for option in set(re.findall(r"(?<![\w-])--[a-z-]+", PAGE)):
        assert option in reference, option
    for word in ("latest", "specific", "all"):
        assert f"| `{word}` |" in (CLONE / "docs" / "reference" / "spec.md").read_text()
