"""schema, doctor and completion."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from cli_session import SNAPSHOTS, At, Session

from tritonkit.cli.commands import schema
from tritonkit.cli.group import COMMANDS


def test_the_schema_that_is_checked_in_is_the_one_that_is_printed(session: Session) -> None:
    printed = session.quietly("schema")
    assert (printed.status, printed.err) == (0, "")
    assert printed.out == Path(schema.__file__).parents[3].joinpath(schema.SCHEMA_FILE).read_text(encoding="utf-8")
    checked = session.quietly("schema", "--check")
    assert (checked.status, checked.out, checked.err) == (0, "", "")


def test_a_schema_that_is_not_up_to_date(session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "SCHEMA_FILE", str(tmp_path / "schema.json"))
    session.hide(str(tmp_path), "DOCS")
    session.run("schema", "--check")
    session.run("schema", "--write")
    session.run("schema", "--check")
    (tmp_path / "schema.json").write_text("{}")
    session.run("schema", "--check")
    (tmp_path / "schema.json").unlink()
    (tmp_path / "schema.json").mkdir()
    session.run("schema", "--check")
    session.run("schema", "--write")
    session.matches("schema")


def test_doctor(session: Session) -> None:
    """What it finds is this machine's; how it says it is not."""
    found = session.quietly("doctor", "--json")
    checks = json.loads(found.out)
    assert found.err == ""
    names = [check["name"] for check in checks]
    assert len(set(names)) == len(names)
    assert {"python", "numpy", "libpython", "pip", "shared memory", "HTTP port"} <= set(names)
    for check in checks:
        assert {"name": str, "ok": bool, "found": str, "remedy": str, "note": bool} == {
            k: type(v) for k, v in check.items()
        }
        assert check["ok"] or check["remedy"], "what is not fine says what to do"
    to_mend = [check for check in checks if not check["ok"] and not check["note"]]
    assert found.status == (1 if to_mend else 0)

    told = session.quietly("doctor")
    assert (told.status, told.err) == (found.status, "")
    lines = [line for line in told.out.splitlines() if not line.startswith(" ")]
    assert [line[6:].startswith(name) for line, name in zip(lines, names, strict=True)] == [True] * len(names)
    assert {line.split()[0] for line in lines} <= {"fine", "note", "mend"}


def test_doctor_works_outside_of_a_project(at: At, tmp_path: Path) -> None:
    assert len(json.loads(at(tmp_path).quietly("doctor", "--json").out)) > 10


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(session: Session, shell: str) -> None:
    ended = session.quietly("completion", shell)
    assert (ended.status, ended.err) == (0, "")
    assert f"_TRITONKIT_COMPLETE={shell}_complete" in ended.out
    if found := shutil.which(shell):
        subprocess.run([found, "-n"], input=ended.out, text=True, check=True)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("tritonkit ", set(COMMANDS)),
        ("tritonkit re", {"render"}),
        ("tritonkit render --s", {"--show-plan", "--self-contained"}),
        ("tritonkit lint --format ", {"text", "json", "github", "sarif"}),
        ("tritonkit lint --server e", {"embedded"}),
        ("tritonkit lint --server 24", {"24.10", "24.11", "24.12"}),
        ("tritonkit completion f", {"fish"}),
        ("tritonkit bogus ", set(COMMANDS)),
    ],
)
def test_bash_completes(session: Session, monkeypatch: pytest.MonkeyPatch, words: str, expected: set[str]) -> None:
    """The script asks the command itself, by these variables."""
    monkeypatch.setenv("_TRITONKIT_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(len(words.split(" ")) - 1))
    ended = session.quietly()
    assert (ended.status, ended.err) == (0, "")
    assert {line.partition(",")[2] for line in ended.out.splitlines()} == expected


def test_every_snapshot_is_of_a_test() -> None:
    named = {
        name
        for file in Path(__file__).parent.glob("test_*.py")
        for name in re.findall(r'matches\("(\w+)"\)', file.read_text())
    }
    assert {file.stem for file in SNAPSHOTS.iterdir()} == named | {f"help_{name}" for name in COMMANDS}
