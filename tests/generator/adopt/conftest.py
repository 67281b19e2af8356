from __future__ import annotations

import sys
from pathlib import Path

import pytest

from generator.project import Project

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "pbtxt")]  # its texts made at random


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """An empty project."""
    (tmp_path / "project" / "specs").mkdir(parents=True)
    return Project(tmp_path / "project")
