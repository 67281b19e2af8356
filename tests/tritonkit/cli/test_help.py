"""Help, and command lines that cannot be understood."""

from __future__ import annotations

import pytest
from cli_session import Session

from tritonkit.cli.group import COMMANDS


def test_the_group(session: Session) -> None:
    session.run()
    session.run("-h")
    session.run("--help")
    session.run("--version")
    session.matches("group")


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of(session: Session, name: str) -> None:
    session.run(name, "-h")
    session.matches(f"help_{name}")


@pytest.mark.parametrize("name", COMMANDS)
def test_the_short_help_in_the_group_is_the_beginning_of_the_commands_own(session: Session, name: str) -> None:
    """It stands in the group so that no command is imported; both forms have the same exit status and streams."""
    short, long = session.quietly(name, "-h"), session.quietly(name, "--help")
    assert short == long
    assert (short.status, short.err) == (0, "")
    assert short.out.startswith(f"Usage: tritonkit {name} ")


def test_what_cannot_be_understood(session: Session) -> None:
    for arguments in (
        ["rendr"], ["bogus"], [""], ["-x"], ["--verison"],
        ["render", "--chek"], ["render", "--target"], ["render", "--out", "there"],
        ["init"], ["init", "a", "b"], ["infer"], ["infer", "small"], ["infer", "small", "x.png", "--protocol", "http2"],
        ["infer", "small", "x.png", "--deadline", "soon"], ["infer", "small", "x.png", "--deadline", "0"],
        ["infer", "small", "x.png", "--deadline", "nan"], ["lint", "--format", "xml"],
        ["completion"], ["completion", "tcsh"], ["serve", "--http-port", "x"], ["serve", "--repository", "nowhere"],
        ["serve", "--ready-timeout", "nan"], ["demo", "a", "b"], ["doctor", "now"],
    ):  # fmt: skip
        ended = session.run(*arguments)
        assert (ended.status, ended.out) == (1, "")
        assert ended.err.count("error: ") == 1
    session.matches("not_understood")
