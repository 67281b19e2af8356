"""Through Locust no server is started: what is said where none runs is how to get one."""

from __future__ import annotations

from pathlib import Path

import pytest

from generator.problems import ProblemsError
from loadtest.locust_driver.round import _about
from loadtest.run.serving import Serving


def test_without_a_server_it_says_how_to_start_one() -> None:
    with pytest.raises(ProblemsError) as raised:
        _about(Serving((), Path(), "127.0.0.1:9", "127.0.0.1:9", "embedded"), {})
    [problem] = raised.value.problems
    assert (problem.code, problem.place.file) == ("TK872", "127.0.0.1:9")
    assert problem.hint == "start one with `tritonkit serve`, or name another with --url"
