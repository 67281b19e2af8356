"""The demonstration: a spec rendered, served, its held-out data classified over both protocols; and a short sweep."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from generator.extras import remedy
from generator.gate_set import Encoding, GateSet
from generator.plan import Plan
from generator.problems import UserError
from generator.project import Project

if TYPE_CHECKING:
    import numpy as np

    from generator.gate_set import Encoding, GateSet
    from loadtest.results.sweep import Sweep
    from tritonkit.client.answer import Answer

FORMAT = 1
ENCODINGS: tuple[Encoding, ...] = ("png", "jpeg")
PASSES: tuple[tuple[Literal["http", "grpc"], Encoding], ...] = (("http", "png"), ("grpc", "png"), ("grpc", "jpeg"))
IN_FLIGHT = 32
SWEPT = "max_queue_delay_us=0,5000"
SWEEP_SECONDS, SWEEP_BUDGET_S = 4.0, 55.0  # of a turn, and of the sweep, which ends within a minute
WARM_UP = 64  # requests whose latency counts for nothing: the first ones pay for connections and page faults


@dataclass(frozen=True)
class Pass:
    """The held-out data once through the server. Closed loop: a request leaves when an answer has come."""

    protocol: Literal["http", "grpc"]
    encoding: str
    requests: int
    errors: int
    accuracy: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    mean_batch: float
    mean_batch_by_model: dict[str, float]


@dataclass(frozen=True)
class Demonstration:
    """What was seen, and what is needed to see it again."""

    pipeline: str
    floor: float
    accuracy_alone: float
    passes: tuple[Pass, ...]
    made: dict[str, Any]

    @property
    def holds(self) -> bool:
        """Whether every request was answered, and lossless images were classified as well as without a server."""
        lossless = [p for p in self.passes if p.encoding == "png"]
        return all(p.errors == 0 for p in self.passes) and all(
            p.accuracy == self.accuracy_alone and p.accuracy >= self.floor for p in lossless
        )

    def as_json(self) -> dict[str, Any]:
        """Versioned, for `build/demo.json`."""
        return {"format": FORMAT, "holds": self.holds, **asdict(self)}


def demonstrate(spec: Path, project: Project, progress: Callable[[str], None]) -> Demonstration:
    """Renders `spec`, serves it embedded, classifies its gate set, stops the server.

    Raises ProblemsError or UserError for what a user can mend.
    """
    from deploy.embedded.needs import needs_of
    from deploy.embedded.server import EmbeddedServer
    from generator.engine import Alone
    from generator.gate_set import read_gate_set
    from generator.lint.specs import checked_trees
    from generator.workspace import open_workspace
    from generator.write import write

    work = open_workspace(project, [spec], "embedded")
    work.stop_on_errors()
    [plan] = work.plans["embedded"]
    if plan.accuracy_data is None or plan.accuracy_floor is None:
        raise UserError(f"{plan.spec_file} names no gate set", "add `accuracy: {data: …, floor: …}` to its model")
    if importlib.util.find_spec("onnxruntime") is None:  # the server's models run in it, and so does what is compared
        raise UserError("the demonstration needs ONNX Runtime, which is not installed here", remedy("embedded,load"))
    [tree] = checked_trees(work)
    repository = project.root / "build" / "demo" / "model_repository"
    write(tree.files, repository, owner_of=tree.owners.__getitem__, prune=True, whole=True)

    data = project.path(plan.accuracy_data)
    # JPEG loses some of an image, so its accuracy is stated apart.
    images = any(tensor.dtype == "STRING" for tensor in plan.inputs)
    gates = {
        encoding: read_gate_set(data, plan.inputs, encoding) for encoding in (ENCODINGS if images else ENCODINGS[:1])
    }
    progress("classifying without a server")
    with Alone(plan, tree.files) as alone:
        accuracy_alone = _accuracy_alone(alone, plan, gates["png"])
    server = EmbeddedServer(
        repository, needs_of([plan]), log_path=project.root / "build" / "demo" / "server.log", on_progress=progress
    )
    progress("starting the server")
    with server:
        addresses = {"http": server.http_address, "grpc": server.grpc_address}
        passes = []
        for protocol, encoding in PASSES:
            if encoding in gates:
                progress(f"{len(gates[encoding].items)} items ({encoding}) over {protocol}")
                passes.append(_pass(plan, addresses, protocol, encoding, gates[encoding]))
        progress("stopping the server")
    return Demonstration(plan.name, plan.accuracy_floor, accuracy_alone, tuple(passes), _made(spec))


def short_sweep(spec: Path, project: Project, progress: Callable[[str], None]) -> tuple[Sweep, Path]:
    """Two delays under open-loop load on a server of their own, within a minute: the sweep, and its report's path.

    Raises ProblemsError or UserError for what a user can mend.
    """
    from tritonkit.load_sweep import Options, prepare, run_sweep, write_report

    command = f"tritonkit load sweep {spec} --over {SWEPT} --seconds {SWEEP_SECONDS:g} --rounds 3"
    options = Options(
        spec, (SWEPT,), seconds=SWEEP_SECONDS, rounds=3, budget=SWEEP_BUDGET_S,
        command=f"{command} --budget {SWEEP_BUDGET_S:g}",
    )  # fmt: skip
    prepared = prepare(options, project)
    return run_sweep(prepared, options.seed, progress), write_report(prepared.folder)


def _answer_output(plan: Plan) -> str:
    """The output that is compared with the labels: `label`, or the first."""
    names = [t.name for t in plan.outputs]
    return "label" if "label" in names else names[0]


def _accuracy_alone(alone: Any, plan: Plan, gate: GateSet) -> float:
    from generator.gate_set import top1

    answers: list[np.ndarray[Any, Any] | None] = []
    size = max(1, plan.max_batch_size)
    for start in range(0, len(gate.items), size):
        items = gate.items[start : start + size]
        tensors = {t.name: _stack([item[t.name] for item in items]) for t in plan.inputs}
        batched = plan.max_batch_size > 0
        batch = alone.run(tensors if batched else {name: value[0] for name, value in tensors.items()})
        values = batch.outputs[_answer_output(plan)]
        values = values if batched else values[None]
        answers += [None if index in batch.failed else values[index] for index in range(len(items))]
    return top1(answers, gate.labels)


def _stack(values: Sequence[Any]) -> np.ndarray[Any, Any]:
    import numpy as np

    if isinstance(values[0], bytes):
        return np.array([[value] for value in values], dtype=np.object_)
    return np.stack(values)


def _pass(
    plan: Plan, addresses: Mapping[str, str], protocol: Literal["http", "grpc"], encoding: str, gate: GateSet
) -> Pass:
    from generator.gate_set import top1
    from loadtest.server_statistics import mean_batches, read_counts, read_counts_after
    from loadtest.statistics import percentiles
    from tritonkit import Pipeline
    from tritonkit.client.contract import Contract

    contract, address = Contract.of_plan(plan), addresses[protocol]
    names = [model.name for model in plan.models]
    with Pipeline(plan.name, address, protocol=protocol, in_flight=IN_FLIGHT, contract=contract) as client:
        start = read_counts(addresses["http"])
        warm_up = gate.items[:WARM_UP]
        client.infer(warm_up)
        before = read_counts_after(addresses["http"], start, dict.fromkeys(names, len(warm_up)))
        answers: list[Answer] = client.infer(gate.items)
        after = read_counts_after(addresses["http"], before, dict.fromkeys(names, len(answers)))
    times = percentiles([answer.latency_us for answer in answers])
    batches = {name: round(mean, 2) for name, mean in mean_batches(before, after).items()}
    engine = next((m.name for m in plan.models if m.key == "engine"), names[-1])
    output = _answer_output(plan)
    return Pass(
        protocol=protocol,
        encoding=encoding,
        requests=len(answers),
        errors=sum(not answer.ok for answer in answers),
        accuracy=top1([answer.outputs[output] if answer.ok else None for answer in answers], gate.labels),
        p50_ms=times.p50_ms,
        p95_ms=times.p95_ms,
        p99_ms=times.p99_ms,
        mean_batch=batches[engine],
        mean_batch_by_model={name: batches[name] for name in names if name in batches},
    )


def _made(spec: Path) -> dict[str, Any]:
    """What is needed to repeat it."""
    return {
        "command": "make demo",
        "spec_sha256": hashlib.sha256(spec.read_bytes()).hexdigest(),
        "in_flight": IN_FLIGHT,
        "loop": "closed",
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "versions": {n: version(n) for n in ("tritonkit", "nvidia-pytriton", "tritonclient", "onnxruntime", "numpy")},
    }
