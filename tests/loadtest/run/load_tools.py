"""Load tests of the clone's digits against a server whose service times never vary."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from steady_server import Steady

from generator.project import Project
from loadtest.run.asked import Asked, Promise
from loadtest.run.attach import attach
from loadtest.run.serving import Serving
from loadtest.run.specs import plans_of
from loadtest.traffic.payloads import Payloads, payloads_of

CLONE = Path(__file__).parents[3]
LATE_IS_FINE_MS = 10_000.0  # these tests share their cores: how late requests leave is not what they are about


def quiet(_: str) -> None:
    """A progress that nobody sees."""


class Digits:
    """The digits of the clone, their first payloads, and a server for them."""

    def __init__(self, server: Steady, most: int = 24) -> None:
        project = Project(CLONE)
        plans = plans_of(project, [CLONE / "specs" / "digits.yaml"], "embedded")
        self.serving: Serving = attach(plans, CLONE, server.address, target="embedded")
        found = payloads_of(plans[0], CLONE, 1)
        self.payloads = {"digits": Payloads(found.source, found.requests[:most], found.items[:most])}

    def asked(self, **changed: Any) -> Asked:
        """100 requests a second for 2 s against 200 ms, changed so."""
        given: dict[str, Any] = {
            "promises": {"digits": Promise(200.0)}, "mix": {"digits": 1.0}, "rate_rps": 100.0, "duration_s": 2.0,
            "lag_bound_ms": LATE_IS_FINE_MS, "command": "tritonkit load run", "spec": "digits.yaml",
        }  # fmt: skip
        return Asked(**{**given, **changed})


def codes_of(raised: pytest.ExceptionInfo[Any]) -> list[str]:
    """The codes of a ProblemsError."""
    return [problem.code for problem in raised.value.problems]
