"""`tritonkit load` and what is in it."""

from __future__ import annotations

import subprocess
import sys

import pytest
from cli_session import Session

from tritonkit.cli.commands.load import COMMANDS

HEAVY = {"numpy", "scipy", "locust", "gevent", "matplotlib", "tritonclient", "onnx"}


@pytest.mark.parametrize("name", COMMANDS)
def test_the_short_help_in_the_group_and_the_commands_own(session: Session, name: str) -> None:
    ended = session.quietly("load", name, "-h")
    assert (ended.status, ended.err) == (0, "")
    assert ended.out.startswith(f"Usage: tritonkit load {name} ")


def test_help_imports_nothing_that_is_slow() -> None:
    code = (
        "import sys, tritonkit.cli\n"
        "for name in ('run', 'sweep', 'report', 'compare'): tritonkit.cli.main(['load', name, '-h'])\n"
        f"print(sorted({HEAVY!r} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr.splitlines()[-1] == "[]"


def test_what_cannot_be_understood(session: Session) -> None:
    for arguments, said in (
        (["load"], ""), (["load", "rnu"], "did you mean `run`?"), (["load", "run"], "missing argument"),
        (["load", "run", "x.yaml", "--protocol", "udp"], "invalid value"), (["load", "run", "x.yaml", "--seed", "-1"], "invalid value"),
        (["load", "run", "x.yaml", "--duration", "nan"], "nan is not a number"), (["load", "run", "x.yaml", "--cancel", "2"], "invalid value"),
        (["load", "run", "nowhere.yaml"], "nowhere.yaml"),
    ):  # fmt: skip
        ended = session.quietly(*arguments)
        if len(arguments) == 1:
            assert (ended.status, ended.err) == (0, "")
            continue
        assert (ended.status, ended.out) == (1, ""), arguments
        assert said in ended.err.lower(), ended.err
        assert "Traceback" not in ended.err
