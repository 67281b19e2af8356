"""Kept results and kept keys: whatever decides an engine or its verdict makes both new."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from engine_projects import digits_project, int8, merged, model, write_spec

from generator.engine.build.jobs import Job, jobs_of
from generator.engine.build.run import Builder, Outcome
from generator.project import Project
from generator.workspace import open_workspace

CLONE = Path(__file__).parents[4]


def built(project: Project, **options: Any) -> Outcome:
    work = open_workspace(project)
    work.stop_on_errors()
    [job] = jobs_of(work)
    return Builder(project, lambda _text: None, **options).build(job)


def steps(std: float) -> dict[str, Any]:
    return {
        "preprocess": [
            {"decode": {"to": "gray"}},
            {"resize": {"size": [8, 8]}},
            {"normalize": {"mean": 0, "std": std}},
        ]
    }


def test_ranges_are_of_what_the_steps_make_of_the_data(tmp_path: Path) -> None:
    project = digits_project(tmp_path / "p", merged(int8(), steps(255)))
    first = built(project)
    # The network takes tenfold numbers badly or well; its ranges are tenfold in any case.
    write_spec(project.root, merged(int8(), steps(127.5)))
    second = built(project)
    assert first.installed is not None
    verdicts = [row.verdict for row in second.rows if row.verdict is not None]
    forced = [row.verdict for row in built(project, force=True).rows if row.verdict is not None]
    assert [verdict.facts for verdict in verdicts] == [verdict.facts for verdict in forced]
    write_spec(project.root, merged(int8(), steps(255)))
    again = built(project)
    assert again.installed is not None
    assert again.installed.manifest["sha256"] == first.installed.manifest["sha256"]


@pytest.mark.parametrize("until", ["inspect", "calibrate", "precision", "compile", "validate", "measure"])
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_until_a_stage_nothing_is_installed(tmp_path: Path, until: str, precision: str) -> None:
    project = digits_project(tmp_path / "p", model(precision=precision))
    assert built(project, until=until).status == "looked"
    assert not (project.root / "engines").exists()


def canvas_jobs(root: Path, old: str = "", new: str = "") -> dict[str, Job]:
    project = Project(root)
    if not root.exists():
        for name in ("models", "data", "steps"):
            shutil.copytree(CLONE / name, root / name, ignore=shutil.ignore_patterns("embeddings*", "__pycache__"))
        (root / "specs").mkdir()
    text = (CLONE / "specs" / "canvas.yaml").read_text(encoding="utf-8")
    assert old in text
    (root / "specs" / "canvas.yaml").write_text(text.replace(old, new) if old else text, encoding="utf-8")
    return {job.model.key: job for job in jobs_of(open_workspace(project, target="embedded"))}


def test_an_engine_is_stale_when_what_it_is_judged_by_changes(tmp_path: Path) -> None:
    root = tmp_path / "p"
    before = canvas_jobs(root)
    # The detector has no accuracy of its own: it is held to the classifier's.
    assert canvas_jobs(root, "floor: 0.95", "floor: 0.2")["detector"].key != before["detector"].key
    sizes = canvas_jobs(root, "preferred: [4, 8, 16]", "preferred: [2, 8, 16]")
    assert sizes["classifier"].key != before["classifier"].key
    assert sizes["detector"].key == before["detector"].key
    shutil.copy(root / "models" / "digits_crops.onnx", root / "models" / "other.onnx")
    with (root / "models" / "other.onnx").open("ab") as file:
        file.write(b"\x32\x04more")  # a producer's word: another file, the same graph
    other = canvas_jobs(root, "models/digits_crops.onnx", "models/other.onnx")
    assert other["detector"].key != before["detector"].key
    assert canvas_jobs(root)["detector"].key == before["detector"].key


def test_the_engine_of_auto_is_the_answer_and_not_the_question(tmp_path: Path) -> None:
    project = digits_project(tmp_path / "p", model(engine="auto", precision="fp16"))
    [job] = jobs_of(open_workspace(project))
    chosen = replace(job, request={**job.request, "engine": "tensorrt"})
    assert chosen.key == job.key
    assert built(project).status == "installed"
    [again] = jobs_of(open_workspace(project))
    assert again.key == job.key
    assert again.is_current(project)
