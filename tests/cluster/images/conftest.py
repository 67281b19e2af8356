"""One Docker engine, one Debian and the images of the digits, built once for all tests that run or judge them."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from docker_engine import DockerEngine, docker_engine, mounts_under
from image_calls import CLONE, build

from scripts.cluster_tools.folder import folder

HERE = Path(__file__).parent
WITHIN_S = 2400  # of a test: the first of them fetches all packages, and builds two images


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Gives each test the time of a build; Docker's SDK leaves the closing of some sockets to Python."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.timeout(WITHIN_S), append=False)
            item.add_marker(pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"))


@pytest.fixture(scope="session")
def engine() -> Iterator[DockerEngine]:
    """An engine of the tests' own, of which nothing is left."""
    with docker_engine() as running:
        yield running
        data = Path(running.host.removeprefix("unix://")).parent
    assert mounts_under(data) == []
    assert not data.exists()


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with the digits alone."""
    root = tmp_path_factory.mktemp("project")
    (root / "specs").mkdir()
    shutil.copy(CLONE / "specs" / "digits.yaml", root / "specs")
    for name in ("models", "data", "steps"):
        (root / name).symlink_to(CLONE / name)
    return root


@pytest.fixture(scope="session")
def base(engine: DockerEngine) -> str:
    """A Debian, pinned."""
    return engine.base(folder().path)


@pytest.fixture(scope="session")
def built(engine: DockerEngine, project: Path, base: str) -> dict[str, Any]:
    """The embedded image, whose bill of materials is in the project's sbom.json."""
    return build(engine, project, base, "--sbom", "sbom.json")


@pytest.fixture(scope="session")
def load(engine: DockerEngine, project: Path, base: str) -> dict[str, Any]:
    """The load generator's image."""
    return build(engine, project, base, "--load")
