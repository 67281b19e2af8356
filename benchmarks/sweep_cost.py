"""Claim: a sweep finds a delay whose p99 is within 2 % of the best for a fifth of what a grid of 41 delays costs.

    python benchmarks/sweep_cost.py [--seeds 20] [--grid-seeds 6] [--processes 2]
    python benchmarks/sweep_cost.py --real SWEEP_FOLDER

Simulated models (batcher_simulator.py, the rules of Triton's dynamic batcher) are swept as `tritonkit load sweep`
does it, from its first round to its choice, only that no server and no time is behind a turn; and by a grid of 41
delays from 0 to 10 ms with as many requests a delay as the sweep gives one at most. The true p99 of what either
chooses comes from a far longer simulation. `--real` takes a sweep of a real server in. Writes sweep_cost.json, its
table in sweep_cost.md, and sweep_cost.svg.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from _common import HERE, chart, machine, put_table, save, write_result
from batcher_simulator import Batcher, Simulation
from simulated_turn import MADE, MEMBER, write_turn

from loadtest.results.run import Objective, Run
from loadtest.results.sweep import read_sweep
from loadtest.sweep.axes import Axis
from loadtest.sweep.journal import Journal
from loadtest.sweep.setting import DELAY, Setting
from loadtest.sweep.sweep import APPLY_S, Sweeping, Wanted

HIGHEST_US, GRID = 10_000, 41
REQUESTS, REPLICATES = 4_000, 5  # of one turn; turns of one delay, on the grid all of them
SETTLE = 200  # requests of a turn that do not count
TRUTH, TRUTH_SEED = 100_000, 77
NEAR = 0.02
EASY = 1.5  # times the best p99 is the objective: what is chosen has to be shown to meet it, and that costs too


@dataclass(frozen=True)
class Model:
    """Requests a second of one item; a batch takes `base_us` and `item_us` an item."""

    name: str
    rate: float
    base_us: float
    item_us: float
    instances: int = 1
    max_batch: int = 32
    preferred: tuple[int, ...] = ()

    def service_us(self, batch: int) -> float:
        """How long an instance takes for a batch."""
        return self.base_us + self.item_us * batch

    def simulation(self, delay_us: int) -> Simulation:
        """Of one run."""
        return Simulation(Batcher(delay_us, self.instances, self.max_batch, self.preferred), self.service_us)

    def latencies_us(self, delay_us: int, arrivals: Any, skip: int) -> Any:
        """[n - skip]."""
        return np.array(self.simulation(delay_us).run(arrivals.tolist()))[skip:]

    def arrivals(self, seed: list[int], count: int) -> Any:
        """Poisson, microseconds."""
        return np.cumsum(np.random.default_rng(seed).exponential(1e6 / self.rate, count))


MODELS = (
    Model("two instances, a narrow dip", 2000, 2000, 100, instances=2),
    Model("two instances, light load", 800, 2000, 100, instances=2),
    Model("batches of 8 preferred", 2600, 2000, 100, instances=2, max_batch=16, preferred=(8,)),
    Model("a large fixed cost", 3000, 3000, 30, preferred=(8, 16, 32)),
    Model("batching does not pay", 600, 300, 1200, max_batch=16, preferred=(4, 8, 16)),
    Model("half and half", 1500, 1500, 250, max_batch=16, preferred=(4, 8, 16)),
    Model("near its limit", 2800, 1500, 250, preferred=(8, 16, 32)),
)


@lru_cache(maxsize=1)
def _long(model: Model) -> Any:
    return model.arrivals([TRUTH_SEED], TRUTH)


@lru_cache(maxsize=4096)
def true_p99_ms(model: Model, delay_us: int) -> float:
    """Of a simulation that is far longer than any sweep."""
    latencies = model.latencies_us(delay_us, _long(model), TRUTH // 100)
    return float(np.percentile(latencies, 99, method="inverted_cdf")) / 1000


def fine_delays() -> list[int]:
    """Where the true curve is known: every 50 µs up to 1.5 ms, then every 250."""
    return sorted({*range(0, 1500, 50), *range(1500, HIGHEST_US + 1, 250)})


@dataclass
class Bench:
    """What a sweep measures on: a turn is a simulation, and its files."""

    model: Model
    _setting: Setting = field(default_factory=lambda: Setting(()))

    def group(self, setting: Setting) -> str:  # noqa: ARG002  (a Bench is asked so)
        """Nothing is ever started."""
        return self.model.name

    def apply(self, setting: Setting, progress: Callable[[str], None]) -> int:
        """The setting of the next turn."""
        progress("nothing to load")
        self._setting = setting
        return 1

    def measure(
        self, rate_rps: float, seconds: float, seed: int, folder: Path, progress: Callable[[str], None]
    ) -> Run:
        """One turn."""
        progress("simulating")
        arrivals = self.model.arrivals([seed], round(rate_rps * seconds))
        simulation = self.model.simulation(self._setting.delay_us or 0)
        latencies = np.array(simulation.run(arrivals.tolist()))
        return write_turn(folder, arrivals, latencies, rate_rps, batch_sizes=simulation.batch_sizes)


def by_sweep(model: Model, seed: int, best_ms: float) -> dict[str, Any]:
    """The delay that a sweep finds to be the best, its requests and turns, and how long it would have taken.

    `taken` is what it says to take: the best that it could show to meet the objective (None: nothing).
    """
    wanted = Wanted(
        "toy", Objective(p99_ms=EASY * best_ms), (Axis(DELAY, low=0, high=HIGHEST_US),), MEMBER, model.rate,
        find_max=False, rounds=REPLICATES, seconds=REQUESTS / model.rate, settle_s=SETTLE / model.rate, budget_s=None,
        seed=seed + 1, keep_samples=False, made=MADE, written=lambda _: "", members=lambda _: MEMBER,
    )  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="tritonkit-sweep-cost-") as folder:
        journal = Journal.begin(Path(folder), {}, wanted.settle_s)
        sweeping = Sweeping(wanted, Bench(model), journal, lambda _: None)
        sweep = sweeping.run()
    standings = sweeping.standings()
    assert standings is not None  # noqa: S101  (a first round was measured)
    turns = sum(len(point.replicates) for point in sweep.points)
    return {
        "delay_us": standings.best.setting.delay_us or 0, "taken": (sweep.choice.settings or {}).get(DELAY),
        "requests": sweep.requests, "turns": turns,
        "minutes": (sweep.requests / model.rate + turns * APPLY_S) / 60,
    }  # fmt: skip


def by_grid(model: Model, seed: int) -> int:
    """The delay of 41 with the lowest p99 of all its requests, under the same arrivals."""
    rounds = [model.arrivals([seed, number], REQUESTS) for number in range(REPLICATES)]
    found = {}
    for delay in np.linspace(0, HIGHEST_US, GRID).astype(int).tolist():
        latencies = np.concatenate([model.latencies_us(delay, arrivals, SETTLE) for arrivals in rounds])
        found[delay] = float(np.percentile(latencies, 99, method="inverted_cdf"))
    return min(found, key=found.__getitem__)


def _task(task: tuple[str, int, int, float]) -> tuple[tuple[str, int, int], Any]:
    kind, place, number, best_ms = task
    model = MODELS[place]
    done: dict[str, Callable[[], Any]] = {
        "sweep": lambda: by_sweep(model, number, best_ms),
        "grid": lambda: by_grid(model, number),
        "truth": lambda: true_p99_ms(model, number),
    }
    return (kind, place, number), done[kind]()


def _all(processes: int, tasks: list[tuple[str, int, int, float]]) -> dict[tuple[str, int, int], Any]:
    found = {}
    with multiprocessing.Pool(processes) as pool:
        for count, (which, value) in enumerate(pool.imap_unordered(_task, tasks, chunksize=2)):
            found[which] = value
            if count % 50 == 0:
                sys.stderr.write(f"{count} of {len(tasks)}\n")
    return found


def simulated(seeds: int, grids: int, processes: int) -> list[dict[str, Any]]:
    """Every model with so many seeds by sweeps, and fewer by grids, which take most of the time."""
    places = range(len(MODELS))
    truth = _all(processes, [("truth", place, delay, 0.0) for place in places for delay in fine_delays()])
    best = [min(truth["truth", place, delay] for delay in fine_delays()) for place in places]
    tasks = [("sweep", place, seed, best[place]) for place in places for seed in range(seeds)]
    tasks += [("grid", place, seed, 0.0) for place in places for seed in range(grids)]
    chosen = _all(processes, tasks)
    delays = {
        (place, delay)
        for place in places
        for delay in (*(chosen["grid", place, s] for s in range(grids)),
                      *(chosen["sweep", place, s]["delay_us"] for s in range(seeds)))
    }  # fmt: skip
    rest = sorted(one for one in delays if ("truth", *one) not in truth)
    truth |= _all(processes, [("truth", place, delay, 0.0) for place, delay in rest])
    results = []
    for place, model in enumerate(MODELS):
        curve = {delay: value for (_, of, delay), value in sorted(truth.items()) if of == place}
        lowest = min(curve.values())
        sweeps = [chosen["sweep", place, seed] for seed in range(seeds)]
        by_grids = [chosen["grid", place, seed] for seed in range(grids)]
        results.append({
            "model": asdict(model), "best_ms": lowest, "best_us": min(curve, key=curve.__getitem__),
            "curve_ms": {str(delay): curve[delay] for delay in fine_delays()},
            "grid_requests": GRID * REPLICATES * (REQUESTS + SETTLE),
            "grid_minutes": GRID * REPLICATES * ((REQUESTS + SETTLE) / model.rate + APPLY_S) / 60,
            "sweep": [{**one, "behind": curve[one["delay_us"]] / lowest - 1} for one in sweeps],
            "grid": [{"delay_us": d, "behind": curve[d] / lowest - 1} for d in by_grids],
        })  # fmt: skip
    return results


def _near(runs: list[dict[str, Any]]) -> float:
    return sum(run["behind"] <= NEAR for run in runs) / len(runs)


def summary(one: dict[str, Any]) -> dict[str, float]:
    """Shares of seeds within NEAR, and what the sweep costs of the grid: requests, and time."""
    costs = [run["requests"] / one["grid_requests"] for run in one["sweep"]]
    return {
        "sweep_near": _near(one["sweep"]), "grid_near": _near(one["grid"]), "cost_median": statistics.median(costs),
        "cost_most": max(costs),
        "time_most": max(run["minutes"] for run in one["sweep"]) / one["grid_minutes"],
        "shown": sum(run["taken"] is not None for run in one["sweep"]) / len(one["sweep"]),
    }  # fmt: skip


def real(folder: Path) -> dict[str, Any]:
    """What a sweep of a real server took, and what a grid with the same turns would."""
    sweep = read_sweep(folder)
    turns = sum(len(point.replicates) for point in sweep.points)
    whole = GRID * sweep.rounds
    return {
        "pipeline": sweep.pipeline, "rate_rps": sweep.rate_rps, "seconds": sweep.seconds, "replicates": sweep.rounds,
        "turns": turns, "requests": sweep.requests, "minutes": sweep.wall_s / 60, "grid_turns": whole,
        "grid_requests": round(sweep.requests * whole / turns), "grid_minutes": sweep.wall_s / 60 * whole / turns,
        "points": [{"settings": p.settings, "p99_ms": p.p99_ms.model_dump() if p.p99_ms else None,
                    "turns": len(p.replicates)} for p in sweep.points],
        "choice": sweep.choice.model_dump(), "machine": sweep.made.machine,
    }  # fmt: skip


def draw(results: list[dict[str, Any]], file: Path) -> None:
    """Left: three true curves with what was chosen on them. Right: cost and success, by model."""
    figure, [curves, costs] = chart(2, (11, 4.4))
    for one, style in zip(results[:3], ("-", "--", "-."), strict=True):
        line = curves.plot([int(d) / 1000 for d in one["curve_ms"]], list(one["curve_ms"].values()), style, lw=1.8,
                           label=one["model"]["name"])[0]  # fmt: skip
        picked = [run["delay_us"] for run in one["sweep"]]
        at = np.interp(picked, [int(d) for d in one["curve_ms"]], list(one["curve_ms"].values()))
        curves.plot(np.array(picked) / 1000, at, "o", ms=4, alpha=0.35, color=line.get_color())
    curves.set_xlim(-0.05, 4)
    curves.set_ylim(3, 8)
    curves.set_xlabel("queue delay, ms")
    curves.set_ylabel("true p99, ms")
    curves.set_title("What sweeps found (dots), on the true curves")
    curves.legend()
    names = [one["model"]["name"] for one in results]
    told = [summary(one) for one in results]
    rows = np.arange(len(names))
    costs.barh(rows, [100 * one["cost_median"] for one in told], height=0.6, color="C0", alpha=0.75)
    costs.hlines(rows, 0, [100 * one["cost_most"] for one in told], color="0.2", lw=1.2)
    costs.axvline(20, color="0.3", lw=1, ls=":")
    for row, one in zip(rows, told, strict=True):
        costs.text(24, row, f"within 2 %: sweep {one['sweep_near']:.0%}, grid {one['grid_near']:.0%}", va="center",
                   fontsize=9)  # fmt: skip
    costs.set_yticks(rows, labels=names)
    costs.invert_yaxis()
    costs.set_xlim(0, 54)
    costs.set_xticks([0, 5, 10, 15, 20])
    costs.set_xlabel("requests, % of the grid's: median, lines to the most")
    costs.set_title("Cost, and how often within 2 % of the best")
    costs.grid(visible=False, axis="y")
    save(figure, file)


def table(results: list[dict[str, Any]]) -> None:
    """The page's."""
    rows = []
    for one in results:
        told = summary(one)
        behind = sorted(run["behind"] for run in one["sweep"])
        rows.append([
            one["model"]["name"], f"{one['best_us'] / 1000:.2f}", f"{told['sweep_near']:.0%}",
            f"{told['grid_near']:.0%}", f"{told['cost_median']:.1%}", f"{told['cost_most']:.1%}",
            f"{told['time_most']:.1%}", f"{behind[int(0.9 * (len(behind) - 1))]:.1%}", f"{told['shown']:.0%}",
        ])  # fmt: skip
    put_table("sweep_cost", ["model", "best delay, ms", "sweep within 2 %", "grid within 2 %",
                             "requests, median", "requests, most", "time, most",
                             "9 of 10 sweeps are behind by at most", "one is shown to pass"], rows)  # fmt: skip


def main() -> None:
    """Simulates, or takes a real sweep in; writes everything again."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--grid-seeds", type=int, default=6)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--real", type=Path)
    parser.add_argument("--draw", action="store_true", help="the table and the chart of the results there are")
    asked = parser.parse_args()
    file = HERE / "sweep_cost.json"
    result = json.loads(file.read_text()) if file.is_file() else {}
    if asked.real is not None:
        result["real"] = real(asked.real)
    elif not asked.draw:
        result |= {
            "command": f"python benchmarks/sweep_cost.py --seeds {asked.seeds} --grid-seeds {asked.grid_seeds}",
            "seeds": asked.seeds, "grid_seeds": asked.grid_seeds,
            "requests_a_turn": REQUESTS, "replicates": REPLICATES, "grid": GRID, "machine": machine("numpy"),
            "simulated": simulated(asked.seeds, asked.grid_seeds, asked.processes),
        }  # fmt: skip
    write_result("sweep_cost", {key: value for key, value in result.items() if key != "format"}, indent=1)
    table(result["simulated"])
    draw(result["simulated"], HERE / "sweep_cost.svg")


if __name__ == "__main__":
    main()
