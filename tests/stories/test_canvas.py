"""A flow with two branches: four digits are found on a canvas, cut out by a user's own class, and named."""

from __future__ import annotations

import numpy as np
import pytest
from story_tools import Protocol, Running, encoded, gate, texts

from generator.engine import Alone
from generator.gate_set import top1
from loadtest.server_statistics import read_counts, read_counts_after
from tritonkit import Pipeline

pytestmark = pytest.mark.server


def test_the_four_digits_of_each_canvas_are_found_and_named(served: Running, protocol: Protocol) -> None:
    data = gate("canvas")
    items = [item["image"] for item in data.items]
    before = read_counts(served.server.http_address)
    with Pipeline("canvas", served.address(protocol), protocol=protocol) as pipeline:
        answers = pipeline.infer(items)
    wanted = {model.name: len(items) for model in served.rendered.plans["canvas"].models}
    after = read_counts_after(served.server.http_address, before, wanted)
    assert [answer.error for answer in answers] == [None] * len(items)
    assert top1([answer.label for answer in answers], data.labels) >= 0.95
    # Every model of both branches has seen every canvas.
    for model in served.rendered.plans["canvas"].models:
        assert after[model.name].inferences - before[model.name].inferences == len(items), model.name


def test_it_answers_as_the_same_pipeline_without_a_server(served: Running, protocol: Protocol) -> None:
    rendered = served.rendered
    items = [item["image"] for item in gate("canvas").items]
    with Alone(rendered.plans["canvas"], rendered.files) as pipeline:
        parts = [pipeline.run({"image": encoded(items[i : i + 16])}) for i in range(0, len(items), 16)]
    assert not any(part.failed for part in parts)
    with Pipeline("canvas", served.address(protocol), protocol=protocol) as client:
        answers = client.infer(items)
    assert [answer.label.tolist() for answer in answers] == [row for p in parts for row in texts(p.outputs["label"])]
    np.testing.assert_array_equal([a.boxes for a in answers], np.concatenate([p.outputs["boxes"] for p in parts]))
    np.testing.assert_allclose(
        [a.score for a in answers], np.concatenate([p.outputs["score"] for p in parts]), rtol=0, atol=1e-6
    )
