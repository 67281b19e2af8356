"""One spec in each of its layouts on one server: compared, measured, and judged."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generator.problems import UserError
from generator.project import EMBEDDED, Project

if TYPE_CHECKING:
    from deploy.embedded.server import EmbeddedServer
    from generator.layouts import LaidOut, Layouts
    from generator.plan import Plan
    from loadtest.layouts.answers import Agreement
    from loadtest.layouts.data import Data
    from loadtest.layouts.turn import Mode, Served, Turn
    from loadtest.layouts.verdict import Verdict

FORMAT = 1
PACKAGES = ("nvidia-pytriton", "onnxruntime", "numpy", "opencv-python-headless", "tritonclient", "tritonkit")
SINGLE, LATENCY, CAPACITY = "single", "latency", "capacity"
WARM_S = 0.5  # or as long as a turn
GONE_S = 3.0  # within this a server that has closed its connections has ended, or lives
LOOP = "closed: the next request leaves when one is answered. Capacity, no promise of a latency under load."


@dataclass(frozen=True)
class Asked:
    """How to measure. `batch` items a request, `in_flight` of them when capacity is measured."""

    rounds: int
    seconds: float
    in_flight: int
    batch: int
    tolerance: float
    seed: int


@dataclass(frozen=True)
class Measured:
    """What was found. `configs` are the models' configurations as the server reports them."""

    pipeline: str
    layouts: Layouts
    data: Data
    agreement: Agreement
    under_load: Mapping[str, float]
    modes: tuple[Mode, Mode]
    turns: tuple[Turn, ...]
    verdicts: tuple[Verdict, Verdict]
    configs: Mapping[str, Any]
    made: Mapping[str, Any] = field(default_factory=dict)

    def of(self, layout: str, mode: str) -> list[Turn]:
        """Its turns in one mode."""
        return [turn for turn in self.turns if (turn.layout, turn.mode) == (layout, mode)]

    def as_json(self) -> dict[str, Any]:
        """Versioned, with what it takes to repeat it."""
        from loadtest.layouts.verdict import breakdown_of, median_of

        layouts = {}
        for name, laid_out in self.layouts.found.items():
            one, many = self.of(name, LATENCY), self.of(name, CAPACITY)
            layouts[name] = {
                "pipeline": laid_out.plan.name,
                "instances": {model.name: model.instance_count() for model in laid_out.plan.models},
                "latency_us": asdict(median_of([turn.median_us for turn in one])),
                "items_per_s": asdict(median_of([turn.items_per_s for turn in many])),
                "server_cpu_us": asdict(median_of([turn.server_cpu_us for turn in many])),
                "client_cpu_us": asdict(median_of([turn.client_cpu_us for turn in many])),
                "stages": {LATENCY: asdict(breakdown_of(one)), CAPACITY: asdict(breakdown_of(many))},
            }
        return {
            "format": FORMAT, "pipeline": self.pipeline, "own_layout": self.layouts.own, "loop": LOOP,
            "verdicts": [asdict(verdict) for verdict in self.verdicts],
            "layouts": layouts, "left_out": dict(self.layouts.left_out),
            "data": {"source": self.data.source, "items": len(self.data.items)},
            "agreement": {**asdict(self.agreement), "bit_for_bit": self.agreement.bit_for_bit,
                          "largest_difference_under_load": dict(self.under_load)},
            "modes": [asdict(mode) for mode in self.modes], "turns": [asdict(turn) for turn in self.turns],
            "configs": dict(self.configs), **self.made,
        }  # fmt: skip


def measure_layouts(spec: Path, project: Project, asked: Asked, progress: Callable[[str], None]) -> Measured:
    """Renders `spec` in every layout it has, serves all of them from one process, compares and measures them.

    Nothing is left behind, whatever happens. Raises ProblemsError or UserError for what a user can mend;
    AnswersDifferError when two layouts answer differently.
    """
    from deploy.embedded.needs import needs_of
    from deploy.embedded.server import EmbeddedServer
    from generator.layouts import in_layouts
    from generator.workspace import open_workspace
    from generator.write import write
    from loadtest.layouts.data import data_of

    progress("rendering")
    layouts = in_layouts(open_workspace(project, [spec], EMBEDDED))
    if len(layouts.found) < 2:
        said = "; ".join(f"`{name}`: {why}" for name, why in layouts.left_out.items())
        raise UserError(f"{spec} has one layout, so there is nothing to compare: {said}")
    plans = [laid_out.plan for laid_out in layouts.found.values()]
    if asked.batch > max(1, plans[0].max_batch_size):
        raise UserError(
            f"a request of {asked.batch} items is refused: `batching.max_batch_size` is {plans[0].max_batch_size}",
            "give a smaller --batch",
        )
    data = data_of(plans[0], project.root, asked.seed)
    with tempfile.TemporaryDirectory(prefix="tritonkit-layouts-") as folder:
        repository = Path(folder) / "repository"
        files = {path: content for laid_out in layouts.found.values() for path, content in laid_out.files.items()}
        write(files, repository, owner_of=lambda _: "layouts")
        progress("starting the server")
        server = EmbeddedServer(repository, needs_of(plans), on_progress=progress)
        try:
            server.start()
            try:
                found = _measured(server, layouts, data, asked, progress)
            except OSError as error:
                raise _gone(server, error) from error
            return replace(found, made=_made(spec, asked))
        finally:
            server.stop(grace_s=0)  # nothing is in flight


def _gone(server: EmbeddedServer, error: OSError) -> UserError:
    """Why the server does not answer any more: its own end, as soon as that is known."""
    with suppress(TimeoutError):
        server.wait(GONE_S)
    return server.failure or UserError(f"the server does not answer any more: {error}")


def _measured(
    server: EmbeddedServer, layouts: Layouts, data: Data, asked: Asked, progress: Callable[[str], None]
) -> Measured:
    from loadtest.cpu import family
    from loadtest.layouts.answers import agree
    from loadtest.layouts.turn import Checker, Client, Mode, in_turns, one_by_one
    from loadtest.layouts.verdict import capacity_verdict, latency_verdict

    single = Mode(SINGLE, 1, 1)
    modes = Mode(LATENCY, asked.batch, 1), Mode(CAPACITY, asked.batch, asked.in_flight)
    address = server.http_address
    served = [served_of(address, laid_out, data, (single, *modes)) for laid_out in layouts.found.values()]
    progress(f"comparing the answers to {data.source}")
    answers = {one.layout: one_by_one(address, one, single) for one in served}
    agreement = agree(answers, asked.tolerance)
    first = served[0].layout
    client = Client(address, family(server.pid), Checker(first, answers[first], asked.tolerance))
    for one in served:
        for mode in modes:
            progress(f"warming up {one.layout}")
            client.turn(one, mode, 0, max(WARM_S, asked.seconds), asked.seed)
    turns: list[Turn] = []
    for number, one, mode in in_turns(asked.rounds, served, modes, asked.seed):
        if not turns or turns[-1].round != number:
            progress(f"round {number} of {asked.rounds}")
        turns.append(client.turn(one, mode, number, asked.seconds, asked.seed + number))
    preferred = list(dict.fromkeys([layouts.own, *layouts.found]))
    verdicts = latency_verdict(turns, modes[0], preferred), capacity_verdict(turns, modes[1], preferred)
    [plan] = {laid_out.plan.name.removesuffix(f"_{name}") for name, laid_out in layouts.found.items()}
    models = [name for one in served for name in dict.fromkeys([one.pipeline, *one.models])]
    return Measured(
        plan, layouts, data, agreement, client.checker.largest, modes, tuple(turns), verdicts,
        {name: _config(address, name) for name in models},
    )  # fmt: skip


def served_of(address: str, laid_out: LaidOut, data: Data, modes: Sequence[Mode]) -> Served:
    """The requests of each mode to a layout that the server at `address` (`host:port`) has."""
    from loadtest.layouts.data import requests_of, tensors_of
    from loadtest.layouts.turn import Served
    from loadtest.raw_http import triton_request

    plan = laid_out.plan
    requests = {mode.name: requests_of(len(data.items), mode.items) for mode in modes}
    payloads = {
        name: [triton_request(address, plan.name, tensors_of(plan, [data.items[i] for i in items])) for items in of]
        for name, of in requests.items()
    }
    models = tuple(step.model for step in plan.ensemble.steps) if plan.ensemble else (plan.models[0].name,)
    return Served(laid_out.layout, plan.name, models, _is_chain(plan), plan.max_batch_size > 0, payloads, requests)


def _is_chain(plan: Plan) -> bool:
    """Whether every model takes something of the one before it, so that no two run at the same time."""
    steps = plan.ensemble.steps if plan.ensemble else ()
    return all(set(one.outputs.values()) & set(after.inputs.values()) for one, after in pairwise(steps))


def _config(address: str, model: str) -> Any:
    """As the server has it. Raises OSError or ValueError."""
    from loadtest.run.plain_http import ask

    return ask(address, f"/v2/models/{model}/config", timeout_s=5)


def _made(spec: Path, asked: Asked) -> dict[str, Any]:
    """What is needed to repeat it."""
    from loadtest.machine import machine

    return {
        "spec": str(spec), "spec_sha256": hashlib.sha256(spec.read_bytes()).hexdigest(), **asdict(asked),
        "machine": machine(*PACKAGES),
    }  # fmt: skip
