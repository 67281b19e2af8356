"""One spec in two layouts: `fused` answers as `ensemble` does, item by item, and fails as it does."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from story_tools import CLONE, PROTOCOLS, Protocol, Running, encoded, gate, make_project, render_to, running

from generator.engine import Alone
from loadtest.server_statistics import mean_batches, read_counts, read_counts_after
from tritonkit import Answer, Pipeline

pytestmark = pytest.mark.server
NAMES = ("digits", "canvas")


@pytest.fixture(scope="module")
def fused(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The clone's digits and canvas with `layout: fused` on the embedded server, one model each."""
    root = tmp_path_factory.mktemp("fused")
    specs = {}
    for name in NAMES:
        text = (CLONE / "specs" / f"{name}.yaml").read_text()
        changed = re.sub(r"(?m)^  embedded:( *#.*)?$", "  embedded:\n    layout: fused", text)
        specs[f"{name}.yaml"] = changed.replace("embedded: {", "embedded: {layout: fused, ")
    rendered = render_to(root / "repository", make_project(root / "project", specs))
    assert [[model.name for model in rendered.plans[name].models] for name in NAMES] == [["digits"], ["canvas"]]
    with running(rendered) as server:
        yield server


def images(name: str) -> list[bytes]:
    """Held-out images with one in five spoiled."""
    items = [item["image"] for item in gate(name).items]
    return [item if index % 5 else item[:40] for index, item in enumerate(items)]


def infer(server: Running, protocol: Protocol, name: str) -> list[Answer]:
    with Pipeline(name, server.address(protocol), protocol=protocol) as pipeline:
        return pipeline.infer(images(name))


@pytest.mark.parametrize("name", NAMES)
def test_both_layouts_give_the_same_answers_and_the_same_errors(
    served: Running, fused: Running, protocol: Protocol, name: str
) -> None:
    both = [infer(server, protocol, name) for server in (served, fused)]
    for one, other in zip(*both, strict=True):
        assert one.error == other.error
        assert (one.error is None) == (one.index % 5 != 0)
        if one.error is None:
            assert one.label.tolist() == other.label.tolist()
            np.testing.assert_allclose(one.score, other.score, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_it_answers_as_the_same_pipeline_without_a_server(fused: Running, protocol: Protocol, name: str) -> None:
    plan = fused.rendered.plans[name]
    items = [item["image"] for item in gate(name).items][: plan.max_batch_size]
    with Alone(plan, fused.rendered.files) as alone:
        expected = alone.run({"image": encoded(items)})
    with Pipeline(name, fused.address(protocol), protocol=protocol) as pipeline:
        answers = pipeline.infer(items)
    np.testing.assert_allclose([a.score for a in answers], expected.outputs["score"], rtol=0, atol=1e-6)


def test_requests_share_batches(fused: Running) -> None:
    """One model waits for company, and its batch stays whole to the end."""
    items = images("digits")
    before = read_counts(fused.server.http_address)
    with Pipeline("digits", fused.address("grpc"), in_flight=64) as pipeline:
        pipeline.infer(items)
    after = read_counts_after(fused.server.http_address, before, {"digits": len(items)})
    assert mean_batches(before, after)["digits"] > 1.5


SIDE_BY_SIDE = """\
name: sides
layout: fused
inputs: {x: {type: fp32, dims: [2]}}
outputs: {low: {type: fp32, dims: [2]}, high: {type: fp32, dims: [2]}}
models:
  picky: {python: steps/sides.py:Picky, inputs: {x: {type: fp32, dims: [2]}}, outputs: {low: {type: fp32, dims: [2]}}}
  plain: {python: steps/sides.py:Plain, inputs: {x: {type: fp32, dims: [2]}}, outputs: {high: {type: fp32, dims: [2]}}}
flow: [{model: picky}, {model: plain}]
"""
CLASSES = """\
class Picky:
    def __init__(self, parameters): pass
    def run(self, tensors, fail):
        for index, value in enumerate(tensors["x"][:, 0]):
            if value < 0: fail(index, f"{value:g} is below 0")
        return {"low": tensors["x"] - 1}


class Plain(Picky):
    def run(self, tensors, fail):
        return {"high": tensors["x"] + 1}
"""


def test_models_side_by_side_fail_without_harm(tmp_path: Path) -> None:
    """As an ensemble, these few requests make Triton 2.51 hang over gRPC and end over HTTP (TK232)."""
    project = make_project(tmp_path / "project", {"sides.yaml": SIDE_BY_SIDE})
    (project.root / "steps" / "sides.py").write_text(CLASSES)
    items = [np.array([-1 if index % 4 == 0 else index, 0], np.float32) for index in range(200)]
    with running(render_to(tmp_path / "repository", project)) as server:
        for protocol in PROTOCOLS:
            with Pipeline("sides", server.address(protocol), protocol=protocol, in_flight=16) as pipeline:
                answers = pipeline.infer(list(items))
            errors = [None if answer.error is None else answer.error.message for answer in answers]
            assert errors == ["-1 is below 0" if index % 4 == 0 else None for index in range(200)]
            assert all(a.high[0] == index + 1 for index, a in enumerate(answers) if a.ok)
