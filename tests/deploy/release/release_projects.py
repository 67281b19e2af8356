"""A project with the digits alone, for releases."""

from __future__ import annotations

from pathlib import Path

from generator.project import Project

CLONE = Path(__file__).parents[3]
PLAN_NEEDED = "no TensorRT plan has been built here for `digits_engine`"
_PLAN = "engine: tensorrt, precision: fp16, "


def digits_project(root: Path, *, plan: bool = False) -> Project:
    """The digits; unless with `plan`, their target `production` needs none, because nobody here can build one."""
    (root / "specs").mkdir(parents=True)
    for name in ("models", "data"):
        (root / name).symlink_to(CLONE / name)
    text = (CLONE / "specs" / "digits.yaml").read_text(encoding="utf-8")
    assert text.count(_PLAN) == 1
    (root / "specs" / "digits.yaml").write_text(text if plan else text.replace(_PLAN, ""), encoding="utf-8")
    return Project(root)
