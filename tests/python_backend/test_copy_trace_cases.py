"""What is expected of the copies on a GPU, and how it is compared with a trace; the traces here are made up."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent / "gpu"))
from copy_trace_cases import (
    CASES,
    PICTURES,
    SHARED,
    SHARED_PAIR,
    SHARED_PICTURES,
    SHARING,
    TABLE_BYTES,
    Case,
    Served,
    make,
)
from copy_trace_made_up import GIVEN, IN, MADE, OUT, copied, plan_of_nothing
from copy_trace_reader import Calls, Seen, Wait
from copy_trace_run import REQUESTS, Result, result_of

from tritonkit_runtime.preprocess.staging import IMAGE

TOLD = json.loads((Path(__file__).parent / "gpu/copies_seen.json").read_bytes())["cases"]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Served:
    folder = tmp_path_factory.mktemp("copies")
    plan = plan_of_nothing(folder)
    return make(folder / "project", plan, GIVEN, MADE, plan)


def compared(served: Served, case: Case, stub: Seen, server: Seen) -> Result:
    """With a trace in which every request does the same; `stub` is of the process that has the engine."""

    def times(seen: Seen) -> Seen:
        copies = [c._replace(start_ns=c.start_ns + 999 * n, end_ns=c.end_ns + 999 * n)
                  for n in range(REQUESTS) for c in seen.copies]  # fmt: skip
        waits = [w._replace(end_ns=w.end_ns + 999 * n) for n in range(REQUESTS) for w in seen.waits]
        return Seen(copies, waits, Calls(*(count * REQUESTS for count in seen.calls)))

    having = "engine process" if case.model in SHARING else "stub"
    traces = {f"{having} of {case.model}": times(stub), "server": times(server)}
    return result_of(case, served.report(case), {name: seen for name, seen in traces.items() if seen != Seen()})


AWAKE = Calls(queries=1)
TO_PINNED = copied("DtoH", "GPU", "pinned", OUT, 30, recorded=True)


def test_through_pinned_memory_both_ways_with_one_wait(served: Served) -> None:
    stub = Seen([copied("HtoD", "pinned", "GPU", IN, 10, recorded=True), TO_PINNED], [], AWAKE)
    result = compared(served, Case("host_to_host", "grpc", 1), stub, Seen())
    assert result.is_right, result.table()
    assert result.waits_are_right, result.table()


def test_from_the_clients_region_and_back_into_it(served: Served) -> None:
    four = Case("device_to_device", "cuda-shm", 4)
    stub = Seen([copied("DtoD", "GPU", "GPU", 4 * IN, 10), copied("DtoD", "GPU", "GPU", 4 * OUT, 30, 7)],
                [Wait("stream", 31, 40, 7)], AWAKE)  # fmt: skip
    server = Seen([copied("DtoD", "GPU", "GPU", 4 * IN, 1), copied("DtoD", "GPU", "GPU", 4 * OUT, 50)],
                  [Wait("stream", 2, 9, 13), Wait("stream", 51, 60, 13)])  # fmt: skip
    result = compared(served, four, stub, server)
    assert result.is_right, result.table()
    assert result.waits_are_right, result.table()


def test_a_region_of_a_gpu_for_a_model_that_reads_on_the_host(served: Served) -> None:
    stub = Seen([copied("HtoD", "pinned", "GPU", IN, 10, recorded=True), TO_PINNED], [], AWAKE)
    server = Seen([copied("DtoH", "GPU", "pageable", IN, 1), copied("HtoD", "pageable", "GPU", OUT, 50)],
                  [Wait("stream", 51, 60, 13)])  # fmt: skip
    result = compared(served, Case("host_to_host", "cuda-shm", 1), stub, server)
    assert result.is_right, result.table()
    assert result.waits_are_right, result.table()


def test_pixels_go_with_the_table_that_says_where_they_lie(served: Served) -> None:
    assert IMAGE.itemsize * 16 == TABLE_BYTES
    stub = Seen([copied("HtoD", "pinned", "GPU", 4 * 256 * 256 * 3 + TABLE_BYTES, 10),
                 copied("DtoH", "GPU", "pinned", 4 * OUT, 30, recorded=True)], [], AWAKE)  # fmt: skip
    result = compared(served, Case(PICTURES, "grpc", 4), stub, Seen())
    assert result.is_right, result.table()
    assert result.waits_are_right, result.table()


ASLEEP = Calls(events=1)


def test_an_engine_process_copies_from_what_the_instance_shares_with_it(served: Served) -> None:
    engine = Seen([copied("HtoD", "pinned", "GPU", 4 * IN, 10), copied("DtoH", "GPU", "pinned", 4 * OUT, 30)],
                  [], ASLEEP)  # fmt: skip
    for model, protocol in ((SHARED, "grpc"), (SHARED, "system-shm"), (SHARED_PICTURES, "grpc")):
        result = compared(served, Case(model, protocol, 4), engine, Seen())  # type: ignore[arg-type]
        assert result.is_right, result.table()
        assert result.waits_are_right, result.table()
    server = Seen([copied("DtoH", "GPU", "pageable", 4 * IN, 1), copied("HtoD", "pageable", "GPU", 4 * OUT, 50)],
                  [Wait("stream", 51, 60, 13)])  # fmt: skip
    result = compared(served, Case(SHARED, "cuda-shm", 4), engine, server)
    assert result.is_right, result.table()
    assert result.waits_are_right, result.table()


def test_what_an_instance_does_with_a_gpu_beside_its_engine_process_is_told(served: Served) -> None:
    case = Case(SHARED, "grpc", 1)
    mine = Seen([copied("HtoD", "pinned", "GPU", IN, 10)], [], ASLEEP)
    result = result_of(case, served.report(case), {f"stub of {SHARED}": mine})
    assert not result.is_right
    assert not result.waits_are_right
    # Memory that could not be locked is copied through the driver's own.
    pageable = Seen([copied("HtoD", "pageable", "GPU", IN, 10), copied("DtoH", "GPU", "pinned", OUT, 30)], [], ASLEEP)
    assert not compared(served, case, pageable, Seen()).is_right


def test_what_nobody_expected_is_in_the_table_and_what_is_small_is_only_told(served: Served) -> None:
    case = Case("host_to_host", "grpc", 1)
    copies = [copied("HtoD", "pinned", "GPU", IN, 10), TO_PINNED, copied("HtoD", "pageable", "GPU", 8, 1)]
    assert compared(served, case, Seen(copies, [], AWAKE), Seen()).is_right
    wrong = compared(served, case, Seen([*copies, copied("DtoD", "GPU", "GPU", 2048, 20)], [], AWAKE), Seen())
    assert not wrong.is_right
    assert "DtoD GPU 2,048.0 bytes in 1.00 copies; report 0 bytes" in " ".join(wrong.table().split())
    assert "small: stub HtoD pageable, 8 bytes: 1.00" in wrong.table()
    assert wrong.as_json()["table"] == wrong.table().splitlines()


@pytest.mark.parametrize("told", TOLD, ids=lambda told: f"{told['model']}-{told['protocol']}-{told['items']}")
def test_the_report_says_what_was_seen_on_a_gpu(served: Served, told: dict[str, Any]) -> None:
    """copies_seen.json is what test_copies_on_a_gpu.py wrote on an H200."""
    [case] = [case for case in CASES if (case.model, case.protocol, case.items) == (
        told["model"], told["protocol"], told["items"])]  # fmt: skip
    nothing, found = result_of(case, served.report(case), {}), told["seen"]
    assert {" ".join(row): size for row, size in nothing.expected.items()} == found["bytes"]
    assert {" ".join(row): count for row, count in nothing.expected_counts.items()} == found["copies"]
    assert nothing.expected_waits == {process: sum(kinds.values()) for process, kinds in found["waits"].items()}


def test_every_case_was_seen() -> None:
    assert {(told["model"], told["protocol"], told["items"]) for told in TOLD} == {
        (case.model, case.protocol, case.items) for case in CASES
    }
    assert all(told["as_the_report_says"] and told["waits_as_the_report_says"] for told in TOLD)


@pytest.mark.parametrize("items", [1, 4])
def test_two_inputs_and_two_outputs_are_all_copied(served: Served, items: int) -> None:
    """49,152 and 4,096 bytes an item, both ways."""
    both = items * (49152 + 4096)
    for case, rows, waits in (
        (Case("pair_in_host", "grpc", items), {"stub HtoD pinned": both, "stub DtoH pinned": both}, {"stub": 1}),
        (Case(SHARED_PAIR, "grpc", items), {"engine process HtoD pinned": both, "engine process DtoH pinned": both},
         {"engine process": 1}),
        (Case(SHARED_PAIR, "cuda-shm", items),
         {"server DtoH pageable": both, "engine process HtoD pinned": both, "engine process DtoH pinned": both,
          "server HtoD pageable": both}, {"server": 3, "engine process": 1}),
        (Case("pair_in_device", "grpc", items), {"stub HtoD pinned": both, "stub DtoH pageable": both}, {"stub": 3}),
        (Case("pair_in_device", "cuda-shm", items), {"server DtoD GPU": 2 * both, "stub DtoD GPU": 2 * both},
         {"server": 3, "stub": 3}),
        (Case("pair_in_host", "cuda-shm", items),
         {"server DtoH pageable": both, "stub HtoD pinned": both, "stub DtoH pinned": both,
          "server HtoD pageable": both}, {"server": 3, "stub": 1}),
    ):  # fmt: skip
        nothing = result_of(case, served.report(case), {})
        assert {" ".join(row): size for row, size in nothing.expected.items()} == rows
        assert nothing.expected_waits == waits


@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_case_has_something_to_be_seen(served: Served, case: Case) -> None:
    nothing = result_of(case, served.report(case), {})
    assert nothing.expected
    assert nothing.expected_waits["engine process" if case.model in SHARING else "stub"] >= 1
    assert not nothing.is_right
