"""lint: where files are and how they are named, what keeps `--fix` from writing, and the recipes of the page."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote, urlparse

import pytest
import yaml
from cli_session import CLONE, At

from generator.lint import mend as mending

TENSORS = 'input [ { name: "x" data_type: TYPE_FP32 dims: [ 4 ] } ]\noutput [ { name: "y" data_type: TYPE_FP32 dims: [ 4 ] } ]\n'
WRONG = f'name: "other"\nbackend: "python"\n{TENSORS}'
PAGE = (CLONE / "docs" / "how-to" / "lint.md").read_text(encoding="utf-8")


def a_model(folder: Path, text: str = WRONG) -> Path:
    (folder / "1").mkdir(parents=True)
    (folder / "1" / "model.py").write_text("class TritonPythonModel:\n    def execute(self, requests): ...\n")
    file = folder / "config.pbtxt"
    file.write_text(text)
    return file


# Names of files ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("here", "given"),
    [
        (".", "r"),
        ("r", "."),
        ("r", "a b#1%20"),
        ("r/a b#1%20", "."),
        ("r/a b#1%20/1", "../config.pbtxt"),
        ("far", "../r"),
        (".", "ROOT/r"),
    ],
)
def test_every_format_names_a_file_that_can_be_opened_from_here(
    at: At, tmp_path: Path, here: str, given: str
) -> None:
    file = a_model(tmp_path / "r" / "a b#1%20", WRONG)
    (tmp_path / "far").mkdir()
    session = at(tmp_path / here)
    arguments = ["lint", given.replace("ROOT", str(tmp_path)), "--select", "TK502", "--format"]
    [problem] = json.loads(session.quietly(*arguments, "json").out)["problems"]
    log = json.loads(session.quietly(*arguments, "sarif").out)
    [result] = log["runs"][0]["results"]
    uri = result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    parsed = urlparse(uri)
    assert (parsed.fragment, parsed.query) == ("", "")
    noted = re.match(r"::error file=([^,]*),", session.quietly(*arguments, "github").out)
    assert noted is not None
    text = session.quietly(*arguments, "text").err
    for name in (problem["file"], unquote(parsed.path), noted[1].replace("%25", "%")):
        assert (tmp_path / here / name).samefile(file)
        assert Path(name).is_absolute() == here.endswith("/1"), (
            "above the current directory, by a path without a name"
        )
    assert f"error[TK502]: {problem['file']}:1:7: name\n" in text
    assert '  1 | name: "other"\n' in text


def test_an_empty_path_is_not_the_current_directory(at: At, tmp_path: Path) -> None:
    a_model(tmp_path / "m")
    ended = at(tmp_path).quietly("lint", "")
    assert (ended.status, ended.out) == (1, "")
    assert "a path is empty" in ended.err


@pytest.mark.parametrize("form", ["text", "json", "github", "sarif"])
def test_what_is_not_there_is_told_in_every_format(at: At, tmp_path: Path, form: str) -> None:
    ended = at(tmp_path).quietly("lint", "nosuch", "--format", form)
    assert ended.status == 1
    assert "there is no such file or folder" in ended.out + ended.err
    assert "specs" not in ended.err


# Codes and comments together ---------------------------------------------------------------------------------------


def test_what_is_selected_says_nothing_of_what_is_ignored(at: At, tmp_path: Path) -> None:
    """A comment is needed if its problem is there, whether or not it would be told."""
    text = WRONG.replace('"other"', '"other" # tritonkit: ignore[TK502, TK503] because x y')
    a_model(tmp_path / "m", text)
    session = at(tmp_path)
    assert session.quietly("lint", "m", "--select", "TK6").err == "checked 1 file: nothing found\n"
    assert session.quietly("lint", "m", "--select", "TK502").err == "checked 1 file: nothing found\n"
    for options in (("--select", "TK537"), ("--ignore", "TK502"), ("--select", "TK5", "--ignore", "TK50")):
        told = json.loads(session.quietly("lint", "m", *options, "--format", "json").out)["problems"]
        assert [(p["code"], p["message"]) for p in told] == [("TK537", "there is no TK503 here to ignore")]
    nothing = session.quietly("lint", "m", "--ignore", "TK", "--format", "sarif")
    assert (nothing.status, json.loads(nothing.out)["runs"][0]["results"]) == (0, [])
    assert json.loads(session.quietly("lint", "m", "--ignore", "TK", "--format", "json").out) == {
        "version": 1, "problems": [],
    }  # fmt: skip


# What keeps from writing -------------------------------------------------------------------------------------------


def test_an_interrupt_while_files_are_written(at: At, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = [a_model(tmp_path / "r" / name) for name in ("a", "b", "c")]
    replace = Path.replace
    done: list[Path] = []

    def interrupted(self: Path, target: Path) -> Path:
        if done:
            raise KeyboardInterrupt
        done.append(target)
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", interrupted)
    ended = at(tmp_path).quietly("lint", "r", "--fix", "--yes")
    assert ended.status == 130
    assert ended.err.endswith("r/a/config.pbtxt: 1 problem mended\n\ninterrupted\n")
    assert [file.read_text() for file in files] == [WRONG.replace("other", "a"), WRONG, WRONG]
    for file in files:
        assert {entry.name for entry in file.parent.iterdir()} == {"1", "config.pbtxt"}


def test_a_file_that_cannot_be_written_keeps_none_of_the_others_from_it(
    at: At, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [a_model(tmp_path / "r" / name) for name in ("a", "b", "c")]
    write = mending.write_whole

    def refused(file: Path, text: str) -> None:
        if file.parent.name == "b":
            raise OSError(30, os.strerror(30), str(file))
        write(file, text)

    monkeypatch.setattr(mending, "write_whole", refused)
    ended = at(tmp_path).quietly("lint", "r", "--fix", "--yes")
    assert ended.status == 1
    assert "error: r/b/config.pbtxt (Read-only file system) could not be written\n" in ended.err
    assert [file.read_text() for file in files] == [WRONG.replace("other", "a"), WRONG, WRONG.replace("other", "c")]


def test_files_that_are_left_are_named(at: At, tmp_path: Path) -> None:
    a_model(tmp_path / "r" / "a").chmod(0o444)
    ended = at(tmp_path).quietly("lint", "r", "--fix", "--yes")
    assert ended.status == 1
    assert ended.err.startswith(
        "r/a/config.pbtxt is left as it is: it is read-only\nthere is nothing that can be mended"
    )
    assert "--fix" not in at(tmp_path).quietly("lint", "r").err


# What the server adds ----------------------------------------------------------------------------------------------


def test_nothing_is_completed_before_it_can_be_read(at: At, tmp_path: Path) -> None:
    a_model(tmp_path / "r" / "broken", "}")
    for options in ((), ("--select", "TK77"), ("--format", "json")):
        ended = at(tmp_path).quietly("lint", "r", "--show-completed", *options)
        assert (ended.status, ended.out) == (1, "")
        assert "error[TK510]: r/broken/config.pbtxt:1:1\n" in ended.err
        assert ended.err.endswith("\n\nerror: nothing can be completed before these errors are mended\n")
    a_model(tmp_path / "r" / "fine", f'backend: "python"\n{TENSORS}')
    ended = at(tmp_path).quietly("lint", "r", "--show-completed")
    assert ended.status == 0
    assert ended.out.startswith("r/fine/config.pbtxt:\n")
    assert ended.err == "r/broken/config.pbtxt is left out: mend first what `tritonkit lint` says of it\n"


# The recipes of the page -------------------------------------------------------------------------------------------


def recipe() -> list[dict[str, object]]:
    """The steps of the page's workflow that uploads what was found."""
    [block] = [b for b in re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL) if "upload-sarif" in b]
    return list(yaml.safe_load(block)["steps"])


@pytest.mark.parametrize(
    ("text", "typo", "fails", "uploads"),
    [(WRONG, "", True, True), (f'backend: "python"\n{TENSORS}', "", False, True), (WRONG, "--formt", True, False)],
)
def test_the_recipe_hides_no_typo(tmp_path: Path, text: str, typo: str, fails: bool, uploads: bool) -> None:
    a_model(tmp_path / "model_repository" / "m", text)
    [step] = [str(step["run"]) for step in recipe() if "run" in step]
    script = step.replace("--format", typo) if typo else step
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    # As GitHub runs it.
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script]
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, timeout=120, check=False)
    assert (ended.returncode != 0) == fails
    assert ((tmp_path / "lint.sarif").read_text().startswith("{")) == uploads


def test_the_recipe_uploads_what_a_failed_step_found() -> None:
    *_, upload = recipe()
    assert str(upload["if"]) == "${{ !cancelled() }}"
    assert "||" not in str(recipe()[:-1])


def test_the_page_says_what_json_looks_like(at: At, tmp_path: Path) -> None:
    a_model(tmp_path / "m")
    (tmp_path / "n").mkdir()
    found = json.loads(at(tmp_path).quietly("lint", ".", "--format", "json").out)
    assert set(found) == {"version", "problems"}
    assert '`{"version": 1, "problems": [...]}`' in PAGE
    said = PAGE.partition("is for scripts:")[2].partition("##")[0]
    assert len(found["problems"]) >= 2
    for problem in found["problems"]:
        assert set(problem) == set(re.findall(r"`(\w+)`", said.partition(";")[0]))
        assert (problem["line"] is None) == (problem["column"] is None)
    assert any(problem["line"] is None for problem in found["problems"])


def test_the_list_of_codes_fits_100_columns(at: At, tmp_path: Path) -> None:
    lines = at(tmp_path).quietly("explain").out.splitlines()
    assert max(map(len, lines)) <= 100
    headings = [line for line in lines if line and not line.startswith(" ")]
    assert len(set(headings)) == len(headings) > 20, "each stage and family once"
