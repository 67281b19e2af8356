"""The tools, one control plane for all tests, and a namespace for each; everything here has the marker `cluster`."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from cluster_calls import Calls
from control_plane import ControlPlane, running

from scripts.cluster_tools.folder import Folder, ToolsError, folder
from scripts.cluster_tools.install import missing

HERE = Path(__file__).parent
WITHIN_S = 600  # of a test, and of the control plane's start with the first: a busy machine needs minutes for it


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks every test of this folder, so that none is run by `make test`."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.cluster)
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(WITHIN_S))


@pytest.fixture(scope="session")
def cluster_tools() -> Folder:
    """The tools, installed. They are not installed here: that takes longer than a test may."""
    tools = folder()
    if lacking := missing(tools):
        raise ToolsError(
            f"{tools.path} lacks {', '.join(lacking)}: run `make test-cluster`, which installs them once"
        )
    return tools


@pytest.fixture(scope="session")
def control_plane(cluster_tools: Folder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """The control plane that all tests share. Its logs are in its folder's logs/, which pytest keeps for three runs."""
    with running(cluster_tools, tmp_path_factory.mktemp("cluster") / "plane") as plane:
        yield plane
        plane.check()


@pytest.fixture
def namespace(control_plane: ControlPlane) -> Iterator[str]:
    """The name of a namespace of the test's own, gone after it."""
    name = f"test-{secrets.token_hex(4)}"
    control_plane.kubectl("create", "namespace", name)
    yield name
    control_plane.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
def cluster(control_plane: ControlPlane, namespace: str) -> Calls:
    """kubectl and helm of the administrator in the test's namespace."""
    return control_plane.within(namespace)
