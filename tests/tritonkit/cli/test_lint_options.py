"""lint: servers, codes, formats, mending, and what the server adds."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest
from cli_session import CLONE, At, Session

from generator.project import Project

TENSORS = 'input [ { name: "x" data_type: TYPE_FP32 dims: [ 4 ] } ]\noutput [ { name: "y" data_type: TYPE_FP32 dims: [ 4 ] } ]\n'
HEAD = "# Rendered by tritonkit from specs/m.yaml for target `embedded` (Triton 24.10).\n"
TRITONKIT = str(Path(sys.executable).with_name("tritonkit"))


def a_model(root: Path, name: str, text: str) -> Path:
    (root / name / "1").mkdir(parents=True)
    (root / name / "1" / "model.py").write_text("class TritonPythonModel:\n    def execute(self, requests): ...\n")
    file = root / name / "config.pbtxt"
    file.write_text(text)
    return file


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Two models with a wrong name, one of them rendered, and one that is fine."""
    for name, head in (("adder", ""), ("sums", HEAD)):
        a_model(tmp_path / "r", name, f'{head}name: "other"\nbackend: "python"\n{TENSORS}')
    a_model(tmp_path / "r", "fine", f'name: "fine"\nbackend: "python"\n{TENSORS}')
    return tmp_path / "r"


@pytest.fixture
def here(at: At, repository: Path) -> Session:
    """A session beside the repository, in no project."""
    return at(repository.parent)


def test_codes_are_chosen(here: Session) -> None:
    here.run("lint", "r/adder", "--select", "TK502")
    here.run("lint", "r/adder", "--select", "TK6,TK7", "--select", "tk503")
    here.run("lint", "r/adder", "--ignore", "TK50")
    for wrong in ("TK599", "TK5022", "502", "TK5x"):
        ended = here.run("lint", "r/adder", "--select", wrong)
        assert ended.status == 1
    here.matches("lint_codes")


def test_servers(here: Session) -> None:
    for arguments in (["--server", "23.09"], ["--server", "latest"], ["--gpus", "-1"], ["--cores", "0"], ["--yes"],
                      ["--diff", "--format", "json"], ["--show-completed", "--format", "sarif"]):  # fmt: skip
        ended = here.run("lint", "r", *arguments)
        assert (ended.status, ended.out) == (1, "")
    here.run("lint", "r/fine", "--server", "embedded", "--backends", "python,pytorch", "--gpus", "2", "--cores", "16",
             "--disable-auto-complete-config", "--cuda-memory-pool-byte-size", "0", "--model-config-name", "small")  # fmt: skip
    here.matches("lint_servers")


def test_the_formats_for_code_hosts(here: Session) -> None:
    here.run("lint", "r", "--format", "github", "--select", "TK5")
    told = here.run("lint", "r", "--format", "sarif", "--select", "TK5")
    assert told.status == 1
    assert [result["ruleId"] for result in json.loads(told.out)["runs"][0]["results"]] == ["TK502", "TK502"]
    here.run("lint", "r/fine", "--format", "sarif")
    here.matches("lint_sarif")


def test_mending(here: Session, repository: Path) -> None:
    before = {file: file.read_text() for file in repository.glob("*/config.pbtxt")}
    assert here.run("lint", "r", "--diff").status == 1
    assert here.run("lint", "r", "--fix").status == 1
    here.run("lint", "r/fine", "--diff")
    assert {file: file.read_text() for file in repository.glob("*/config.pbtxt")} == before, "nobody was asked"
    assert here.run("lint", "r", "--fix", "--yes", "--select", "TK502").status == 1, "the rendered one is as it was"
    assert (repository / "adder" / "config.pbtxt").read_text().startswith('name: "adder"\n')
    assert (repository / "sums" / "config.pbtxt").read_text() == before[repository / "sums" / "config.pbtxt"]
    assert here.run("lint", "r/adder", "--fix", "--yes").status == 0
    here.matches("lint_fix")


@pytest.mark.parametrize(("answer", "name"), [("y", "adder"), ("n", "other"), ("", "other")])
def test_a_terminal_is_asked(repository: Path, answer: str, name: str) -> None:
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    with subprocess.Popen(
        [TRITONKIT, "lint", "--fix", "adder"],
        cwd=repository,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment,
    ) as process:
        os.close(theirs)
        seen = b""
        while b"[y/N]" not in seen:
            seen += os.read(ours, 65536)
        os.write(ours, answer.encode() + b"\n")
        try:
            while piece := os.read(ours, 65536):
                seen += piece
        except OSError:  # EIO: nobody has the other end open
            pass
        assert process.wait(60) == (0 if name == "adder" else 1)
    os.close(ours)
    assert b'-name: "other"' in seen
    assert b"change 1 file?" in seen
    assert (b"1 problem mended" in seen) == (name == "adder")
    assert (repository / "adder" / "config.pbtxt").read_text().startswith(f'name: "{name}"\n')


def test_what_the_server_adds(here: Session, repository: Path) -> None:
    a_model(repository, "broken", "}")
    os.mkfifo(repository / "fine" / "configs")
    told = here.run("lint", "r", "--show-completed")
    assert told.status == 0
    found = here.quietly("lint", "r", "--show-completed", "--format", "json")
    listed = {entry["file"]: entry["completed"] for entry in json.loads(found.out)}
    assert list(listed) == ["r/adder/config.pbtxt", "r/fine/config.pbtxt", "r/sums/config.pbtxt"]
    for added in listed.values():
        for entry in added:
            assert set(entry) == {"field", "value", "why"}
            assert f"  {entry['field']}: {entry['value']}  ({entry['why']})\n" in told.out
    assert here.run("lint", "r/broken", "--show-completed").status == 1
    here.matches("lint_completed")


def test_a_comment_with_a_reason(here: Session, repository: Path) -> None:
    file = repository / "adder" / "config.pbtxt"
    text = file.read_text()
    for comment in ("ignore[TK502] because the directory is renamed on the way out", "ignore[TK502]", "ignore[TK552] because x y",
                    "ignore[TK502,TK503] because x y", "ignore"):  # fmt: skip
        here.note(comment)
        file.write_text(text.replace('"other"', f'"other"  # tritonkit: {comment}'))
        here.run("lint", "r/adder", "--select", "TK5")
    here.matches("lint_ignored")


def test_codes_are_explained(session: Session) -> None:
    session.run("explain", "TK502")
    session.run("explain", "tk204")
    session.run("explain", "TK502", "--json")
    session.run("explain", "TK204", "--json")
    session.run("explain", "TK5O2")
    session.run("explain", "nonsense")
    session.matches("explain")
    listed = session.quietly("explain")
    every = json.loads(session.quietly("explain", "--json").out)
    assert len(every) == sum(line.startswith("  TK") for line in listed.out.splitlines()) > 60
    assert "  TK502  error   A config.pbtxt names another model than its directory\n" in listed.out


def test_a_page_on_a_terminal(project: Project) -> None:
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100", "NO_COLOR": ""}
    with subprocess.Popen(
        [TRITONKIT, "explain", "TK502"], cwd=project.root, stdout=theirs, stderr=theirs, env=environment
    ):
        os.close(theirs)
        seen = b""
        try:
            while piece := os.read(ours, 65536):
                seen += piece
        except OSError:
            pass
    os.close(ours)
    text = seen.decode()
    for part in ("TK502", "names another model than its directory", "╭─", "bad", "good", "Source: "):
        assert part in text
    assert "\x1b[" in text


def test_the_page_shows_what_is_printed(at: At, tmp_path: Path) -> None:
    page = (CLONE / "docs" / "how-to" / "lint.md").read_text(encoding="utf-8")
    config, shown = (
        re.search(rf"^```{kind}\n(.*?)^```", page, re.MULTILINE | re.DOTALL) for kind in ("protobuf", "text")
    )
    assert config is not None
    assert shown is not None
    a_model(tmp_path / "repository", "adder", config[1])
    command, _, output = shown[1].partition("\n")
    ended = at(tmp_path).quietly(*command.removeprefix("$ tritonkit ").split())
    assert (ended.status, ended.err) == (1, output)


@pytest.mark.parametrize(
    "line",
    [
        line
        for line in (CLONE / "docs" / "how-to" / "lint.md").read_text().splitlines()
        if line.startswith("tritonkit lint ")
    ],
)
def test_the_commands_of_the_page_can_be_given(at: At, tmp_path: Path, line: str) -> None:
    a_model(tmp_path / "repository", "adder", f'backend: "python"\n{TENSORS}')
    assert at(tmp_path).quietly(*line.split()[1:]).status in (0, 1)
    assert not at(tmp_path).quietly(*line.split()[1:]).err.startswith("error: ")


def test_the_comments_of_the_page_are_needed_and_enough(at: At, tmp_path: Path) -> None:
    page = (CLONE / "docs" / "how-to" / "lint.md").read_text(encoding="utf-8")
    blocks = [
        block
        for block in re.findall(r"^```protobuf\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
        if "ignore[" in block
    ]
    assert len(blocks) == 2
    for number, block in enumerate(blocks):
        size = "" if "max_batch_size" in block else "max_batch_size: 8\n"
        a_model(tmp_path / f"r{number}", "m", f'backend: "python"\n{size}{block}{TENSORS}')
        assert at(tmp_path).quietly("lint", f"r{number}").err == "checked 1 file: nothing found\n"
        told = at(tmp_path / f"r{number}")
        (tmp_path / f"r{number}" / "m" / "config.pbtxt").write_text(
            f'backend: "python"\n{size}{re.sub("#.*", "", block)}{TENSORS}'
        )
        for code in re.findall(r"TK\d+", block):
            assert code in told.quietly("lint", ".").err
