from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli_session import At, Session

from generator.project import Project
from generator_projects import SHORT, make_project


def test_first_time_again_and_for_one_target(session: Session) -> None:
    session.run("render", "--target", "embedded")
    session.run("render", "--target", "embedded")
    session.run("render", "specs/small.yaml")
    session.run("render", "--json")
    session.matches("render")


def test_where_there_is_no_such_target(session: Session) -> None:
    session.run("render", "--target", "producton")
    session.run("render", "specs/small.yaml", "--target", "laptop")
    session.matches("render_unknown_target")


def test_check_and_diff(session: Session, project: Project) -> None:
    session.run("render", "--target", "embedded", "--diff", "specs/small.yaml", "--json")
    assert not (project.root / "model_repository").exists()
    session.quietly("render")
    session.run("render", "--check")
    session.run("render", "--diff")
    session.note("small/config.pbtxt is edited by hand, a model.py is removed, and the spec is given a longer delay")
    with (project.repository("embedded") / "small" / "config.pbtxt").open("a") as file:
        file.write("# by hand\n")
    (project.repository("embedded") / "small_engine" / "1" / "model.py").unlink()
    spec = project.specs / "small.yaml"
    spec.write_text(spec.read_text().replace("max_queue_delay_us: 500", "max_queue_delay_us: 900"))
    for options in (["--check"], ["--diff"], ["--check", "--json"]):
        ended = session.run("render", "--target", "embedded", *options)
        assert ended.status == 1
    session.note("it is rendered, and what was edited is told of")
    session.run("render", "--target", "embedded")
    session.run("render", "--target", "embedded", "--check")
    session.matches("render_check")


def test_what_is_no_longer_rendered(session: Session, project: Project) -> None:
    other = project.specs / "other.yaml"
    other.write_text(SHORT.replace("name: small", "name: other"))
    session.quietly("render")
    session.note("specs/other.yaml is removed")
    other.unlink()
    session.run("render", "--check", "--target", "embedded")
    session.run("render", "--target", "embedded")
    session.run("render", "specs/small.yaml", "--check", "--target", "embedded")
    session.run("render", "--target", "embedded", "--prune")
    session.run("render", "--target", "embedded", "--check")
    assert sorted(p.name for p in project.repository("embedded").iterdir() if p.is_dir()) == [
        "small", "small_engine", "small_postprocess", "small_preprocess",
    ]  # fmt: skip
    session.matches("render_prune")


def test_the_plan(session: Session) -> None:
    session.run("render", "--show-plan")
    session.matches("render_plan")


def test_the_plan_is_a_spec(session: Session, project: Project) -> None:
    shown = session.quietly("render", "--show-plan", "--target", "production").out
    session.quietly("render", "--target", "production")
    (project.specs / "small.yaml").write_text(shown)
    assert session.quietly("render", "--target", "production", "--check").status == 0


def test_elsewhere(session: Session, project: Project, tmp_path: Path) -> None:
    session.hide(str(tmp_path), "OUTSIDE")
    session.run("render", "--target", "embedded", "--out", "there/repository")
    session.run("render", "--target", "embedded", "--out", str(tmp_path / "repository"))
    session.run("render", "--target", "embedded", "--out", "there/repository", "--check", "--json")
    assert not (project.root / "model_repository").exists()
    session.matches("render_out")


def test_places_that_cannot_be_written(session: Session, project: Project) -> None:
    (project.root / "file").write_text("mine")
    (project.root / "used" / "small").mkdir(parents=True)
    (project.root / "used" / "small" / "config.pbtxt").write_text("mine")
    for place in ("file", "file/inside", "/dev/null", "/proc/nowhere", "x" * 300, "used"):
        ended = session.run("render", "--target", "embedded", "--out", place)
        assert (ended.status, ended.out) == (1, "")
    assert (project.root / "file").read_text() == "mine"
    assert (project.root / "used" / "small" / "config.pbtxt").read_text() == "mine"
    session.matches("render_bad_places")


def test_self_contained(session: Session, project: Project) -> None:
    session.run("render", "--target", "embedded", "--self-contained")
    repository = project.repository("embedded")
    for model in ("small_preprocess", "small_engine", "small_postprocess"):
        assert (repository / model / "1" / "tritonkit_runtime" / "adapter.py").is_file()
    session.run("render", "--target", "embedded", "--self-contained", "--check")
    assert session.quietly("render", "--target", "embedded", "--check").status == 1
    session.note("the thin form is rendered in its place")
    session.run("render", "--target", "embedded", "--prune")
    assert not list(repository.rglob("tritonkit_runtime"))
    session.matches("render_self_contained")


def test_json_is_json_whatever_else_is_said(session: Session) -> None:
    for options in ([], ["--check"], ["--diff"]):
        assert len(json.loads(session.quietly("render", "--json", *options).out)) == 2


def test_specs_that_are_not_there(session: Session, project: Project) -> None:
    (project.root / "none").mkdir()
    session.run("render", "specs/smal.yaml")
    session.run("render", "none")
    session.run("render", "specs/small.yaml", "specs/small.yaml", "specs", "--target", "embedded")
    session.note("the last spec is removed")
    (project.specs / "small.yaml").unlink()
    session.run("render")
    session.matches("render_no_specs")


@pytest.mark.parametrize("command", ["render", "lint", "init x", "demo", "status --address localhost:1", "serve"])
def test_outside_of_a_project(at: At, tmp_path: Path, command: str) -> None:
    session = at(tmp_path)
    ended = session.quietly(*command.split())
    assert (ended.status, ended.out) == (1, "")
    assert ended.err == (
        f"error: there is no `specs` folder in {tmp_path} or above it\n\n"
        "hint: run this inside a clone of tritonkit, or make the folder (`mkdir specs`) where your project is\n"
    )


def test_inside_of_a_folder_of_a_project(at: At, project: Project) -> None:
    session = at(project.specs)
    session.hide(str(project.root), "PROJECT")
    session.run("render", "small.yaml", "--target", "embedded")
    session.run("render", "--check", "--target", "embedded")
    session.matches("render_inside")


def test_a_path_that_is_no_text(at: At, tmp_path: Path) -> None:
    project = make_project(tmp_path / "project", {"small": SHORT})
    session = at(project.root)
    ended = session.quietly("render", "--target", "embedded", "--out", "odd\udcff\x1b[31m")
    assert ended.status == 0
    assert "odd\\udcff\\x1b[31m: 12 written" in ended.err
