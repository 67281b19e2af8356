"""What the report says of copies on a GPU, against every copy that the server's processes make there.

TRITONKIT_COPY_TRACE names a folder with libcopy_trace.so (copy_trace.c says how it is compiled) and a libcupti.so.N
or several. TRITONKIT_RESULTS may name a folder: all that was seen is written to copies_seen.json there.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from copy_trace_cases import CASES, MOST, Case, build_pair, make
from copy_trace_reader import TraceError
from copy_trace_run import REQUESTS, Result, ask_all, traced_server

from tritonkit_runtime.device.cuda import Cuda
from tritonkit_runtime.parameters import TensorSpec

pytestmark = pytest.mark.gpu

Specs = tuple[list[TensorSpec], list[TensorSpec]]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_pair(tmp_path_factory.mktemp("pair"), MOST)


@pytest.fixture(scope="module")
def results(
    library: Path, tried: dict[Path, str], warmed: Cuda, plan: Path, specs: Specs, pair: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[Case, Result | str]:  # fmt: skip
    """What was seen of every case, with the first libcupti that sees the server's processes."""
    [given], [made] = specs
    root = tmp_path_factory.mktemp("copies")
    served = make(root / "project", plan, given, made, pair)
    why: dict[str, str] = {}
    for cupti in sorted(tried, key=lambda file: bool(tried[file])):  # those that see everything come first
        try:
            with traced_server(served, library, cupti, root / cupti.name) as traced:
                found = ask_all(traced, warmed, served, CASES)
                versions = {process.cupti for process in traced.tracing.processes.values()}
        except TraceError as error:
            why[cupti.name] = str(error)
            continue
        if folder := os.environ.get("TRITONKIT_RESULTS"):
            told = {
                "format": 1, "facts": warmed.facts(), "cupti": sorted(versions), "requests": REQUESTS,
                "known_program": {file.name: wrong or "every copy and wait was seen" for file, wrong in tried.items()},
                "unused": why,
                "cases": [
                    result.as_json() if isinstance(result, Result) else {"case": str(case), "failed": result}
                    for case, result in found.items()
                ],
            }  # fmt: skip
            (Path(folder) / "copies_seen.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
        return found
    raise AssertionError(
        "no libcupti traces the server: " + "; ".join(f"{name}: {text}" for name, text in why.items())
    )


def test_of_a_known_program_every_copy_and_every_wait_is_seen(tried: dict[Path, str]) -> None:
    assert "" in tried.values(), "\n".join(f"{file.name}: {wrong}" for file, wrong in tried.items())


@pytest.mark.parametrize("case", CASES, ids=str)
def test_copies_are_those_of_the_report_to_the_byte(results: dict[Case, Result | str], case: Case) -> None:
    result = results[case]
    assert isinstance(result, Result), result
    assert result.is_right, result.table()


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_host_waits_as_often_as_the_report_says(results: dict[Case, Result | str], case: Case) -> None:
    result = results[case]
    assert isinstance(result, Result), result
    assert result.waits_are_right, result.table()
