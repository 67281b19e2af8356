"""specs/photos.yaml in one of its layouts, rendered for the embedded server."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.embedded.needs import needs_of
from generator.plan import Plan
from generator.project import Project
from generator.render import render
from generator.workspace import open_workspace
from generator.write import write
from photos_systems.work import CLONE


@dataclass(frozen=True)
class Ours:
    """A Plan, its files, where they are written, and what the server needs."""

    plan: Plan
    files: dict[str, bytes]
    repository: Path
    needs: Any


def ours(layout: str, folder: Path) -> Ours:
    """The pipeline in `layout`, rendered below `folder`."""
    text = (CLONE / "specs" / "photos.yaml").read_text(encoding="utf-8")
    changed, count = re.subn(r"(?m)^layout: \w+", f"layout: {layout}", text)
    if count != 1:
        raise SystemExit("specs/photos.yaml no longer has one line `layout: …`")
    spec = folder / layout / "photos.yaml"
    spec.parent.mkdir()
    spec.write_text(changed, encoding="utf-8")
    project = Project(CLONE)
    work = open_workspace(project, [spec], "embedded")
    work.stop_on_errors()
    [plan] = work.plans["embedded"]
    if (plan.ensemble is None) != (layout == "fused"):
        raise SystemExit(
            f"the target `embedded` of specs/photos.yaml has a layout of its own: {layout} cannot be had"
        )
    files = dict(render(plan, project))
    repository = folder / layout / "repository"
    write(files, repository, owner_of=lambda _: plan.name)
    return Ours(plan, files, repository, needs_of([plan]))
