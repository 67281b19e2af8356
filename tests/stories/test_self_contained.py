"""A self-contained tree runs where this project is not installed, and answers as the thin one bit by bit."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import numpy as np
import pytest
from story_tools import PROTOCOLS, Protocol, Rendered, Running, gate, make_project, render_to, running

from deploy.embedded.server import ServerFailedError
from tritonkit import Answer, Pipeline

pytestmark = pytest.mark.server

OWN = ("tritonkit", "_tritonkit", "generator", "deploy", "loadtest")


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python environment with every package that the tests have, except this project."""
    root = tmp_path_factory.mktemp("foreign") / "venv"
    venv.create(root, with_pip=False, symlinks=True)
    site = root / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    for entry in Path(sysconfig.get_paths()["platlib"]).iterdir():
        # A .pth file would run code or lead back to the clone: none is needed.
        if not entry.name.startswith(OWN) and entry.suffix != ".pth" and entry.name != "__pycache__":
            (site / entry.name).symlink_to(entry)
    return root


def python_of(environment: Path, code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [environment / "bin" / "python3", "-c", code], cwd=environment, capture_output=True, text=True, check=False
    )


def answers_of(server: Running, protocol: Protocol) -> list[Answer]:
    """One after the other: what shares a batch could change the last bit of a score."""
    found = []
    for name, count in (("digits", 64), ("canvas", 16)):
        with Pipeline(name, server.address(protocol), protocol=protocol, in_flight=1) as pipeline:
            found += pipeline.infer([item["image"] for item in gate(name).items[:count]])
    return found


def test_the_foreign_environment_lacks_this_project_alone(foreign: Path) -> None:
    for module in ("tritonkit_runtime", "tritonkit", "generator", "deploy"):
        asked = python_of(foreign, f"import {module}")
        assert asked.returncode == 1
        assert f"No module named '{module}'" in asked.stderr
    assert python_of(foreign, "import numpy, cv2, onnxruntime").returncode == 0


def test_a_self_contained_tree_answers_there_as_the_thin_one_does_here(
    served: Running, foreign: Path, tmp_path: Path
) -> None:
    project = make_project(tmp_path / "project", copied=("digits.yaml", "canvas.yaml"))
    rendered = render_to(tmp_path / "repository", project, self_contained=True)
    with running(rendered, environment=foreign) as there:
        for protocol in PROTOCOLS:
            here, found = answers_of(served, protocol), answers_of(there, protocol)
            assert [answer.error for answer in (*here, *found)] == [None] * len(here) * 2
            for one, other in zip(here, found, strict=True):
                assert one.outputs.keys() == other.outputs.keys()
                for name, value in one.outputs.items():
                    assert value.dtype == other.outputs[name].dtype
                    np.testing.assert_array_equal(value, other.outputs[name])


def test_a_thin_tree_does_not_start_there_and_says_what_is_missing(rendered: Rendered, foreign: Path) -> None:
    with pytest.raises(ServerFailedError) as caught, running(rendered, environment=foreign):
        pass
    models = {model.name for plan in rendered.plans.values() for model in plan.models}
    assert {cause.model for cause in caught.value.causes} == models
    for cause in caught.value.causes:
        assert "No module named 'tritonkit_runtime'" in cause.sentence
        assert "pip install ./python_backend" in cause.hint
        assert "tritonkit render --self-contained" in cause.hint
    first = str(caught.value).splitlines()[0]
    assert "tritonkit_runtime" in first, "the cause comes first"
    assert "Traceback" not in str(caught.value)
