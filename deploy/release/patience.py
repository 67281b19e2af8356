"""A cluster that does not answer for a moment, as while its API server is restarted, is asked again."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from deploy.tools.process import NoAnswerError

T = TypeVar("T")
LOOK_S = 1.0
SILENT_S = 60.0  # so long in a row a cluster may say nothing, however short the rest of the time is
_DEADLINE_S = 900.0  # the chart's workload.progressDeadlineSeconds
_BUILDS_S = 7200.0  # the longest that its engine Jobs may take


def rollout_s(values: Mapping[str, Any]) -> float:
    """How long a release with these values may take until it serves: a minute more than the cluster's own bound; with
    engines to build first, as long as their Jobs may take on top."""
    workload, build = values.get("workload") or {}, values.get("engineBuild") or {}
    deadline_s = float(workload.get("progressDeadlineSeconds", _DEADLINE_S))
    return deadline_s + 60 + (_BUILDS_S if build.get("enabled") else 0)


def answered(
    ask: Callable[[], T], *, until: float, say: Callable[[str], None], silent_s: float = SILENT_S,
    look_s: float = LOOK_S,
) -> T:  # fmt: skip
    """What `ask` gives, asked again while nobody answers: until `until`, a time.monotonic(), and `silent_s` at least.

    Raises NoAnswerError after that, and everything else that `ask` raises at once.
    """
    give_up, told = max(until, time.monotonic() + silent_s), False
    while True:
        try:
            return ask()
        except NoAnswerError as error:
            if time.monotonic() > give_up:
                raise
            if not told:
                say(f"the cluster does not answer, and is asked again: {error.message}")
                told = True
        time.sleep(look_s)
