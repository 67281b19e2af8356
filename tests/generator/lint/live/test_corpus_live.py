"""The live server's verdict on every case that it can judge is the one that the case, and so lint, gives."""

from __future__ import annotations

import math
from collections import Counter, deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
from corpus_cases import Case, cases
from live_verdicts import LiveServer, Verdict, live_server

from generator.problems import UserError

pytestmark = pytest.mark.server
ATTEMPTS = 6  # on a busy machine it ends more often
SERVERS, CASES = 3, 8  # at once, and for so many cases one of them
MODES = {False: "written", True: "completed"}


def parts() -> dict[tuple[bool, str], list[Case]]:
    """The cases by the server's mode and by ten codes, so that no test takes long."""
    found: dict[tuple[bool, str], list[Case]] = {}
    for case in cases():
        if case.is_live():
            found.setdefault((case.server.auto_complete, case.path.parent.name[:4]), []).append(case)
    return found


PARTS = parts()


@pytest.mark.parametrize("part", sorted(PARTS), ids=lambda part: f"{MODES[part[0]]}-{part[1]}")
def test_the_server_agrees(part: tuple[bool, str]) -> None:
    wrong = []
    for case, verdicts in asked(PARTS[part], part[0]):
        for name, verdict in verdicts.items():
            if verdict.accepted != (name in case.accepts):
                wrong.append(f"{case.name}: {name} {'accepted' if verdict.accepted else verdict.reason}")
            elif not verdict.accepted and any(
                text not in f"{verdict.reason}\n{verdict.logged}" for text in case.says
            ):
                wrong.append(f"{case.name}: {name} is refused, but not because of {case.says}: {verdict.reason}")
    assert not wrong, "\n".join(wrong)


def asked(chosen: list[Case], auto_complete: bool) -> list[tuple[Case, dict[str, Verdict]]]:
    """The verdicts on all cases, of a few servers at once: mostly one waits until a process of Python's has ended.

    This server refuses an initial state after it started the model, and one time in 25 it ends while it takes that
    down: the case is asked again then, of a new server.
    """
    found: list[tuple[Case, dict[str, Verdict]]] = []
    left, ended = deque(chosen), Counter[str]()

    def ask(server: LiveServer) -> None:
        while True:
            try:
                case = left.popleft()
            except IndexError:
                return
            try:
                found.append((case, server.verdicts(case)))
            except UserError:
                ended[case.name] += 1
                if ended[case.name] == ATTEMPTS:
                    raise
                left.append(case)
                return

    while left:
        with ExitStack() as stack:
            count = min(SERVERS, math.ceil(len(left) / CASES))
            servers = [stack.enter_context(live_server(auto_complete=auto_complete)) for _ in range(count)]
            with ThreadPoolExecutor(count) as pool:
                deque(pool.map(ask, servers), maxlen=0)
    return sorted(found, key=lambda one: one[0].name)
