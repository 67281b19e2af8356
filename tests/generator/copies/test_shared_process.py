"""Reports with `process: shared`, worked out by hand."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from generator.copies import Place, Report, Sizes, copies_of
from generator.copies.chart import draw
from generator.plan import Plan
from generator.problems import UserError
from generator.workspace import open_workspace
from generator_projects import SHORT, make_project

SHARED = SHORT.replace("name: small\n", "name: small\nlayout: fused\n").replace(
    "net.onnx}", "net.onnx, buffers: {process: shared}}"
)
OWN = SHARED.replace("shared", "own")
ALONE = """\
name: small
inputs: {pixels: {type: fp32, dims: [1, 8, 8]}}
outputs: {logits: {type: fp32, dims: [10]}}
model: {onnx: models/net.onnx, buffers: {process: shared}}
layout: fused
batching: {max_batch_size: 32}
instances: [{kind: gpu, count: 4}]
targets:
  embedded: {instances: [{kind: cpu, count: 4}]}
  production: {server: "26.07", engine: tensorrt, precision: fp16, gpu: h200}
"""
PIXELS, LOGITS = 64 * 4, 10 * 4


def planned(root: Path, spec: str, target: str = "production") -> Plan:
    work = open_workspace(make_project(root / "project", {"spec": spec}), target=target)
    work.stop_on_errors()
    [plan] = work.plans[target]
    return plan


def report(root: Path, spec: str, target: str = "production", **sizes: int) -> Report:
    return copies_of(planned(root, spec, target), "http", Sizes(**sizes, given={"image": 1000, "label": 1}))


def ways(found: Report) -> list[tuple[str, str, str, int]]:
    """What is in no report of an engine of one's own: every hop that comes from or goes to the engine's process."""
    apart = {"engine's shm", "engine process", "pinned", "GPU"}
    return [(hop.rule, hop.source, hop.to, hop.copied_bytes) for hop in found.hops if {hop.source, hop.to} & apart]


def test_on_a_gpu_rows_go_through_memory_that_both_processes_see(tmp_path: Path) -> None:
    found = report(tmp_path, SHARED, items=3)
    assert ways(found) == [
        ("shared-in", "process", "engine's shm", 3 * PIXELS),
        ("shared-to-gpu", "engine's shm", "GPU", 3 * PIXELS),
        ("merged-out", "GPU", "pinned", 3 * LOGITS),
        ("rows-out", "pinned", "engine's shm", 3 * LOGITS),
        ("shared-out", "engine's shm", "process", 3 * LOGITS),
    ]
    assert [hop.rule for hop in found.hops if hop.waits] == ["merged-out"]
    assert {hop.by for hop in found.hops if hop.rule in {"shared-to-gpu", "merged-out", "rows-out"}} == {
        "engine process"
    }


def test_files_that_the_process_decodes_go_there_as_they_are(tmp_path: Path) -> None:
    spec = SHARED.replace("process: shared", "process: shared, preprocess: gpu, decode: gpu")
    found, files = report(tmp_path, spec, items=3), 3 * (4 + 1000)  # each with its length
    assert ways(found)[:5] == [
        ("shared-in", "process", "engine's shm", files),
        ("file-taken", "engine's shm", "engine process", files),
        ("file-in", "engine process", "GPU", files),
        ("decoded", "GPU", "GPU", 0),
        ("kernel", "GPU", "GPU", 0),
    ]
    assert [rule for rule, *_ in ways(found)[5:]] == ["merged-out", "rows-out", "shared-out"]
    assert found.waits == 1


def test_pixels_for_a_kernel_in_the_process_go_there_as_they_were_decoded(tmp_path: Path) -> None:
    spec = SHARED.replace("process: shared", "process: shared, preprocess: gpu")
    found = report(tmp_path, spec, items=3)
    assert [(rule, source, to) for rule, source, to, _ in ways(found)[:3]] == [
        ("shared-in", "process", "engine's shm"), ("shared-to-gpu", "engine's shm", "GPU"), ("kernel", "GPU", "GPU"),
    ]  # fmt: skip
    [first, second] = [size for rule, _, _, size in ways(found) if rule.startswith("shared-") and "out" not in rule]
    assert first == second > 0


def test_it_is_one_copy_of_the_answer_more_than_an_engine_of_each_instances_own(tmp_path: Path) -> None:
    shared, own = report(tmp_path / "shared", SHARED, items=3), report(tmp_path / "own", OWN, items=3)
    assert shared.copied_bytes - own.copied_bytes == 3 * LOGITS
    assert (shared.copies - own.copies, shared.waits, own.waits) == (1, 1, 1)
    assert (shared.least_bytes, shared.least_copies) == (own.least_bytes, own.least_copies)


def test_on_the_cpu_batches_are_put_together_by_the_engine_process(tmp_path: Path) -> None:
    found = report(tmp_path / "shared", SHARED, "embedded", items=2)
    assert ways(found) == [
        ("shared-in", "process", "engine's shm", 2 * PIXELS),
        ("merged-in", "engine's shm", "engine process", 2 * PIXELS),
        ("rows-out", "engine process", "engine's shm", 2 * LOGITS),
        ("shared-out", "engine's shm", "process", 2 * LOGITS),
    ]
    assert found.waits == 0
    own = report(tmp_path / "own", OWN, "embedded", items=2)
    assert found.copied_bytes - own.copied_bytes == 4 * (PIXELS + LOGITS)
    assert (found.least_bytes, found.least_copies) == (own.least_bytes, own.least_copies)


def test_of_several_instances_the_answers_leave_the_gpu_together(tmp_path: Path) -> None:
    """Two items of each of four: copies by each instance, and one of all rows by the engine process, which waits once."""
    alone, found = report(tmp_path / "1", ALONE, items=2), report(tmp_path / "4", ALONE, items=2, instances=4)
    assert found.items == 8
    assert ways(found) == [(rule, source, to, 4 * size) for rule, source, to, size in ways(alone)]
    assert {hop.rule: hop.times for hop in found.hops} == {
        hop.rule: 1 if hop.rule == "merged-out" else 4 for hop in alone.hops
    }
    shapes = {hop.rule: hop.shape for hop in found.hops}
    assert (shapes["shared-to-gpu"], shapes["merged-out"], shapes["rows-out"]) == ((2, 1, 8, 8), (8, 10), (2, 10))
    assert (found.copies, found.waits) == (4 * (alone.copies - 1) + 1, 1)
    assert (found.copied_bytes, found.least_bytes) == (4 * alone.copied_bytes, 4 * alone.least_bytes)
    assert found.least_copies == 4 * (alone.least_copies - 1) + 1


def test_on_the_cpu_rows_of_several_instances_are_copied_each_by_themselves(tmp_path: Path) -> None:
    alone = report(tmp_path / "1", ALONE, "embedded", items=2)
    found = report(tmp_path / "4", ALONE, "embedded", items=2, instances=4)
    assert {hop.times for hop in found.hops} == {4}
    assert (found.copies, found.copied_bytes) == (4 * alone.copies, 4 * alone.copied_bytes)


@pytest.mark.parametrize(
    ("spec", "instances", "said"),
    [
        (OWN, 2, "no engine of it is shared on target `production`"),
        (ALONE, 5, "`small` has 4 instances, and not 5"),
        (ALONE.replace("shared}", "shared, buckets: [32]}"), 3, "3 x 16 items are more than"),
    ],
)
def test_what_cannot_run_together_is_refused(tmp_path: Path, spec: str, instances: int, said: str) -> None:
    with pytest.raises(UserError, match=re.escape(said)):
        report(tmp_path, spec, items=16, instances=instances)


@pytest.mark.parametrize("target", ["production", "embedded"])
def test_requests_are_put_together_where_their_rows_are_handed_over(tmp_path: Path, target: str) -> None:
    hops = report(tmp_path, ALONE, target, requests=8).hops
    assert [hop.rule for hop in hops if hop.tensor == "pixels" and hop.source == "process"] == ["shared-in"]


def test_an_engine_that_is_a_model_of_its_own(tmp_path: Path) -> None:
    spec = SHARED.replace("layout: fused\n", "").replace("engine: tensorrt, precision: fp16", "engine: inductor")
    rules = [hop.rule for hop in report(tmp_path, spec).hops if hop.model == "small_engine"]
    assert rules == [
        "hand-over", "stub-in", "as-numpy", "shared-in", "shared-to-gpu", "merged-out", "rows-out", "shared-out",
        "stub-out", "respond",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("target", "places"),
    [
        ("production", ["socket", "server", "pinned", "stub's shm", "process", "engine's shm", "GPU"]),
        ("embedded", ["socket", "server", "stub's shm", "process", "engine's shm", "engine process"]),
    ],
)
def test_the_picture_has_a_column_for_each_place(tmp_path: Path, target: str, places: list[str]) -> None:
    draw(report(tmp_path, SHARED, target), tmp_path / "one.svg")
    said = re.findall(r"<!-- ([^>]*) -->", (tmp_path / "one.svg").read_text())
    assert [text for text in said if text in get_args(Place)] == places
