"""What the report says of batches of several instances that run as one, against every copy that is made there.

It needs what test_copies_on_a_gpu.py does. Here each of six instances has one request at a time, and their engine
process is stopped until all of them have handed over. What was seen is written to merged_copies_seen.json.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from copy_trace_cases import Case, build_pair
from copy_trace_merged import CASES, INSTANCES, ROUNDS, TOGETHER, Together, ask_together, make
from copy_trace_run import traced_server
from memory_trace import stubs_in

from tritonkit_runtime.device.cuda import Cuda
from tritonkit_runtime.parameters import TensorSpec

pytestmark = pytest.mark.gpu

Specs = tuple[list[TensorSpec], list[TensorSpec]]


@pytest.fixture(scope="module")
def results(
    library: Path, tried: dict[Path, str], warmed: Cuda, plan: Path, specs: Specs,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[Case, Together | str]:  # fmt: skip
    """What was seen of every case, with a libcupti that sees all of a known program."""
    good = [file for file, wrong in tried.items() if not wrong]
    assert good, tried
    [given], [made] = specs
    root = tmp_path_factory.mktemp("merged")
    served = make(root / "project", plan, given, made, build_pair(root / "pair", TOGETHER))

    def stubs(model: str) -> list[int]:
        return [number for number, name in stubs_in(served.repository) if name == model]

    with traced_server(served, library, good[0], root / "run") as traced:
        found = ask_together(traced, warmed, served, CASES, stubs)
    if folder := os.environ.get("TRITONKIT_RESULTS"):
        told = {
            "format": 1, "facts": warmed.facts(), "cupti": good[0].name, "instances": INSTANCES, "rounds": ROUNDS,
            "cases": [
                result.as_json() if isinstance(result, Together) else {"case": str(case), "failed": result}
                for case, result in found.items()
            ],
        }  # fmt: skip
        (Path(folder) / "merged_copies_seen.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    return found


@pytest.mark.parametrize("case", CASES, ids=str)
def test_batches_of_several_instances_are_run_as_one(results: dict[Case, Together | str], case: Case) -> None:
    seen = results[case]
    assert isinstance(seen, Together), seen
    assert seen.are_all_there, seen.result.table()
    assert seen.count < seen.requests, f"{seen.requests} batches of instances were run as {seen.count}"


@pytest.mark.parametrize("case", CASES, ids=str)
def test_copies_are_those_of_the_report_in_bytes_and_in_number(
    results: dict[Case, Together | str], case: Case
) -> None:  # fmt: skip
    """Each instance's rows by themselves on the way in, all rows of a merged batch together on the way out."""
    seen = results[case]
    assert isinstance(seen, Together), seen
    assert seen.result.is_right, seen.result.table()


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_host_waits_once_for_all_of_a_merged_batch(results: dict[Case, Together | str], case: Case) -> None:
    seen = results[case]
    assert isinstance(seen, Together), seen
    assert seen.result.waits_are_right, seen.result.table()
