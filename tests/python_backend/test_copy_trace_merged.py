"""How merged batches are asked for and counted on a GPU: the traces here are made up, the engine process is on the CPU."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent / "gpu"))
sys.path.insert(0, str(Path(__file__).parent / "engine_process"))
from copy_trace_cases import MERGED, MERGED_PAIR, Case, Served
from copy_trace_made_up import GIVEN, IN, MADE, OUT, copied, plan_of_nothing
from copy_trace_merged import CASES, INSTANCES, ONE, ask_at_once, make, together_of
from copy_trace_reader import Calls, Seen, Wait
from copy_trace_run import compared
from engine_instances import Spin, ended, save_spins

from tritonkit_runtime.batch import Array

TOLD = json.loads((Path(__file__).parent / "gpu/merged_copies_seen.json").read_bytes())["cases"]
LARGE, SMALL = 3 * 64 * 64 * 4, 1024 * 4


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Served:
    folder = tmp_path_factory.mktemp("merged")
    plan = plan_of_nothing(folder)
    return make(folder / "project", plan, GIVEN, MADE, plan)


def of_engine(ins: list[int], outs: list[int], waits: int) -> Seen:
    """Copies of an engine process from rows that instances share, and into its own pinned memory."""
    copies = [*(copied("HtoD", "pinned", "GPU", size) for size in ins),
              *(copied("DtoH", "GPU", "pinned", size) for size in outs)]  # fmt: skip
    return Seen(copies, [], Calls(events=waits))


def test_rows_come_from_each_instance_and_leave_together(served: Served) -> None:
    """Seven batches of four images: two alone, and five as one."""
    engine = of_engine([4 * IN] * 7, [4 * OUT, 4 * OUT, 5 * 4 * OUT], 3)
    found = together_of(served, Case(MERGED, "grpc", 4), 7, {f"engine process of {MERGED}": engine})
    assert (found.batches, found.count, found.are_all_there) == ({1: 2, 5: 1}, 3, True)
    assert found.result.is_right, found.result.table()
    assert found.result.waits_are_right, found.result.table()
    told = found.as_json()
    assert (told["requests"], told["batches"]) == (7, {"1": 2, "5": 1})
    assert told["report"]["copies"] == {"engine process DtoH pinned": 3, "engine process HtoD pinned": 7}


@pytest.mark.parametrize(
    ("engine", "wrong"),
    [
        (of_engine([2 * 3 * IN], [2 * 3 * OUT], 1), "one copy in for both"),
        (of_engine([3 * IN] * 2, [3 * OUT] * 2, 1), "a copy out for each, and one wait"),
        (of_engine([3 * IN] * 2, [2 * 3 * OUT], 2), "a wait for each"),
        (of_engine([4 * IN] * 2, [2 * 3 * OUT], 1), "padding on the way in"),
    ],
)
def test_what_the_report_does_not_say_is_wrong(served: Served, engine: Seen, wrong: str) -> None:
    found = together_of(served, Case(MERGED, "grpc", 3), 2, {f"engine process of {MERGED}": engine})
    assert found.are_all_there
    assert not (found.result.is_right and found.result.waits_are_right), wrong


def test_rows_of_padding_or_too_few_are_no_merged_batch(served: Served) -> None:
    for out in (8 * OUT, 3 * OUT):
        engine = of_engine([3 * IN] * 2, [out], 1)
        found = together_of(served, Case(MERGED, "grpc", 3), 2, {f"engine process of {MERGED}": engine})
        assert not found.are_all_there


def test_two_inputs_and_outputs_of_a_region_of_the_gpu(served: Served) -> None:
    """The server takes each from the region and puts each answer there, whoever runs together."""
    ins, outs = [4 * LARGE, 4 * SMALL], [4 * LARGE, 4 * SMALL]
    engine = of_engine(3 * ins, [3 * size for size in outs], 1)
    copies, waits = [], []
    for number in range(3):
        at, stream = 1000 * number, 20 + number
        copies += [copied("DtoH", "GPU", "pageable", size, at + 10 * place, stream) for place, size in enumerate(ins)]
        copies += [copied("HtoD", "pageable", "GPU", size, at + 100, stream) for size in outs]
        waits.append(Wait("stream", at + 110, at + 120, stream))
    seen = {f"engine process of {MERGED_PAIR}": engine, "server": Seen(copies, waits)}
    found = together_of(served, Case(MERGED_PAIR, "cuda-shm", 4), 3, seen)
    assert found.batches == {3: 1}
    assert found.result.is_right, found.result.table()
    assert found.result.waits_are_right, found.result.table()


@pytest.mark.parametrize("told", TOLD, ids=lambda told: f"{told['model']}-{told['protocol']}-{told['items']}")
def test_the_report_says_what_was_seen_on_a_gpu(served: Served, told: dict[str, Any]) -> None:
    """merged_copies_seen.json is what test_merged_copies_on_a_gpu.py wrote on an H200."""
    case = Case(told["model"], told["protocol"], told["items"])
    batches = {int(instances): count for instances, count in told["batches"].items()}
    reports = [(served.report(case, instances), count) for instances, count in batches.items()]
    said, found = compared(case, reports, {}, 1), told["seen"]
    assert {" ".join(row): size for row, size in said.expected.items()} == found["bytes"]
    assert {" ".join(row): count for row, count in said.expected_counts.items()} == found["copies"]
    assert said.expected_waits == {process: sum(kinds.values()) for process, kinds in found["waits"].items()}
    asked = sum(instances * count for instances, count in batches.items())
    assert asked == told["requests"] > sum(batches.values())


def test_every_case_was_seen() -> None:
    assert {(told["model"], told["protocol"], told["items"]) for told in TOLD} == {
        (case.model, case.protocol, case.items) for case in CASES
    }


@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_instance_alone_is_what_a_single_request_is(served: Served, case: Case) -> None:
    alone, all_together = served.report(case), served.report(case, INSTANCES)
    assert all_together.copied_bytes == INSTANCES * alone.copied_bytes
    outputs = len(served.sides[case.model][1])
    assert all_together.copies == INSTANCES * (alone.copies - outputs) + outputs
    assert all_together.waits == INSTANCES * (alone.waits - 1) + 1
    # No two requests fit into one instance's batch.
    assert 2 * case.items > ONE


@pytest.fixture
def spins(tmp_path: Path) -> Iterator[Spin]:
    save_spins(tmp_path / "spins.onnx")
    found = Spin(tmp_path / "spins.onnx")
    yield found
    for one in found.instances:
        one.close()
    assert ended(tmp_path), "an engine process stayed"


def test_what_is_handed_over_while_the_process_is_stopped_is_merged(
    spins: Spin, capfd: pytest.CaptureFixture[str]
) -> None:
    instances = [spins.instance(ONE, buckets=(ONE, 2 * ONE, 3 * ONE, INSTANCES * ONE)) for _ in range(INSTANCES)]
    assert [one.heard() for one in instances] == [{"ready": True}] * INSTANCES
    [engine] = spins.processes
    asks = []
    for number, one in enumerate(instances):

        def ask(number: int = number, one: object = one) -> Array:
            said = one.asked(seed=number, items=3, spins=50, batches=1)  # type: ignore[attr-defined]
            return np.array([said == {"done": 1}])

        asks.append(ask)
    for _ in range(5):
        answers, took_s = ask_at_once(asks, engine, [one.process.pid for one in instances])
        assert all(answer.all() for answer in answers)
        assert took_s < 10
    for one in instances:
        one.close()
    words = capfd.readouterr().err.split(" ends with the last instance; ")[1].replace(",", "").split()
    jobs, batches = int(words[0]), int(words[-1])
    assert jobs == 5 * INSTANCES
    assert batches <= 4 * 5, f"{jobs} batches of instances were run as {batches}"
