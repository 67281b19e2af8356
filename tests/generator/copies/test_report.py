"""Reports of the clone's pipelines: hops, sums, and what was assumed."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Literal

import pytest

from generator.copies import RULES, Protocol, Report, Sizes, copies_of
from generator.copies.chart import draw
from generator.project import Project
from generator.resolve.other_layout import in_layout
from generator.workspace import open_workspace
from generator_projects import SHORT, make_project

ROOT = Path(__file__).parents[3]
FUSED = SHORT.replace("gpu: h200}", "gpu: h200, layout: fused}")
ENGINE_ALONE = """\
name: small
inputs: {pixels: {type: fp32, dims: [1, 8, 8]}}
outputs: {logits: {type: fp32, dims: [10]}}
model: {onnx: models/net.onnx}
layout: fused
batching: {max_batch_size: 32}
instances: [{kind: gpu}]
targets:
  embedded: {instances: [{kind: cpu}]}
  production: {server: "26.07", engine: tensorrt, precision: fp16, gpu: h200}
"""
_IMAGE = 1000
_SENT = _IMAGE + 4  # with its length in front
_LABELS, _SCORES = 3 * (1 + 4), 3 * 4


def report(
    layout: Literal["ensemble", "fused", "folded"] | None = None, protocol: Protocol = "http",
    target: str = "embedded", **sizes: int,
) -> Report:  # fmt: skip
    """Of the digits, with images of 1,000 bytes and labels of one."""
    project = Project(ROOT)
    work = open_workspace(project, [ROOT / "specs" / "digits.yaml"], target)
    work.stop_on_errors()
    [resolved] = work.resolved[target]
    plan = resolved.plan if layout is None else in_layout(resolved.spec, resolved.plan, layout, project).plan
    return copies_of(plan, protocol, Sizes(**sizes, given={"image": _IMAGE, "label": 1}))


def test_fused_over_http_copies_what_the_client_sees_three_times_and_nothing_between() -> None:
    found = report("fused")
    assert found.copied_bytes == 3 * (_SENT + _LABELS + _SCORES)
    assert found.copies == 9
    assert (found.least_bytes, found.least_copies) == (_SENT + _LABELS + _SCORES, 3)
    assert [hop.tensor for hop in found.hops if not hop.copied_bytes] == ["pixels", "logits"]


def test_an_ensemble_copies_what_is_between_four_times() -> None:
    between = 4 * 64 + 4 * 10
    assert report("ensemble").copied_bytes == report("fused").copied_bytes + 4 * between


def test_grpc_copies_what_the_client_sees_once_more_each_way_and_shared_memory_not_at_all() -> None:
    http = report("fused")
    assert report("fused", "grpc").copied_bytes == http.copied_bytes + http.least_bytes
    assert report("fused", "system-shm").copied_bytes == http.copied_bytes - http.least_bytes
    assert report("fused", "system-shm").least_copies == 0


def test_items_and_requests_multiply_and_requests_are_put_together() -> None:
    one, eight, apart = report("ensemble"), report("ensemble", items=8), report("ensemble", requests=8)
    assert eight.copied_bytes == 8 * one.copied_bytes
    assert apart.copied_bytes == 8 * (one.copied_bytes + 4 * 64 + 4 * 10)
    assert {hop.tensor for hop in apart.hops if hop.rule == "concatenate"} == {"image", "pixels", "logits"}
    assert (eight.items, apart.items) == (8, 8)


def test_requests_for_an_engine_on_a_gpu_are_put_together_where_they_are_staged(tmp_path: Path) -> None:
    found = {}
    for target in ("embedded", "production"):
        project = make_project(tmp_path / target, {"spec": ENGINE_ALONE})
        work = open_workspace(project, target=target)
        work.stop_on_errors()
        hops = copies_of(work.plans[target][0], "http", Sizes(requests=8)).hops
        found[target] = [hop.rule for hop in hops if hop.tensor == "pixels" and hop.source == "process"]
    assert found == {"embedded": ["concatenate"], "production": ["staged-in"]}


def test_on_a_gpu_the_host_waits_and_what_tritons_backends_do_was_not_seen() -> None:
    found = report("ensemble", target="production")
    gpu = [hop for hop in found.hops if "GPU" in (hop.source, hop.to)]
    assert [(hop.tensor, hop.source, hop.to) for hop in gpu] == [
        ("pixels", "pinned", "GPU"), ("logits", "GPU", "GPU"), ("logits", "GPU", "GPU"), ("logits", "GPU", "stub's shm"),
    ]  # fmt: skip
    assert found.waits == 3
    assert [hop.rule for hop in gpu if hop.is_seen] == ["stub-from-gpu"]
    assert found.least_copies == 5


def test_pixels_for_a_kernel_on_the_gpu_are_copied_instead_of_what_it_makes(tmp_path: Path) -> None:
    found = {}
    for where in ("cpu", "gpu"):
        spec = FUSED.replace("net.onnx}", f"net.onnx, buffers: {{preprocess: {where}}}}}")
        work = open_workspace(make_project(tmp_path / where, {"spec": spec}), target="production")
        work.stop_on_errors()
        given = {"image": _IMAGE, "label": 1, "pixels": 50}
        found[where] = copies_of(work.plans["production"][0], "http", Sizes(given=given))
    ways = {
        where: [(hop.rule, hop.copied_bytes) for hop in report.hops if "GPU" in (hop.source, hop.to)]
        for where, report in found.items()
    }
    assert ways["cpu"] == [("buffer-in", 4 * 64), ("buffer-out", 40)]
    assert ways["gpu"] == [("buffer-in", 50 * 50), ("kernel", 0), ("buffer-out", 40)]
    apart = 50 * 50 - 4 * 64
    assert found["gpu"].copied_bytes - found["cpu"].copied_bytes == 2 * apart
    assert found["gpu"].least_bytes - found["cpu"].least_bytes == apart


def test_files_that_the_gpu_decodes_get_there_encoded(tmp_path: Path) -> None:
    found = {}
    for where in ("cpu", "gpu"):
        spec = FUSED.replace("net.onnx}", f"net.onnx, buffers: {{preprocess: gpu, decode: {where}}}}}")
        work = open_workspace(make_project(tmp_path / where, {"spec": spec}), target="production")
        work.stop_on_errors()
        found[where] = copies_of(work.plans["production"][0], "http", Sizes(given={"image": _IMAGE, "pixels": 50}))
    ways = [(hop.rule, hop.copied_bytes) for hop in found["gpu"].hops if "GPU" in (hop.source, hop.to)]
    assert ways == [("file-in", _SENT), ("decoded", 0), ("kernel", 0), ("buffer-out", 40)]
    assert found["cpu"].copied_bytes - found["gpu"].copied_bytes == 2 * 50 * 50 - _SENT
    assert found["cpu"].least_bytes - found["gpu"].least_bytes == 50 * 50 - _SENT


def test_what_is_assumed_is_said() -> None:
    project = Project(ROOT)
    work = open_workspace(project, [ROOT / "specs" / "digits.yaml"], "embedded")
    found = copies_of(work.plans["embedded"][0], "grpc", Sizes())
    assert found.assumptions == ("one element of `image` has 65536 bytes", "one element of `label` has 256 bytes")
    assert report().assumptions == ()


def test_every_rule_is_on_the_page_and_is_used() -> None:
    page = (ROOT / "docs" / "reference" / "copies.md").read_text()
    tree = ast.parse((ROOT / "generator" / "copies" / "trace.py").read_text())
    words = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    assert [name for name in RULES if f"| `{name}` |" not in page] == []
    assert [name for name in RULES if name not in words] == []


@pytest.mark.parametrize("layout", ["ensemble", "fused", "folded"])
def test_the_picture_is_the_same_each_time(tmp_path: Path, layout: Literal["ensemble", "fused", "folded"]) -> None:
    for name in ("one.svg", "two.svg"):
        draw(report(layout), tmp_path / name)
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()
    assert b"<svg" in (tmp_path / "one.svg").read_bytes()


@pytest.mark.parametrize(("kinds", "there"), [("KIND_CPU", False), ("KIND_GPU", True), ("KIND_AUTO", True)])
def test_instances_in_tritons_own_words_say_where_an_engine_runs(tmp_path: Path, kinds: str, there: bool) -> None:
    own = f"net.onnx, config: {{instance_group: [{{kind: {kinds}}}]}}}}"
    text = ENGINE_ALONE.replace("net.onnx}", own).replace("layout: fused", "layout: ensemble")
    spec = text.replace("engine: tensorrt, precision: fp16", "engine: onnxruntime")
    work = open_workspace(make_project(tmp_path, {"spec": spec}), target="production")
    work.stop_on_errors()
    [resolved] = work.resolved["production"]
    found = copies_of(resolved.plan, "http", Sizes())
    assert any("GPU" in (hop.source, hop.to) for hop in found.hops) is there
