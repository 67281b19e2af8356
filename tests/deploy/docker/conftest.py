"""Projects whose specs become images."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
import yaml

sys.path.insert(0, str(Path(__file__).parent))

from deploy.docker.request import Request, prepare
from generator.project import Project

CLONE = Path(__file__).parents[3]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """The digits for the embedded server, and for Triton 26.07 on CPUs, where no engine has to be built."""
    root = tmp_path / "project"
    (root / "specs").mkdir(parents=True)
    for name in ("models", "data", "steps"):
        (root / name).symlink_to(CLONE / name)
    spec = yaml.safe_load((CLONE / "specs" / "digits.yaml").read_text())
    spec["targets"]["production"] = {"server": "26.07", "instances": [{"kind": "cpu", "count": 2}]}
    (root / "specs" / "digits.yaml").write_text(yaml.safe_dump(spec))
    shutil.copy(CLONE / "specs" / "canvas.yaml", root / "specs")
    return Project(root)


def spec_of(project: Project) -> Path:
    """The digits."""
    return project.root / "specs" / "digits.yaml"


@pytest.fixture
def embedded(project: Project) -> Request:
    """The digits for the embedded image."""
    return prepare(project, [spec_of(project)], target=None, embedded=True)


@pytest.fixture
def production(project: Project) -> Request:
    """The digits for the production image."""
    return prepare(project, [spec_of(project)], target="production", embedded=False)
