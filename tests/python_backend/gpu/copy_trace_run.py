"""A server whose processes write down what they copy, and what it did for each case beside what the report says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from copy_trace_cases import IMAGES, MERGED, MERGED_PAIR, PAIRS, PICTURES, SHARING, TABLE_BYTES, Case, Served, asking
from copy_trace_reader import Copy, Seen, TraceError, Tracing

from deploy.embedded.server import EmbeddedServer, ServerFailedError
from generator.copies import Hop, Report
from tritonkit_runtime.batch import Array
from tritonkit_runtime.device.cuda import Cuda

REQUESTS = 20
WARM_UP = 5
SMALL_BYTES = 1024  # what is smaller is told, and not compared: a pointer or a flag, and no tensor
_ON_GPU = ("GPU", "client's GPU")
# What the driver has locked for it is pinned to it, whoever has taken the memory.
_PINNED = ("pinned", "engine's shm")
_BY = {
    "runtime": "stub", "stub": "stub", "python backend": "server", "front end": "server",
    "engine process": "engine process",
}  # fmt: skip


class Row(NamedTuple):
    """Copies of one kind by one process (`server`, `stub`, `engine process`): what the host's side of them is, or
    `GPU`.
    """

    process: str
    kind: str
    host: str


@dataclass(frozen=True)
class Result:
    """Of one case, per request or in all: bytes and number of copies by row, small ones beside, waits by process."""

    case: Case
    expected: Mapping[Row, int]
    expected_counts: Mapping[Row, int]
    hops: tuple[str, ...]
    expected_waits: Mapping[str, int]
    seen: Mapping[Row, float]
    counts: Mapping[Row, float]
    small: Mapping[str, float]
    waits: Mapping[str, Mapping[str, float]]
    copies: Mapping[str, tuple[Copy, ...]]
    requests: int = REQUESTS

    @property
    def is_right(self) -> bool:
        """Whether the same bytes were copied, in as many copies, and no others."""
        return self.seen == self.expected and self.counts == self.expected_counts

    @property
    def waits_are_right(self) -> bool:
        """Whether the host of each process waited as often."""
        return self.seen_waits == self.expected_waits

    @property
    def seen_waits(self) -> dict[str, float]:
        """All waits of each process."""
        return {process: round(sum(kinds.values()), 3) for process, kinds in self.waits.items() if kinds}

    def table(self) -> str:
        """All of it, for whoever has to find out why the two differ."""
        lines = [
            f"{self.case}, " + (f"per request, seen over {self.requests}:" if self.requests > 1 else "in all:"),
            "  the report:",
            *(f"    {h}" for h in self.hops),
        ]
        lines += ["  seen:"]
        for row in sorted({*self.seen, *self.expected}):
            lines.append(
                f"    {row.process:14} {row.kind} {row.host:9} {self.seen.get(row, 0):12,.1f} bytes in "
                f"{self.counts.get(row, 0):.2f} copies; report {self.expected.get(row, 0):12,} bytes in "
                f"{self.expected_counts.get(row, 0)}"
            )
        lines += [f"    small: {name}: {count:.2f}" for name, count in self.small.items()]
        lines += [f"  waits seen: {json.dumps(self.waits)}; report {json.dumps(self.expected_waits)}", "  in order:"]
        for process, copies in self.copies.items():
            for copy in sorted(copies, key=lambda copy: copy.start_ns)[:12]:
                told = f"{copy.source} to {copy.to}, {copy.size:,} bytes, stream {copy.stream}"
                how = f"{'in a graph' if copy.in_graph else 'by itself'}, {'a' * copy.is_asynchronous}synchronous"
                lines.append(f"    {process}: {copy.start_ns} {copy.kind} {told}, {how}")
        return "\n".join(lines)

    def as_json(self) -> dict[str, Any]:
        """For a file."""

        def rows(found: Mapping[Row, float]) -> dict[str, float]:
            return {" ".join(row): value for row, value in sorted(found.items())}

        return {
            "model": self.case.model, "protocol": self.case.protocol, "items": self.case.items,
            "report": {
                "bytes": rows(self.expected), "copies": rows(self.expected_counts),
                "waits": dict(self.expected_waits), "hops": list(self.hops),
            },
            "seen": {
                "bytes": rows(self.seen), "copies": rows(self.counts), "small_copies": dict(self.small),
                "waits": {process: dict(kinds) for process, kinds in self.waits.items()},
                "in_a_graph": {p: sum(copy.in_graph for copy in c) / self.requests for p, c in self.copies.items()},
            },
            "as_the_report_says": self.is_right,
            "waits_as_the_report_says": self.waits_are_right,
            "table": [] if self.is_right and self.waits_are_right else self.table().splitlines(),
        }  # fmt: skip


def expected_of(report: Report, case: Case) -> dict[Row, tuple[int, int]]:
    """Bytes that the report says are copied to, from or on a GPU, and in how many copies."""
    found: dict[Row, tuple[int, int]] = {}
    for hop in report.hops:
        if hop.copied_bytes and (hop.source in _ON_GPU or hop.to in _ON_GPU):
            size, count = found.get(_row_of(hop), (0, 0))
            size += hop.copied_bytes + (TABLE_BYTES if _is_of_images(hop, case) else 0)
            found[_row_of(hop)] = size, count + hop.times
    return found


def _is_of_images(hop: Hop, case: Case) -> bool:
    return case.model == PICTURES and hop.rule == "buffer-in"


def _row_of(hop: Hop) -> Row:
    ends = [place in _ON_GPU for place in (hop.source, hop.to)]
    kind = {(False, True): "HtoD", (True, False): "DtoH", (True, True): "DtoD"}[ends[0], ends[1]]
    host = "GPU" if all(ends) else hop.source if ends[1] else hop.to
    return Row(_BY[hop.by], kind, "GPU" if host == "GPU" else "pinned" if host in _PINNED else "pageable")


def expected_waits_of(report: Report) -> Counter[str]:
    """Process -> how often its host waits."""
    found: Counter[str] = Counter()
    for hop in report.hops:
        if hop.waits:
            found[_BY[hop.by]] += hop.times
    return found


def result_of(case: Case, report: Report, seen: Mapping[str, Seen]) -> Result:
    """Puts the two beside each other, of REQUESTS that were all alike."""
    return compared(case, [(report, 1)], seen, REQUESTS)


def compared(case: Case, reports: Sequence[tuple[Report, int]], seen: Mapping[str, Seen], requests: int) -> Result:
    """The reports, each so often, beside what was seen, by the number of requests. Processes other than the server and
    those of the case's model keep their names.
    """
    expected, expected_counts, expected_waits = Counter[Row](), Counter[Row](), Counter[str]()
    for report, often in reports:
        for row, (copied_bytes, count) in expected_of(report, case).items():
            expected[row] += often * copied_bytes
            expected_counts[row] += often * count
        for process, waited in expected_waits_of(report).items():
            expected_waits[process] += often * waited
    size: Counter[Row] = Counter()
    counts: Counter[Row] = Counter()
    small: Counter[str] = Counter()
    waits = {}
    for name, did in seen.items():
        process = name.removesuffix(f" of {case.model}")
        for copy in did.copies:
            host = {"HtoD": copy.source, "DtoH": copy.to}.get(copy.kind, "GPU")
            row = Row(process, copy.kind, host)
            if copy.size < SMALL_BYTES:
                small[f"{' '.join(row)}, {copy.size} bytes"] += 1
                continue
            size[row] += copy.size
            counts[row] += 1
        if found := did.host_waits():
            waits[process] = {what: count / requests for what, count in found.items()}
    hops = tuple(
        f"{h.rule}: {h.source} to {h.to}, {h.copied_bytes:,} bytes{', waits' if h.waits else ''}"
        + (f", {often} times" if often > 1 else "")
        for report, often in reports for h in report.hops if {h.source, h.to} & {*_ON_GPU, "pinned"}
    )  # fmt: skip
    return Result(
        case, dict(expected), dict(expected_counts), hops, dict(expected_waits),
        {row: n / requests for row, n in size.items()}, {row: n / requests for row, n in counts.items()},
        {what: n / requests for what, n in small.items()}, waits,
        {name: tuple(did.copies) for name, did in seen.items()}, requests,
    )  # fmt: skip


# The server and its trace --------------------------------------------------------------------------------

KNOWN_BYTES = 1 << 20
_PATIENCE_S = 60.0  # with a driver that hangs
_KNOWN_PROGRAM = f"""
import ctypes, sys
from tritonkit_runtime.device.cuda import Cuda
cuda, size = Cuda(), {KNOWN_BYTES}
stream, event = cuda.stream(), cuda.event(timed=False)
pinned, first, second = cuda.pinned(size), cuda.allocate(size), cuda.allocate(size)
pageable = (ctypes.c_ubyte * size)()
cuda.begin_capture(stream)
cuda.copy_in(first, pinned, size, stream)
cuda.copy_out(pinned, first, size, stream)
graph = cuda.end_capture(stream)
for _ in range(3):
    cuda.launch(graph, stream)
    cuda.record(event, stream)
    cuda.wait_for(event, 1e6)
cuda.copy_within(second, first, size, stream)
cuda.wait(stream)
cuda.copy_out(ctypes.addressof(pageable), second, size, stream)
print("done", flush=True)
sys.stdin.read()
"""


def traced_environment(library: Path, cupti: Path, folder: Path) -> dict[str, str]:
    """What makes every process that uses a GPU write to the folder."""
    folder.mkdir(parents=True)
    return {
        "CUDA_INJECTION64_PATH": str(library),
        "COPY_TRACE_CUPTI": str(cupti),
        "COPY_TRACE_FOLDER": str(folder),
    }


def wrong_of_known_program(library: Path, cupti: Path, folder: Path) -> str:
    """What this CUPTI misses of a program whose copies and waits are known; empty if nothing."""
    environment = {
        **os.environ,
        **traced_environment(library, cupti, folder),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    with subprocess.Popen(
        [sys.executable, "-c", _KNOWN_PROGRAM], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        patience = threading.Timer(_PATIENCE_S, process.kill)
        patience.start()
        try:
            if process.stdout.readline() != "done\n":
                return f"the program failed: {process.communicate()[1][-500:]}"
            found = list(Tracing(folder).taken().values())
        except TraceError as error:
            return str(error)
        finally:
            patience.cancel()
            process.stdin.close()
    if len(found) != 1:
        return f"{len(found)} processes wrote something, 1 was expected"
    copies = Counter((copy.kind, copy.source, copy.to, copy.size, copy.in_graph) for copy in found[0].copies)
    wanted = {
        ("HtoD", "pinned", "GPU", KNOWN_BYTES, True): 3,
        ("DtoH", "GPU", "pinned", KNOWN_BYTES, True): 3,
        ("DtoD", "GPU", "GPU", KNOWN_BYTES, False): 1,
        ("DtoH", "GPU", "pageable", KNOWN_BYTES, False): 1,
    }
    waits = found[0].host_waits()
    if copies != wanted or waits != {"event": 3, "stream": 1, "copy": 1}:
        return f"copies {dict(copies)}, waits {dict(waits)}, calls {found[0].calls}; expected {wanted}"
    return ""


@dataclass(frozen=True)
class Traced:
    """A running server, and what it does."""

    server: EmbeddedServer
    tracing: Tracing


@contextmanager
def traced_server(served: Served, library: Path, cupti: Path, folder: Path) -> Iterator[Traced]:
    """The server of a repository. TraceError if a process that has an engine wrote nothing of how it became ready."""
    with ExitStack() as stack:
        monkeypatch = stack.enter_context(pytest.MonkeyPatch.context())
        for name, value in traced_environment(library, cupti, folder / "trace").items():
            monkeypatch.setenv(name, value)
        server = EmbeddedServer(served.repository, served.needs, log_path=folder / "log", ready_timeout_s=120)
        stack.callback(server.stop, grace_s=0)
        try:
            server.start()
        except ServerFailedError as error:
            raise TraceError(f"the server does not start with {cupti.name}: {error}") from error
        tracing = Tracing(folder / "trace")
        ready = tracing.taken()
        shared = {*SHARING, MERGED, MERGED_PAIR}
        having = [f"{'engine process' if name in shared else 'stub'} of {name}" for name in served.plans]
        if silent := [name for name in having if not ready.get(name, Seen()).copies]:
            told = sorted(process.name for process in tracing.processes.values())
            raise TraceError(
                f"nothing of {', '.join(silent)} with {cupti.name}; traces of {', '.join(told) or 'none'}"
            )
        yield Traced(server, tracing)


def ask_all(traced: Traced, device: Cuda, served: Served, cases: list[Case]) -> dict[Case, Result | str]:
    """Each case's requests, one at a time, and what was copied for them; a sentence where it failed."""
    import tritonclient.grpc as triton

    found: dict[Case, Result | str] = {}
    answers: dict[tuple[int, int], Array] = {}
    with triton.InferenceServerClient(traced.server.grpc_address) as client:
        for case in cases:
            try:
                with asking(client, device, served, case) as ask:
                    kind = 1 if case.model in IMAGES else 2 if case.model in PAIRS else 0
                    first = answers.setdefault((kind, case.items), ask())
                    for _ in range(WARM_UP):
                        ask()
                    traced.tracing.taken()
                    answer = [ask() for _ in range(REQUESTS)][-1]
                    seen = traced.tracing.taken()
                apart = np.abs(answer - first).max() / np.ptp(first)
                wrong = f"the answer is another than that of the first case of so many items (by {apart:.3g})"
                found[case] = result_of(case, served.report(case), seen) if apart < 0.01 else wrong
            except (triton.InferenceServerException, TraceError, OSError) as error:
                found[case] = f"{type(error).__name__}: {error}"
    return found
