"""Claim: where a request's time in a model goes is known part by part; by clocks in the model, on one GPU.

    python3.11 benchmarks/gpu_parts.py --graph resnet50.fp32.onnx --folded folded.plan --out FILE
    python3.11 benchmarks/gpu_parts.py --device cpu --out FILE      the same steps without a GPU, in half a minute

On a machine with a GPU and TensorRT, with what gpu_served.py serves: an engine in each instance (`own`), and one in a
process that the instances share (`shared`). One request in flight, in both transports: the client's time, the
server's own counts, and the parts of `execute`; the same model without clocks, a model that only answers, and the
engine alone are measured in the same interleaved rounds. Then under load, in shared memory: what each part takes an
image and instance, and how long an instance is outside of `execute`. Every distinct answer is compared. FILE is
written after each step; it ends after --budget seconds, and what a last turn takes.
"""

from __future__ import annotations

import argparse
import faulthandler
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "python_backend"))

import numpy as np
from engines_gpu_plans import Results, interval
from gpu_served import BEST, PIXELS, Run, facts
from gpu_served_choices import Choice, of_choice
from gpu_served_clients import RAMP_S, Clients, default_count
from gpu_served_models import Model, as_json, make_repository, say
from gpu_served_reference import Alone
from gpu_served_turns import TRANSPORTS, Load, Serving, in_turns

from deploy.embedded.server import EmbeddedServer

Array = np.ndarray[Any, Any]
Found = Mapping[str, Any]
# Few clocks, so that they cost little: none of them is read more than twice an execution, however many requests it
# has. What is between two of them is a part too: taking inputs is what comes before the program, making responses
# what comes after it, and copying rows in what is between taking a lane and starting it.
CLOCKED = '''"""The rendered model, with clocks at the ends of the parts of `execute`."""

import mmap
import os
import struct
from time import perf_counter_ns

from tritonkit_runtime import adapter
from tritonkit_runtime.buffered import lane, ring

ROW, MOST = struct.Struct("<{fields}q"), {most}
TAKE, COPY, START, WAIT = range(4)
SPENT, TAKEN = [0, 0, 0, 0], [0]


def clocked(owner, name, note):
    """A function that tells `note` when it began and ended."""
    plain = getattr(owner, name)

    def timed(*given, **more):
        begin = perf_counter_ns()
        try:
            return plain(*given, **more)
        finally:
            note(begin, perf_counter_ns())

    setattr(owner, name, timed)


def took(begin, end):
    SPENT[TAKE] += end - begin
    TAKEN[0] = end


def started(begin, end):
    SPENT[COPY] += begin - TAKEN[0]
    SPENT[START] += end - begin


def waited(begin, end):
    SPENT[WAIT] += end - begin


def ran_elsewhere(begin, end):
    SPENT[WAIT] += end - begin
    SPENT[START] -= end - begin


clocked(ring.Ring, "take", took)
clocked(ring.Ring, "start", started)
clocked(lane.Lane, "wait", waited)
if {shared!r}:
    from tritonkit_runtime.engine_process import worker

    clocked(worker.RemoteEngine, "run", ran_elsewhere)


class TritonPythonModel(adapter.TritonPythonModel):
    """Called by the server."""

    def initialize(self, args):
        """As it is; what was seen is written to memory that is a file, whose pages are there already."""
        super().initialize(args)
        self._number, self._asked, self._answered = 0, 0, 0
        with open(f"{file}.{{os.getpid()}}", "w+b") as file:
            file.write(bytes(ROW.size * MOST))
            file.flush()
            self._rows = mmap.mmap(file.fileno(), 0)

    def execute(self, requests):
        """As it is."""
        SPENT[:] = 0, 0, 0, 0
        begin = perf_counter_ns()
        try:
            return super().execute(requests)
        finally:
            row = begin, perf_counter_ns(), len(requests), self._asked, self._answered, *SPENT
            ROW.pack_into(self._rows, self._number % MOST * ROW.size, *row)
            self._number += 1

    def _answers(self, tensors):
        self._asked = perf_counter_ns()
        try:
            return super()._answers(tensors)
        finally:
            self._answered = perf_counter_ns()
'''
FIELDS = ("begin", "end", "requests", "asked", "answered", "take", "copy", "start", "wait")
MOST = 1 << 14  # executions of an instance that are kept: more than all turns have
PARTS = ("all", "inputs_and_lane", "copying_in", "launching", "waiting", "response", "rest")
OWN, SHARED = "own", "shared"


@dataclass(frozen=True)
class Pace:
    """How long turns last (seconds), and how many rounds. `alone_s`: 300 requests of 1.5 ms after the ramp."""

    alone_s: float = 0.75
    loaded_s: float = 1.0
    rounds: int = 3
    batches: int = 300  # of the engine alone
    kept_s: float = 10.0  # of the budget, for the turns under load


@dataclass(frozen=True)
class Setting:
    """Instances and requests in flight; `largest`: the largest batch of instances that share an engine (0: none)."""

    instances: int
    largest: int
    in_flight: int

    @classmethod
    def of(cls, text: str) -> Setting:
        """From `4@192` or `12x32@256`. ValueError."""
        found = re.fullmatch(r"(\d+)(?:x(\d+))?@(\d+)", text)
        if found is None:
            raise ValueError(f"{text!r} is no setting; write 4@192 or 12x32@256: instances, their batch, in flight")
        return cls(int(found[1]), int(found[2] or 0), int(found[3]))


def clocks_file(folder: Path, model: Model) -> Path:
    """Where instances of a model with clocks write what they saw, with their process ids behind it."""
    return folder / f"{model.name}.clocks"


def set_clocks(repository: Path, folder: Path, model: Model) -> None:
    """Puts the model with clocks in the place of the rendered one."""
    text = CLOCKED.format(
        fields=len(FIELDS), most=MOST, shared="process" in model.buffers, file=clocks_file(folder, model)
    )
    (repository / model.name / "1" / "model.py").write_text(text)


@contextmanager
def serving(run: Run, models: Sequence[Model], clocked: Sequence[Model]) -> Iterator[Serving]:
    """A server with these models, some of them with clocks."""
    begin = time.monotonic()
    made = make_repository(models, run.folder / "parts", run.on_gpu)
    for model in clocked:
        set_clocks(made.path, run.folder, model)
    with ExitStack() as stack:
        server = EmbeddedServer(made.path, made.needs, ready_timeout_s=120, on_progress=say)
        stack.callback(server.stop, grace_s=0)
        server.start()
        told = {"models": {model.name: model.instances for model in models}, "start_s": time.monotonic() - begin}
        run.results.step("server", lambda: told)
        yield Serving(server, run.clients, stack)


def executions(file: Path) -> Array:
    """What one instance saw, [executions, FIELDS] in nanoseconds, in the order of time."""
    rows = np.fromfile(file, np.int64).reshape(-1, len(FIELDS))
    rows = rows[rows[:, 0] > 0]
    return rows[np.argsort(rows[:, 0])]


def page_faults(file: Path) -> int:
    """Of the instance that writes this file, since it began: those that no disk was needed for."""
    return int(Path(f"/proc/{file.suffix[1:]}/stat").read_text().rpartition(")")[2].split()[7])


def within(instances: Sequence[Array], after_ns: int, seconds: float) -> list[Array]:
    """Those of a turn that was ordered at `after_ns`, the ramp left out. ValueError where an instance has none."""
    first = min((rows[0, 0] for rows in (all_[all_[:, 0] >= after_ns] for all_ in instances) if len(rows)), default=0)
    begin, end = first + RAMP_S * 1e9, first + seconds * 1e9
    found = [rows[(rows[:, 0] >= begin) & (rows[:, 1] <= end)] for rows in instances]
    busy = [rows for rows in found if len(rows) > 1]
    if not first or not busy:
        raise ValueError("the clocks of no instance saw anything in this turn")
    return busy


def parts_us(rows: Array) -> dict[str, Array]:
    """PARTS of each execution, in microseconds; the rest is the Python between the others."""
    of = dict(zip(FIELDS, rows.T, strict=True))
    found = {
        "all": of["end"] - of["begin"],
        "inputs_and_lane": of["asked"] - of["begin"] + of["take"],
        "copying_in": of["copy"], "launching": of["start"], "waiting": of["wait"],
        "response": of["end"] - of["answered"],
    }  # fmt: skip
    found["rest"] = found["all"] - sum(value for name, value in found.items() if name != "all")
    return {name: found[name] / 1000 for name in PARTS}


def an_image(instances: Sequence[Array]) -> dict[str, Any]:
    """Of instances under load: microseconds an image and instance by part, and outside of `execute`."""
    totals, outside_us = dict.fromkeys(PARTS, 0.0), 0.0
    for rows in instances:
        # The time before an execution belongs to it; that of the first one is not known.
        outside_us += float((rows[1:, 0] - rows[:-1, 1]).sum()) / 1000
        for name, values in parts_us(rows[1:]).items():
            totals[name] += float(values.sum())
    images = sum(int(rows[1:, 2].sum()) for rows in instances)
    batches = sum(len(rows) - 1 for rows in instances)
    whole = totals["all"] + outside_us
    return {
        "us_an_image": {"outside": outside_us / images} | {name: us / images for name, us in totals.items()},
        "share": {"outside": outside_us / whole} | {name: us / whole for name, us in totals.items()},
        "mean_batch": images / batches, "executions": batches, "instances": len(instances),
    }  # fmt: skip


@dataclass(frozen=True)
class Bench:
    """A server, and the models on it that have clocks, by name."""

    run: Run
    serving: Serving
    clocked: Mapping[str, Model]

    def turn(self, load: Load, in_flight: int, seconds: float) -> tuple[dict[str, Any], list[Array]]:
        """A turn, and what the instances of a model with clocks saw in it."""
        after_ns = time.perf_counter_ns()
        turn = self.serving.turn(load, in_flight, seconds)
        words = ("items_per_s", "p50_us", "p99_us", "requests", "server", "cores")
        told = {word: turn[word] for word in words}
        if load.model not in self.clocked:
            return told, []
        return told, within([executions(one) for one in self._files(load)], after_ns, seconds)

    def _files(self, load: Load) -> list[Path]:
        return list(self.run.folder.glob(f"{clocks_file(self.run.folder, self.clocked[load.model]).name}.*"))

    def alone(self, load: Load, seconds: float) -> dict[str, Any]:
        """One request in flight: medians of the parts."""
        told, instances = self.turn(load, 1, seconds)
        if not instances:
            return told
        found = parts_us(np.concatenate(instances))
        medians = {name: float(np.median(values)) for name, values in found.items()}
        return {**told, "executions": len(found["all"]), "parts_us": medians}

    def loaded(self, load: Load, in_flight: int, seconds: float) -> dict[str, Any]:
        """So many in flight: what an image takes of an instance."""
        before = sum(map(page_faults, self._files(load)))
        told, instances = self.turn(load, in_flight, seconds)
        faults = sum(map(page_faults, self._files(load))) - before
        return {**told, **an_image(instances), "page_faults_an_image": faults / told["requests"]}


def one_request(bench: Bench, engine: Alone, pace: Pace) -> dict[str, Any]:
    """One request in flight, by transport and model; all of them in the same rounds."""
    models = {OWN: OWN, SHARED: SHARED, "own, without clocks": "own_plain", "answering alone": "idle"}
    cases: dict[str, Callable[[], Any]] = {"engine": lambda: statistics.median(engine.latency_us(pace.batches))}
    for transport in TRANSPORTS:
        for case, name in models.items():
            load = bench.serving.load(name, transport, bench.run.images, 1, checked=name != "idle")
            cases[f"{transport}|{case}"] = partial(bench.alone, load, pace.alone_s)
    rounds = in_turns(cases, pace.rounds, lambda: bench.run.results.left_s() - pace.kept_s)
    found: dict[str, Any] = {
        transport: {case: over_rounds([one[f"{transport}|{case}"] for one in rounds]) for case in models}
        for transport in TRANSPORTS
    }
    return dict(as_json({**found, "engine_us": interval([one["engine"] for one in rounds]), "rounds": rounds}))


def under_load(bench: Bench, settings: Mapping[str, Setting], pace: Pace) -> dict[str, Any]:
    """Many in flight, images in shared memory, by whose process runs the engine."""
    cases: dict[str, Callable[[], Any]] = {}
    for name, one in settings.items():
        load = bench.serving.load(f"{name}_loaded", "shared memory", bench.run.images, 1)
        bench.serving.turn(load, one.in_flight, 2 * RAMP_S)  # the first turn of a model is like no other
        cases[name] = partial(bench.loaded, load, one.in_flight, pace.loaded_s)
    rounds = in_turns(cases, pace.rounds, bench.run.results.left_s)
    found: dict[str, Any] = {}
    for name, one in settings.items():
        told = {"in_flight": one.in_flight, "largest": one.largest or bench.run.largest}
        found[name] = {**told, **over_rounds([each[name] for each in rounds])}
    return dict(as_json({**found, "rounds": rounds}))


def over_rounds(found: Sequence[Found]) -> dict[str, Any]:
    """Every number of a case as its median and interval over rounds."""
    return {
        word: over_rounds([one[word] for one in found])
        if isinstance(value, Mapping)
        else interval([float(one[word]) for one in found])
        for word, value in found[0].items()
    }


def measured(run: Run, settings: Mapping[str, Setting], pace: Pace) -> None:
    """Both steps, on one server."""
    own, shared = settings[OWN], settings[SHARED]
    if own.largest or not shared.largest:
        raise ValueError("--own is instances and requests in flight (4@192), --shared a batch too (12x32@256)")
    chosen = of_choice(run.model(SHARED, 1), Choice(1, SHARED, "idle", 0, shared.largest), run.most)
    clocked = [
        run.model(OWN, 1, delay_us=0), replace(chosen, delay_us=0),
        run.model("own_loaded", own.instances), replace(chosen, name="shared_loaded", instances=shared.instances),
    ]  # fmt: skip
    models = [*clocked, run.model("own_plain", 1, delay_us=0), run.model("idle", 1, delay_us=0, kind="idle")]
    with ExitStack() as stack:
        server = stack.enter_context(serving(run, models, clocked))
        engine = Alone(
            run.files.images_plan, PIXELS, BEST, (1,), tensors={"images": run.pixels}, on_gpu=run.on_gpu
        )  # fmt: skip
        stack.callback(engine.close)
        engine.latency_us(20)
        bench = Bench(run, server, {model.name: model for model in clocked})
        run.results.step("alone", lambda: one_request(bench, engine, pace))
        run.results.step("loaded", lambda: under_load(bench, settings, pace))


def main() -> int:
    """Everything; 0 when both steps came to figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("gpu", "cpu"), default="gpu")
    parser.add_argument("--graph", type=Path, help="ResNet-50 in FP32, ONNX: images [n, 3, 224, 224] -> logits")
    parser.add_argument("--plan", type=Path, help="its plan in FP16, to compare answers with (else the graph)")
    parser.add_argument("--folded", type=Path, help="the plan in FP16 that is served, with all steps in the graph")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--budget", type=float, default=60.0, help="seconds")
    parser.add_argument("--largest", type=int, default=64, help="largest batch of an instance with its own engine")
    parser.add_argument("--own", type=Setting.of, help="under load: instances@requests in flight, 4@192 if not said")
    parser.add_argument("--shared", type=Setting.of, help="under load, engine shared: 12x32@256 if not said")
    parser.add_argument("--clients", type=int, default=default_count(), help="client processes")
    options = parser.parse_args()
    on_gpu = options.device == "gpu"
    settings = {
        OWN: options.own or Setting.of("4@192" if on_gpu else "2@16"),
        SHARED: options.shared or Setting.of("12x32@256" if on_gpu else "2x8@16"),
    }
    options.out.unlink(missing_ok=True)
    # Ends the process with every thread's stack when something hangs, in a driver too; the server ends with it.
    faulthandler.dump_traceback_later(options.budget + 45, exit=True)
    results = Results(options.out, options.budget)
    nothing_of = {
        "waiting": "",
        "shared": "",
        "rows": "",
        "texts": None,
        "texts_plan": None,
    }  # that gpu_served.py serves
    asked = argparse.Namespace(**{**vars(options), **nothing_of, "instances": "1"})
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gpu-parts-")))
        run = Run(asked, results, stack.enter_context(Clients(options.clients, folder)), folder)
        results.step("facts", lambda: facts(asked, run))
        if results.step("reference", run.reference) is not None:
            try:
                measured(run, settings, Pace() if on_gpu else Pace(0.7, 0.8, 2, 30))
            except Exception as error:  # noqa: BLE001 — what was measured before it is kept, and the file says why
                results.data["failed"] = f"{type(error).__name__}: {error}"
        results.step("seconds", lambda: time.monotonic() - results.start)
    return 0 if all("rounds" in results.data.get(name, {}) for name in ("alone", "loaded")) else 1


if __name__ == "__main__":
    raise SystemExit(main())
