"""The memory plan's numbers against what a real GPU has less of afterwards, and what a server's processes allocate.

What is traced needs TRITONKIT_COPY_TRACE, as test_copies_on_a_gpu.py does. TRITONKIT_RESULTS may name a folder: all
that was seen is written to memory_seen.json there.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from copy_trace_cases import Case, Served, asking
from copy_trace_reader import is_alive
from copy_trace_run import Traced, traced_server
from memory_trace import MOST, make, make_handing, region_of, stubs_in, told_of, too_small, wrong_of

from tritonkit_runtime.buffered.shapes import Size, sizes_of
from tritonkit_runtime.buffered.slot import Slot
from tritonkit_runtime.buffered.tensorrt import TensorRT
from tritonkit_runtime.device.cuda import Cuda
from tritonkit_runtime.parameters import TensorSpec

pytestmark = pytest.mark.gpu

ROOT = Path(__file__).resolve().parents[3]
SIZES, MIB = (1, 64), 1 << 20
PAGE_BYTES = 2 * MIB  # what the driver takes at a time
HANDLES_BYTES = 128 * MIB  # of libraries that a context of TensorRT makes itself, at most
Specs = tuple[list[TensorSpec], list[TensorSpec]]


def test_a_context_takes_no_more_than_is_counted(device: Cuda) -> None:
    from generator.memory.gpu import CONTEXT_BYTES  # which needs more than the others do

    code = (
        f"import sys; sys.path.insert(0, {str(ROOT / 'python_backend')!r})\n"
        "from tritonkit_runtime.device.cuda import Cuda\nCuda()\nprint('there', flush=True)\nsys.stdin.read()"
    )
    before = device.memory()[0]
    other = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    assert other.stdin is not None
    try:
        assert other.stdout.readline() == "there\n"
        taken = before - device.memory()[0]
    finally:
        other.stdin.close()
        other.wait(30)
    assert 64 * MIB < taken <= CONTEXT_BYTES


def test_buffers_take_what_is_derived(device: Cuda, plan: Path, specs: Specs) -> None:
    engine = TensorRT(device, plan, *specs, SIZES)
    tensors = (*engine.inputs, *engine.outputs)
    derived = sum(tensor.bytes_of(SIZES[-1]) for tensor in tensors)
    before = device.memory()[0]
    slot = Slot(device, engine, sizes_of(SIZES, ()), 0)
    taken = before - device.memory()[0]
    slot.close()
    engine.close()
    assert derived - PAGE_BYTES <= taken <= derived + PAGE_BYTES * len(tensors)


def test_an_execution_context_takes_what_tensorrt_says(device: Cuda, plan: Path, specs: Specs) -> None:
    from generator.engine.compile.tensorrt.runner import loaded

    with loaded(plan.read_bytes()) as runner:
        said = runner.activation_bytes
    assert said
    engine = TensorRT(device, plan, *specs, SIZES)
    before = device.memory()[0]
    context = engine.context(engine.engine, Size(SIZES[-1]))
    taken = before - device.memory()[0]
    del context
    engine.close()
    assert said - PAGE_BYTES <= taken <= said + HANDLES_BYTES


# What the processes of a server allocate ----------------------------------------------------------------------

ROUNDS, CLIENTS = 6, 4
ON_GPU = ("device", "async", "physical")
Kept = dict[str, Any]


def keep(found: Kept) -> None:
    """Adds to the results' file."""
    if folder := os.environ.get("TRITONKIT_RESULTS"):
        file = Path(folder) / "memory_seen.json"
        before = json.loads(file.read_bytes()) if file.exists() else {"format": 1}
        file.write_text(json.dumps({**before, **found}, indent=1) + "\n", encoding="utf-8")


@pytest.fixture(scope="module")
def cupti(tried: dict[Path, str]) -> Path:
    """One that sees all of a program that is known."""
    good = [file for file, wrong in tried.items() if not wrong]
    assert good, tried
    return good[0]


@pytest.fixture(scope="module")
def served(plan: Path, specs: Specs, tmp_path_factory: pytest.TempPathFactory) -> Served:
    [given], [made] = specs
    return make(tmp_path_factory.mktemp("memory") / "project", plan, given, made)


def ask(traced: Traced, device: Cuda, served: Served, case: Case, rounds: int) -> None:
    """Requests of one client."""
    import tritonclient.grpc as triton

    with (
        triton.InferenceServerClient(traced.server.grpc_address) as client,
        asking(client, device, served, case) as infer,
    ):
        for _ in range(rounds):
            infer()


@pytest.fixture(scope="module")
def seen(
    library: Path, cupti: Path, warmed: Cuda, plan: Path, served: Served, tmp_path_factory: pytest.TempPathFactory
) -> Kept:
    """What every process holds after full batches in all instances."""
    from generator.engine.compile.tensorrt.runner import loaded

    with loaded(plan.read_bytes()) as runner:
        about = {"tensorrt": str(runner._trt.__version__), "activation_bytes": runner.activation_bytes}
    before = warmed.memory()[0]
    with traced_server(served, library, cupti, tmp_path_factory.mktemp("seen") / "run") as traced:
        for model in served.plans:
            with ThreadPoolExecutor(CLIENTS) as threads:
                case = Case(model, "grpc", MOST)
                list(threads.map(lambda _, case=case: ask(traced, warmed, served, case, ROUNDS), range(CLIENTS)))
        traced.tracing.taken()
        taken = before - warmed.memory()[0]
        traces = {p.number: p for p in traced.tracing.processes.values() if is_alive(p.number)}
        models: dict[str, list[Kept]] = {name: [] for name in served.plans}
        engine_processes: dict[str, list[Kept]] = {}
        server: Kept = {}
        for number, name in stubs_in(served.repository):
            told = told_of(traces[number].held) if number in traces else {}
            models[name].append({"held": told, "shm_bytes": region_of(number)})
        for process in traces.values():
            if process.name == "server":
                server = told_of(process.held)
            elif process.name.startswith("engine process of "):
                one = {"held": told_of(process.held)}
                engine_processes.setdefault(process.name.removeprefix("engine process of "), []).append(one)
        # Those that have a context: an instance whose engine is in another process has none.
        processes = [process for process in traces.values() if process.held.blocks]
        allocated = sum(process.held.bytes_of(where) for process in processes for where in ON_GPU)
    found = {
        "facts": warmed.facts(), "cupti": cupti.name, **about, "plan_bytes": plan.stat().st_size, "models": models,
        "engine_processes": engine_processes, "server": server, "processes": len(processes), "taken_bytes": taken, "allocated_bytes": allocated,
        "beside_each_bytes": (taken - allocated) // len(processes),
    }  # fmt: skip
    found["wrong"] = [*wrong_of(found, served), *too_small(found)]
    keep(found)
    return found


def test_every_process_takes_what_is_derived(seen: Kept, served: Served) -> None:
    assert list(wrong_of(seen, served)) == []


def test_estimates_are_no_less_than_what_was_seen(seen: Kept) -> None:
    assert list(too_small(seen)) == []


def test_with_a_queue_a_pool_of_the_derived_size_never_overflows(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What finds no room there would be read on the host, or wrong."""
    from deploy.embedded.server import EmbeddedServer
    from generator.memory import pools_of

    repository, plan = make_handing(tmp_path / "project")
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import gpu_pool

    size = pools_of([plan], {}).cuda[0]
    server = EmbeddedServer(repository, gpu_pool.needs(size), log_path=tmp_path / "log", ready_timeout_s=120)
    try:
        server.start()
        with ThreadPoolExecutor(64) as threads:
            values = range(1, gpu_pool.REQUESTS + 1)
            answers = Counter(
                answer.partition(":")[0]
                for answer in threads.map(lambda v: gpu_pool.asked(server.http_address, v, "handing"), values)
            )
    finally:
        server.stop(grace_s=0)
    keep({"handing": {"pool_bytes": size, "in_flight": 64, "answers": dict(answers)}})
    assert answers["right"] > 0
    assert set(answers) <= {"right", "refused"}, answers
