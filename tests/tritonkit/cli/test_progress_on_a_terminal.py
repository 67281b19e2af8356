"""What moves on a terminal is text as it is told: brackets are no markup, and nothing in it reaches the terminal."""

from __future__ import annotations

import io
import sys

import pytest

from tritonkit.cli.output import progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    "told",
    [
        "[####                ] round 2, turn 9 of at most 41: loading",
        "[/red] closes nothing",
        "shape [bold]8[/bold] of :smile:",
    ],
)
def test_brackets_are_shown(told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    for name, value in (("TERM", "xterm"), ("COLUMNS", "120")):
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("NO_COLOR", raising=False)
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stderr", terminal)
        with progress(told) as now:
            now(f"then {told}")
    assert told in terminal.getvalue(), "the first text"
    assert f"then {told}" in terminal.getvalue(), "and what took its place"


def test_what_a_terminal_would_obey_is_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setenv("TERM", "xterm")
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stderr", terminal)
        with progress("model \x1b]0;taken over\x07") as now:
            now("model \x1b]0;again\x07")
    assert "\x1b]0;" not in terminal.getvalue()
