"""Batches of several instances that their engine process runs as one: served, held back so that they are, and counted."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from copy_trace_cases import MERGED, MERGED_PAIR, PAIR, Case, Served, Sides, asking, rendered, spec_of, write_onnx
from copy_trace_reader import Seen, TraceError, Tracing
from copy_trace_run import SMALL_BYTES, Result, Traced, compared

from deploy.embedded.needs import needs_of
from tritonkit_runtime.batch import Array
from tritonkit_runtime.device.cuda import Cuda
from tritonkit_runtime.dtypes import NUMPY_DTYPES
from tritonkit_runtime.parameters import TensorSpec

# One request is one instance's batch: two of more than half of the largest are never put together by the server.
INSTANCES, ONE = 6, 4
TOGETHER = INSTANCES * ONE
ROUNDS, WARM_UP = 10, 2
MODELS = (MERGED, MERGED_PAIR)
# Batches of three are padded where they run, alone and together, and no row of padding is copied.
CASES = [
    *(Case(model, "grpc", items) for model in MODELS for items in (3, ONE)),
    *(Case(model, "cuda-shm", ONE) for model in MODELS),
]
_QUIET_S, _MOST_S, _ANSWER_S = 0.1, 2.0, 30.0


def make(folder: Path, plan: Path, given: TensorSpec, made: TensorSpec, pair: Path) -> Served:
    """A pipeline for each of the two plans, with instances whose batches all fit into one."""
    sides: dict[str, Sides] = {MERGED: ([given], [made]), MERGED_PAIR: PAIR}
    (folder / "models").mkdir(parents=True)
    buffers = f"buckets: [{ONE}, {2 * ONE}, {3 * ONE}, {TOGETHER}], slots: 2, process: shared"
    for name, tensors in sides.items():
        write_onnx(folder / "models" / f"{name}.onnx", *tensors)
    specs = {
        name: spec_of(name, tensors, name, buffers, instances=INSTANCES, most=ONE) for name, tensors in sides.items()
    }
    repository, plans = rendered(folder, specs, lambda name: pair if name == MERGED_PAIR else plan)
    found = list({found.name: found for found in plans.values()}.values())
    return Served(repository, replace(needs_of(found), restricted_apis=()), plans, sides)


@dataclass(frozen=True)
class Together:
    """What was seen of one case: how many merged batches there were of so many instances, and the copies of all."""

    batches: Mapping[int, int]
    requests: int
    result: Result
    process_s: tuple[float, ...]  # until each round was handed over

    @property
    def count(self) -> int:
        """Merged batches."""
        return sum(self.batches.values())

    @property
    def are_all_there(self) -> bool:
        """Whether every request's batch is part of one of them."""
        return sum(instances * count for instances, count in self.batches.items()) == self.requests

    def as_json(self) -> dict[str, Any]:
        """For a file."""
        batches = {str(instances): count for instances, count in sorted(self.batches.items())}
        return {
            "requests": self.requests,
            "batches": batches,
            **self.result.as_json(),
            "handed_over_s": self.process_s,
        }


def together_of(served: Served, case: Case, requests: int, seen: Mapping[str, Seen]) -> Together:
    """How batches were merged is told by the sizes of the first output's copies: one for each, of all its rows."""
    [first, *_] = served.sides[case.model][1]
    row_bytes = case.items * int(np.prod(first.dims)) * NUMPY_DTYPES[first.dtype].itemsize
    engine = seen.get(f"engine process of {case.model}", Seen())
    sizes = [copy.size for copy in engine.copies if copy.kind == "DtoH" and copy.size >= SMALL_BYTES]
    batches = Counter(size // row_bytes for size in sizes if size % row_bytes == 0)
    reports = [(served.report(case, instances), count) for instances, count in sorted(batches.items())]
    return Together(batches, requests, compared(case, reports, seen, 1), ())


@contextmanager
def _stopped(process: int) -> Iterator[None]:
    """It does nothing meanwhile; what it is sent waits in its sockets."""
    os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process, signal.SIGCONT)


def ticks_of(processes: Sequence[int]) -> int:
    """How long they have been at work."""
    found = 0
    for process in processes:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        found += int(fields[11]) + int(fields[12])
    return found


def wait_until_quiet(processes: Sequence[int]) -> float:
    """Until none of them has anything to do, or for a while; seconds."""
    began = since = time.monotonic()
    before = ticks_of(processes)
    while time.monotonic() - since < _QUIET_S and time.monotonic() - began < _MOST_S:
        time.sleep(0.01)
        if (now := ticks_of(processes)) != before:
            since, before = time.monotonic(), now
    return time.monotonic() - began


def ask_at_once(asks: Sequence[Callable[[], Array]], engine: int, others: Sequence[int]) -> tuple[list[Array], float]:
    """A request of each, all of which have been handed over before the engine process takes the first."""
    with ThreadPoolExecutor(len(asks)) as threads:
        with _stopped(engine):
            answers = [threads.submit(ask) for ask in asks]
            took_s = wait_until_quiet(others)
        return [answer.result(_ANSWER_S) for answer in answers], took_s


def numbers_of(tracing: Tracing, name: str) -> list[int]:
    """The traced processes of this name."""
    return [process.number for process in tracing.processes.values() if process.name == name]


def ask_together(
    traced: Traced, device: Cuda, served: Served, cases: Sequence[Case], stubs: Callable[[str], list[int]]
) -> dict[Case, Together | str]:
    """Rounds of a request to each instance of each case's model, and what was copied for them; a sentence where it
    failed. `stubs` has the processes of a model's instances.
    """
    import tritonclient.grpc as triton

    found: dict[Case, Together | str] = {}
    for case in cases:
        try:
            engines = numbers_of(traced.tracing, f"engine process of {case.model}")
            if len(engines) != 1:
                raise TraceError(f"{len(engines)} engine processes of {case.model} were traced, 1 was expected")
            [engine], others = engines, [*numbers_of(traced.tracing, "server"), *stubs(case.model)]
            with ExitStack() as stack:
                asks = []
                for number in range(INSTANCES):
                    client = stack.enter_context(triton.InferenceServerClient(traced.server.grpc_address))
                    asks.append(stack.enter_context(asking(client, device, served, case, number)))
                alone = [ask() for ask in asks]
                for _ in range(WARM_UP):
                    ask_at_once(asks, engine, others)
                traced.tracing.taken()
                rounds = [ask_at_once(asks, engine, others) for _ in range(ROUNDS)]
                seen = traced.tracing.taken()
            apart = max(
                float(np.abs(one - expected).max() / np.ptp(expected))
                for answers, _ in rounds for one, expected in zip(answers, alone, strict=True)
            )  # fmt: skip
            wrong = f"an answer is another than the same client's alone (by {apart:.3g})"
            whole = together_of(served, case, ROUNDS * INSTANCES, seen)
            took_s = tuple(round(took, 3) for _, took in rounds)
            found[case] = replace(whole, process_s=took_s) if apart < 0.01 else wrong
        except (triton.InferenceServerException, TraceError, OSError, TimeoutError) as error:
            found[case] = f"{type(error).__name__}: {error}"
    return found
