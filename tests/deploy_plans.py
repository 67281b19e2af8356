"""A project with this repository's specs and nothing built, and plans of them."""

from __future__ import annotations

import shutil
from pathlib import Path

from generator.plan import Plan
from generator.project import Project
from generator.workspace import open_workspace

ROOT = Path(__file__).parents[1]


def make_project(root: Path) -> Project:
    """The specs as copies, to be changed at will; what they name as links to this repository's."""
    shutil.copytree(ROOT / "specs", root / "specs")
    for folder in ("data", "steps"):
        (root / folder).symlink_to(ROOT / folder)
    (root / "models").mkdir()
    for file in (ROOT / "models").glob("*.onnx"):
        (root / "models" / file.name).symlink_to(file)
    return Project(root)


def plans_of(project: Project, *names: str, target: str = "production") -> list[Plan]:
    """The plans of specs by name. Raises ProblemsError."""
    work = open_workspace(project, [project.specs / f"{name}.yaml" for name in names], target)
    work.stop_on_errors()
    return work.plans[target]


def change(project: Project, name: str, *changes: tuple[str, str]) -> None:
    """Replaces texts in a spec; each has to be there."""
    file = project.specs / f"{name}.yaml"
    text = file.read_text()
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    file.write_text(text)
