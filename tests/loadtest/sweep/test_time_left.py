"""What a sweep says while it runs: how long it may take, and what is kept when it ends early."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest
from simulated_bench import SimulatedBench, wanted_of

from generator.problems import UserError
from loadtest.results.run import Run
from loadtest.sweep import sweep
from loadtest.sweep.journal import Journal
from loadtest.sweep.setting import DELAY, Setting
from loadtest.sweep.sweep import Sweeping

OVER = [f"{DELAY}=0,1000,5000"]


@dataclass
class Clocked(SimulatedBench):
    """The server takes 20 s to start, a setting 1 s, and a turn what it is long."""

    now_s: float = 0.0

    def apply(self, setting: Setting, progress: Callable[[str], None]) -> int:
        starts = self.starts
        found = super().apply(setting, progress)
        self.now_s += 20.0 if found > starts else 1.0
        return found

    def measure(
        self, rate_rps: float, seconds: float, seed: int, folder: Path, progress: Callable[[str], None]
    ) -> Run:  # fmt: skip
        progress("sent")
        self.now_s += seconds
        return super().measure(rate_rps, seconds, seed, folder, progress)


def said_of(folder: Path, bench: SimulatedBench) -> list[str]:
    said: list[str] = []
    wanted = wanted_of(OVER, rounds=5)
    journal = Journal.begin(folder, {"seed": wanted.seed}, wanted.settle_s)
    try:
        Sweeping(wanted, bench, journal, said.append).run()
    except UserError as error:
        said.append(str(error))
    return said


def test_the_start_of_the_server_is_no_pace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left was told to be several times as much once the first turn was over."""
    bench = Clocked(now_s=time.monotonic())
    monkeypatch.setattr(sweep, "time", SimpleNamespace(monotonic=lambda: bench.now_s))
    told = [re.search(r"at most about (\d+) (s|min) left", text) for text in said_of(tmp_path, bench)]
    left_s = [int(found[1]) * (60 if found[2] == "min" else 1) for found in told if found]
    assert len(left_s) > 6
    assert all(after <= before for before, after in pairwise(left_s)), left_s


@pytest.mark.parametrize(("dies_at", "kept"), [(2, "1 finished turn is kept"), (4, "3 finished turns are kept")])
def test_how_many_turns_are_kept(dies_at: int, kept: str, tmp_path: Path) -> None:
    said = said_of(tmp_path, SimulatedBench(dies_at=dies_at))
    assert said[-2:] == [f"{kept}; --resume goes on from there", "the server ended by signal 9"]
