"""What a run says while it goes on, and when its server goes away."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from steady_server import steady

sys.path.insert(0, str(Path(__file__).parent))

from load_tools import Digits, codes_of, quiet

from generator.problems import ProblemsError, UserError
from loadtest.run import sending
from loadtest.run.measure import measure


def test_the_time_that_is_left_counts_from_the_first_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not from when senders begin to get ready, which may take long."""
    real, said = sending.start_together, list[str]()

    def slowly(sendings: Any) -> int:
        time.sleep(1.2)
        return real(sendings)

    monkeypatch.setattr(sending, "start_together", slowly)
    with steady() as server:
        digits = Digits(server)
        measure(digits.asked(kind="constant"), digits.serving, digits.payloads, tmp_path, said.append)
    counted = [text for text in said if text.startswith("sent ")]
    assert counted[0].endswith(", 2 s left")
    assert counted[-1].endswith(", 0 s left")


@pytest.mark.parametrize("senders", [1, 2])
def test_that_many_senders_are_started(tmp_path: Path, senders: int) -> None:
    said: list[str] = []
    with steady() as server:
        digits = Digits(server)
        measure(digits.asked(senders=senders, duration_s=0.5), digits.serving, digits.payloads, tmp_path, said.append)
    began = next(place for place, text in enumerate(said) if text.startswith("sent "))
    assert ("starting 2 senders" in said[:began]) == (senders == 2)


@pytest.mark.parametrize(("message", "words"), [
    ("it was ended by signal 9 without naming a cause\n  signal 9 mostly means that memory ran out\n\nlast lines of it",
     ": it was ended by signal 9 without naming a cause; signal 9 mostly means that memory ran out"),
    ("digits: it says:\n  ValueError:  no\n  free some\n", ": digits: it says: ValueError: no; free some"),
])  # fmt: skip
def test_why_the_server_went_away(message: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "GONE_FOR_S", 0.5)
    monkeypatch.setattr(sending, "ALIVE_EVERY_S", 0.1)
    with steady(fail_after=60) as server:
        digits = Digits(server)
        serving = replace(digits.serving, failure=lambda: UserError(message))
        with pytest.raises(ProblemsError) as raised:
            measure(digits.asked(duration_s=20.0), serving, digits.payloads, tmp_path, quiet)
    assert codes_of(raised) == ["TK875"]
    assert raised.value.problems[0].message == f"the server went away during the run{words}"
