from __future__ import annotations

import json
from pathlib import Path

from cli_session import At, Session

from generator.project import Project
from generator_projects import SHORT, make_project

MISTAKES = {
    "first": SHORT.replace("p99_ms", "p99").replace("decode: {to: gray}", "decode: {to: grey}").replace(
        "max_batch_size: 32", "max_batch_size: 0.5"
    ),
    "second": SHORT.replace("name: small", "name: second").replace("models/net", "models/nett").replace(
        "h200}", "h200, batching: {preferred: [64]}}"
    ),
    "third": SHORT.replace("name: small", "name: third").replace("[8, 8]", "[9, 9]").replace("k: 3", "k: 11"),
    "fourth": "name: fourth\nname: four\n\tinputs: {}\n",
}  # fmt: skip


def test_a_good_project(session: Session) -> None:
    session.run("lint")
    session.run("lint", "specs/small.yaml")
    session.run("render")
    session.run("lint", "model_repository/embedded")
    session.run("lint", "model_repository", "specs", "model_repository/production/small_engine")
    session.matches("lint_good")


def test_every_mistake_of_every_file_at_once(at: At, tmp_path: Path) -> None:
    session = at(make_project(tmp_path / "project", MISTAKES).root)
    found = session.run("lint").err
    session.matches("lint_mistakes")
    for file in MISTAKES:
        assert f"specs/{file}.yaml:" in found


def test_formats(at: At, tmp_path: Path) -> None:
    session = at(make_project(tmp_path / "project", {"first": MISTAKES["first"], "third": MISTAKES["third"]}).root)
    told = session.run("lint", "--format", "json").out
    assert len(json.loads(told)["problems"]) == 6
    session.run("lint", "--format", "github")
    session.matches("lint_formats")


def test_formats_where_nothing_is_wrong(session: Session) -> None:
    session.run("lint")
    session.run("lint", "--format", "json")
    session.run("lint", "--format", "github")
    session.matches("lint_nothing")


def test_configurations(session: Session, project: Project) -> None:
    session.quietly("render", "--target", "embedded")
    repository = project.repository("embedded")
    config = repository / "small_engine" / "config.pbtxt"
    config.write_text(config.read_text() + "\nmax_batchsize: 3\n")
    (repository / "small_engine2").mkdir()
    (repository / "small_engine2" / "config.pbtxt").write_text('name: "small_engine"\nbackend: "python"\n')
    (repository / "binary").mkdir()
    (repository / "binary" / "config.pbtxt").write_bytes(b'name: "\xff"')
    (repository / "folder" / "config.pbtxt").mkdir(parents=True)
    session.run("lint", "model_repository/embedded")
    session.run("lint", "model_repository/embedded/small_engine/config.pbtxt", "model_repository/none/config.pbtxt")
    session.run("serve", "--repository", "model_repository/embedded", "--http-port", "0")
    session.matches("lint_configurations")


def test_what_is_not_there_and_what_is_nothing(session: Session, project: Project) -> None:
    (project.root / "empty").mkdir()
    (project.root / "empty.yaml").write_text("")
    (project.root / "notes.txt").write_text("- a list\n")
    session.run("lint", "specs/none.yaml", "none", "none.pbtxt", "specs/small.yaml")
    session.run("lint", "empty")
    session.run("lint", "empty.yaml", "notes.txt")
    session.run("lint", "")
    session.matches("lint_not_there")


def test_a_project_without_specs(at: At, tmp_path: Path) -> None:
    session = at(make_project(tmp_path / "project").root)
    session.run("lint")
    session.matches("lint_no_specs")


def test_notes_alone_do_not_fail(at: At, tmp_path: Path) -> None:
    session = at(make_project(tmp_path / "project", {"small": SHORT}).root)
    for options in (["lint"], ["lint", "--format", "json"], ["lint", "--format", "github"], ["render"]):
        ended = session.run(*options)
        assert ended.status == 0
        assert "TK215" in ended.out + ended.err
    session.matches("notes")
