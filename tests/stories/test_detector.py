"""Digits anywhere on a canvas are found, named and counted: in both layouts, over both protocols, as without a server."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from story_tools import CLONE, Array, Protocol, Running, encoded, make_project, render_to, running

from generator.engine import Alone
from generator.engine.validate.metrics import Boxes, Score, score_f1
from generator.gate_set import GateSet, read_gate_set
from generator.plan import Tensor
from tritonkit import Pipeline

pytestmark = pytest.mark.server

LAYOUTS = ("ensemble", "fused")
FLOOR = 0.93  # as in the spec
SCORE, PIXELS = 1e-5, 1e-3  # a batch of another size may add in another order


@pytest.fixture(scope="module")
def data() -> GateSet:
    """Canvases that show each held-out digit once, as PNG files, and where each digit lies."""
    return read_gate_set(CLONE / "data" / "detector-gate.npz", [Tensor("image", "STRING", (1,), encoded=True)])


@pytest.fixture(scope="module", params=LAYOUTS)
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """specs/detector.yaml in one layout; one after the other, each with a server of its own."""
    layout: str = request.param
    root = tmp_path_factory.mktemp(layout)
    with running(
        render_to(root / "repository", make_project(root / "project", {"detector.yaml": spec(layout)}))
    ) as it:
        yield it


def spec(layout: str) -> str:
    text = (CLONE / "specs" / "detector.yaml").read_text()
    [line] = [line for line in text.splitlines() if line.startswith("layout: ")]
    return text.replace(line, f"layout: {layout}")


def alone(root: Path, layout: str, items: Sequence[bytes]) -> dict[str, Array]:
    """Every output for all items, without a server, in batches of 16."""
    rendered = render_to(root / "repository", make_project(root / "project", {"detector.yaml": spec(layout)}))
    with Alone(rendered.plans["detector"], rendered.files) as pipeline:
        parts = [pipeline.run({"image": encoded(items[i : i + 16])}) for i in range(0, len(items), 16)]
    assert not any(part.failed for part in parts)
    return {name: np.concatenate([part.outputs[name] for part in parts]) for name in parts[0].outputs}


@pytest.fixture(scope="module")
def expected(data: GateSet, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Array]:
    """What the pipeline answers alone."""
    return alone(tmp_path_factory.mktemp("alone"), "ensemble", [item["image"] for item in data.items])


def f1(answers: Sequence[Mapping[str, Array]], data: GateSet) -> Score:
    found = [
        Boxes(answer["boxes"], answer["label"].tolist(), answer["score"], int(answer["count"][0]))
        for answer in answers
    ]
    present = [labels[labels[:, 4] >= 0] for labels in data.labels]
    return score_f1(found, [Boxes(rows[:, :4], [str(int(label)) for label in rows[:, 4]]) for rows in present])


def rows_of(outputs: Mapping[str, Array]) -> list[dict[str, Array]]:
    return [{name: array[i] for name, array in outputs.items()} for i in range(len(outputs["count"]))]


def test_both_layouts_answer_alike_alone(data: GateSet, expected: dict[str, Array], tmp_path: Path) -> None:
    fused = alone(tmp_path, "fused", [item["image"] for item in data.items])
    for name, array in expected.items():
        np.testing.assert_array_equal(fused[name], array, err_msg=name)


def test_the_server_is_as_right_as_the_pipeline_alone(
    served: Running, protocol: Protocol, data: GateSet, expected: dict[str, Array]
) -> None:
    with Pipeline("detector", served.address(protocol), protocol=protocol, in_flight=16) as pipeline:
        answers = pipeline.infer([item["image"] for item in data.items])
    assert [answer.error for answer in answers] == [None] * len(answers)
    reached, wanted = f1([answer.outputs for answer in answers], data), f1(rows_of(expected), data)
    assert reached.value == wanted.value >= FLOOR
    assert reached.right.tolist() == wanted.right.tolist()
    assert [int(answer.count[0]) for answer in answers] == expected["count"][:, 0].tolist()
    labels = [[label.decode() for label in row] for row in expected["label"]]
    assert [answer.label.tolist() for answer in answers] == labels
    np.testing.assert_allclose([answer.score for answer in answers], expected["score"], rtol=0, atol=SCORE)
    np.testing.assert_allclose([answer.boxes for answer in answers], expected["boxes"], rtol=0, atol=PIXELS)


def test_a_batch_of_unlike_counts_has_zeros_beyond_each_count(
    served: Running, data: GateSet, expected: dict[str, Array]
) -> None:
    import tritonclient.grpc as triton

    # The emptiest and the fullest canvases beside each other, and two from between.
    order = np.argsort(expected["count"][:, 0], kind="stable")
    which = [int(order[i]) for i in (0, -1, 1, -2, 40, 60)]
    column = encoded([data.items[i]["image"] for i in which])
    tensor = triton.InferInput("image", list(column.shape), "BYTES").set_data_from_numpy(column)
    with triton.InferenceServerClient(served.address("grpc")) as client:
        answer = client.infer("detector", [tensor])
    counts = answer.as_numpy("count")
    assert counts.tolist() == expected["count"][which].tolist()
    assert len(set(counts[:, 0].tolist())) >= 3
    beyond = np.arange(8) >= counts
    assert not answer.as_numpy("boxes")[beyond].any()
    assert not answer.as_numpy("score")[beyond].any()
    assert set(answer.as_numpy("label")[beyond].tolist()) == {b""}
    assert all(label in b"0123456789" and label for label in answer.as_numpy("label")[~beyond].tolist())


def test_a_bad_canvas_fails_alone(served: Running, protocol: Protocol, data: GateSet) -> None:
    items = [item["image"] for item in data.items[:6]]
    items[2] = items[2][:40]
    with Pipeline("detector", served.address(protocol), protocol=protocol) as pipeline:
        answers = pipeline.infer(items)
    assert [answer.index for answer in answers if answer.error is not None] == [2]
