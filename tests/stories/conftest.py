"""One server for all stories that leave it as it is, and one whose batches are certain to fill."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # for what the stories themselves run in ONNX Runtime
sys.path.insert(0, str(Path(__file__).parent))

from story_tools import PROTOCOLS, Protocol, Rendered, Running, make_project, render_to, running, tritonkit

GATHER_US = 300_000


@pytest.fixture(scope="session", autouse=True)
def temporary_files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Servers keep their logs where pytest cleans up."""
    before, tempfile.tempdir = tempfile.tempdir, str(tmp_path_factory.mktemp("temporary"))
    yield
    tempfile.tempdir = before


@pytest.fixture(scope="session")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Rendered:
    """The clone's specs, rendered elsewhere than to model_repository/."""
    root = tmp_path_factory.mktemp("clone")
    return render_to(root / "repository", make_project(root / "project", copied=("digits.yaml", "canvas.yaml")))


@pytest.fixture(scope="session")
def served(rendered: Rendered) -> Iterator[Running]:
    """The clone's specs on one server. Tests may not change it."""
    with running(rendered) as server:
        yield server


@pytest.fixture(scope="session")
def gathering(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The digits on a server whose models wait until a batch is full, or for 0.3 s.

    With the spec's own delays of 0 and 0.5 ms the size of a batch depends on how busy the machine is. What
    `render --show-plan` prints is a spec again: here with other delays, and else as it is.
    """
    root = tmp_path_factory.mktemp("gathering")
    first = make_project(root / "first", copied=("digits.yaml",))
    printed = tritonkit(first.root, "render", "--show-plan", "--target", "embedded")
    assert printed.returncode == 0, printed.stderr
    full = yaml.safe_load(printed.stdout)
    for model in full["models"].values():
        model["batching"].update(preferred=[], max_queue_delay_us=GATHER_US)
    project = make_project(root / "project", {"digits.yaml": yaml.safe_dump(full, sort_keys=False)})
    with running(render_to(root / "repository", project)) as server:
        yield server


@pytest.fixture(params=PROTOCOLS)
def protocol(request: pytest.FixtureRequest) -> Protocol:
    """Both, one after the other."""
    chosen: Protocol = request.param
    return chosen
