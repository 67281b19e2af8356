"""Projects with the detector's spec in layout `folded`, its suppression in TensorRT's plugin, and changes of that."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from engine_projects import CLONE, merged

from generator.project import Project

EFFICIENT: Mapping[str, Any] = {"layout": "folded", "model": {"build": {"nms": "efficient"}}}


def detector_spec(changes: Mapping[str, Any] | None = None) -> str:
    """The clone's detector, folded and efficient, with `changes` merged into it; None takes a field away."""
    spec = yaml.safe_load((CLONE / "specs" / "detector.yaml").read_text(encoding="utf-8"))
    return yaml.safe_dump(merged(merged(spec, EFFICIENT), changes or {}), sort_keys=False)


def detector_project(root: Path, changes: Mapping[str, Any] | None = None) -> Project:
    """A project with that spec alone, and the clone's models and data."""
    (root / "specs").mkdir(parents=True)
    for name in ("models", "data"):
        (root / name).symlink_to(CLONE / name)
    (root / "specs" / "detector.yaml").write_text(detector_spec(changes), encoding="utf-8")
    return Project(root)
