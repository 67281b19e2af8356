"""Open-loop load over HTTP and gRPC at once, through the load test's own senders, and what became of each request."""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from generator.plan import Plan
from generator.project import Project
from loadtest.samples.file import read_samples
from loadtest.samples.record import Outcome, Samples
from loadtest.sender.orders import Orders, Protocol
from loadtest.sender.process import Sending, start_together
from loadtest.traffic.arrivals import draw
from loadtest.traffic.payloads import Payloads, payloads_of

ROOT = Path(__file__).parents[2]
DEADLINE_S = 30.0
SETTLED_S = 12.0  # after a run that is cut short: what was due in it has been answered by then
PATIENT = "patient"
PATIENT_SHARE = 0.01
PATIENT_S = (0.2, 0.5, 1.0, 2.0, 3.0)


@dataclass(frozen=True)
class Traffic:
    """What is sent over each protocol, one in a hundred of it a long request."""

    rate_rps: float
    duration_s: float
    seed: int

    @property
    def mix(self) -> dict[str, float]:
        """The share of each pipeline."""
        return {"digits": 1 - PATIENT_SHARE, PATIENT: PATIENT_SHARE}


@dataclass(frozen=True)
class Came:
    """What came of the requests of one protocol."""

    protocol: str
    samples: Samples
    errors: Mapping[str, int]

    @property
    def lost(self) -> Samples:
        """Those that were not answered with a result."""
        found: Samples = self.samples[self.samples["outcome"] != Outcome.OK]
        return found

    def p99_ms(self, from_s: float, to_s: float, pipeline: int = 0) -> float | None:
        """Of the requests of a pipeline that were due within; what was lost counts as the deadline."""
        due = self.samples["due_us"] / 1e6
        chosen = self.samples[(due >= from_s) & (due < to_s) & (self.samples["pipeline"] == pipeline)]
        if not len(chosen):
            return None
        latency = np.where(chosen["outcome"] == Outcome.OK, chosen["latency_us"], DEADLINE_S * 1e6)
        return float(np.percentile(latency, 99)) / 1000


class Loading:
    """Senders that are under way; a context manager that ends them."""

    def __init__(self, traffic: Traffic, plan: Plan, root: Path, addresses: Mapping[Protocol, str], folder: Path):
        self._traffic, self._stack = traffic, ExitStack()
        payloads = {"digits": payloads_of(plan, root, traffic.seed), PATIENT: _patient_payloads()}
        counts = {name: len(of) for name, of in payloads.items()}
        self._sendings: dict[str, Sending] = {}
        for number, (protocol, address) in enumerate(addresses.items()):
            schedule = draw(
                "poisson",
                traffic.rate_rps,
                traffic.duration_s,
                traffic.seed + number,
                mix=traffic.mix,
                payloads=counts,
            )
            orders = Orders(protocol, "raw", address, tuple(traffic.mix), round(DEADLINE_S * 1e6), connections=16)
            sending = Sending(orders, schedule, payloads, folder / "load", number=number)
            self._sendings[protocol] = self._stack.enter_context(sending)

    def __enter__(self) -> Loading:
        self.began_ns = start_together(list(self._sendings.values()))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def seconds(self) -> float:
        """Since the first request could be due."""
        return (time.monotonic_ns() - self.began_ns) / 1e9

    def finish(self, at_s: float | None = None) -> list[Came]:
        """Until every request is answered, or its deadline over: all of them, or those due before `at_s`."""
        if at_s is None:
            at_s = self._traffic.duration_s
            for sending in self._sendings.values():
                sending.wait(max(1.0, at_s - self.seconds + 2 * DEADLINE_S + 30))
        else:
            time.sleep(max(0.0, at_s + SETTLED_S - self.seconds))
        errors = {}
        for protocol, sending in self._sendings.items():
            sending.stop()
            errors[protocol] = sending.wait(0).errors
        return [
            Came(protocol, _due_before(at_s, read_samples(sending.samples_path)[1]), errors[protocol])
            for protocol, sending in self._sendings.items()
        ]


def _due_before(at_s: float, samples: Samples) -> Samples:
    found: Samples = samples[samples["due_us"] < at_s * 1e6].copy()
    return found


def plan_and_tree(root: Path) -> tuple[Plan, Mapping[str, bytes]]:
    """The plan of specs/digits.yaml, as one model, for the embedded server; and the files of its repository."""
    from generator.workspace import open_workspace, render_trees

    text = (root / "specs" / "digits.yaml").read_text()
    if text.count("layout: ensemble") != 1:
        raise SystemExit("specs/digits.yaml no longer says `layout: ensemble` once")
    with tempfile.TemporaryDirectory() as folder:
        spec = Path(folder) / "digits.yaml"
        spec.write_text(text.replace("layout: ensemble", "layout: fused"))
        work = open_workspace(Project(root), [spec], "embedded")
        work.stop_on_errors()
        [plan] = work.plans["embedded"]
        [tree] = render_trees(work)
        return plan, tree.files


def _patient_payloads() -> Payloads:
    requests = tuple({"seconds": ("FP32", np.array([seconds], np.float32))} for seconds in PATIENT_S)
    return Payloads("seconds to wait", requests, (1,) * len(requests))


def told(came: Sequence[Came]) -> dict[str, Any]:
    """Counts of all protocols, for a result."""
    return {
        each.protocol: {
            "requests": len(each.samples),
            "lost": len(each.lost),
            "outcomes": {Outcome(int(kind)).name.lower(): count for kind, count in _counted(each)},
            "errors": dict(each.errors),
        }
        for each in came
    }


def _counted(came: Came) -> list[tuple[int, int]]:
    return sorted(Counter(map(int, came.samples["outcome"])).items())
