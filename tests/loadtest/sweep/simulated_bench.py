"""A bench whose server is the simulated batcher: turns are real run.json and samples.bin files, time is not spent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from batcher_simulator import Batcher, Simulation
from simulated_turn import MADE, MEMBER, write_turn

from generator.problems import UserError
from loadtest.results.run import Objective, Run
from loadtest.results.sweep import Sweep
from loadtest.sweep.axes import read_axes
from loadtest.sweep.journal import Journal
from loadtest.sweep.setting import DELAY, INSTANCES, LAYOUT, PREFERRED, Setting
from loadtest.sweep.sweep import Sweeping, Wanted


def two_milliseconds(batch: int) -> float:
    """The toy of the batcher's rules: 2 ms, and 0.1 ms an item."""
    return 2000.0 + 100.0 * batch


@dataclass
class SimulatedBench:
    """`broken` says of a turn (setting, how often it was measured) why it cannot be believed; `dies_at` is the number
    of the turn in which the server dies; `slower` is what a round does to all of its turns."""

    service_us: Callable[[int], float] = two_milliseconds
    instances: int = 2
    max_batch: int = 32
    broken: Callable[[Setting, int], str | None] = lambda setting, times: None
    dies_at: int | None = None
    slower: Mapping[int, float] = field(default_factory=dict)
    limit_rps: float = float("inf")
    starts: int = 0
    files: str = ""
    applied: list[Setting] = field(default_factory=list)
    seeds: list[tuple[Setting, int]] = field(default_factory=list)
    _running: str | None = None

    def group(self, setting: Setting) -> str:
        return f"{setting.get(LAYOUT)}{self.files}"

    def apply(self, setting: Setting, progress: Callable[[str], None]) -> int:
        progress("loading")
        if self._running != self.group(setting):
            self.starts, self._running = self.starts + 1, self.group(setting)
        self.applied.append(setting)
        return self.starts

    def measure(
        self, rate_rps: float, seconds: float, seed: int, folder: Path, progress: Callable[[str], None]
    ) -> Run:  # fmt: skip
        setting = self.applied[-1]
        if len(self.applied) == self.dies_at:
            raise UserError("the server ended by signal 9")
        self.seeds.append((setting, seed))
        random = np.random.default_rng(seed)
        due = np.cumsum(random.exponential(1e6 / rate_rps, round(rate_rps * seconds)))
        preferred: Any = setting.get(PREFERRED) or ()
        instances: Any = setting.get(INSTANCES) or self.instances
        simulation = Simulation(Batcher(setting.delay_us or 0, instances, self.max_batch, preferred), self.service_us)
        latencies = np.array(simulation.run(due.tolist())) * self.slower.get(seed % 1000, 1.0)
        why = self.broken(setting, sum(one == setting for one, _ in self.seeds))
        if rate_rps > self.limit_rps:
            why = "the busiest second took 90 % of a core"
        return self._write(folder, due, latencies, rate_rps, simulation.batch_sizes, why)

    def _write(self, folder: Path, due: Any, latencies: Any, rate: float, sizes: dict[int, int], why: Any) -> Run:
        return write_turn(folder, due, latencies, rate, batch_sizes=sizes, invalid=why)


def wanted_of(over: list[str], **changes: Any) -> Wanted:
    """A sweep of the toy at 2,000 requests a second."""
    values: dict[str, Any] = {
        "pipeline": "toy", "objective": Objective(p99_ms=4.3), "axes": read_axes(over), "member": MEMBER,
        "rate_rps": 2000.0, "find_max": False, "rounds": 3, "seconds": 2.0, "settle_s": 0.2, "budget_s": None,
        "seed": 7, "keep_samples": False, "made": MADE, "written": lambda setting: f"{DELAY}: {setting.delay_us}\n",
        "members": lambda setting: MEMBER, **changes,
    }  # fmt: skip
    return Wanted(**values)


def swept(
    folder: Path, over: list[str], bench: SimulatedBench | None = None, *, resume: bool = False, **changes: Any
) -> Sweep:
    """A whole sweep in `folder`."""
    wanted = wanted_of(over, **changes)
    plan = {"seed": wanted.seed, "over": over}
    journal = (Journal.resume if resume else Journal.begin)(folder, plan, wanted.settle_s)
    return Sweeping(wanted, bench or SimulatedBench(), journal, lambda _: None).run()
