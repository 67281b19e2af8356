"""render, serve, demo, update and rollback ask the rules before they write or start anything."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_session import QUIET, At, Session

from deploy.embedded.refresh import render_for
from generator.problems import ProblemsError
from generator.project import Project
from generator_projects import make_project

# A version that nobody has: nothing before the rules looks at that.
REFUSED = QUIET.replace(
    "net.onnx}",
    "net.onnx, accuracy: {data: data/ten.labels, floor: 0.5}, config: {version_policy: {specific: {versions: [7]}}}}",
)


@pytest.fixture
def refused(at: At, tmp_path: Path) -> Session:
    """A session in a project whose only spec the server would refuse."""
    assert REFUSED != QUIET
    return at(make_project(tmp_path / "refused", {"small": REFUSED}).root)


def test_nothing_is_written_or_started(refused: Session) -> None:
    for arguments in (["render"], ["render", "--check"], ["serve"], ["demo", "specs/small.yaml"]):
        before = sorted(refused.folder.rglob("*"))
        ended = refused.run(*arguments)
        assert ended.status == 1
        assert "TK601" in ended.err
        assert sorted(refused.folder.rglob("*")) == before
    refused.matches("checked_first")


def test_what_a_server_is_brought_to_is_checked(refused: Session) -> None:
    """`update` and `rollback` render so."""
    with pytest.raises(ProblemsError, match="TK601"):
        render_for(Project(refused.folder), "embedded")


def test_a_repository_is_checked_before_it_is_served(session: Session, project: Project) -> None:
    session.quietly("render", "--target", "embedded")
    config = project.repository("embedded") / "small_engine" / "config.pbtxt"
    config.write_text(config.read_text() + "version_policy { specific { versions: 7 } }\n")
    ended = session.run("serve", "--repository", "model_repository/embedded", "--http-port", "0")
    assert ended.status == 1
    session.matches("serve_checked")


def test_a_reason_lets_it_pass(at: At, tmp_path: Path) -> None:
    """What a spec ignores stops nothing."""
    text = REFUSED.replace(
        "model:", "# tritonkit: ignore[TK601,TK603] because version 7 comes by another way\nmodel:"
    )
    session = at(make_project(tmp_path / "ignored", {"small": text}).root)
    assert session.quietly("lint").err == "checked 1 file: nothing found\n"
    assert session.quietly("render").status == 0
