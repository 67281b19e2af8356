"""The same answers from `folded` as from `ensemble`, item by item, by the runtime's own code without a server."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from onnx import TensorProto, helper

from generator.engine import Alone, AnswerAlone
from generator.gate_set import encode, read_gate_set
from generator.project import Project
from generator.workspace import open_workspace, render_trees

CLONE = Path(__file__).parents[3]
LAYOUTS = ("ensemble", "folded")
TOLERANCE = 1e-6  # of softmax, as generator/engine/fold/operators.py states it
Array = np.ndarray[Any, Any]
Both = tuple[Alone, Alone]


def project(root: Path, specs: Mapping[str, str]) -> Project:
    """A project of these specs, with the clone's models and data."""
    (root / "specs").mkdir(parents=True)
    for folder in ("models", "data", "steps"):
        (root / folder).symlink_to(CLONE / folder)
    for name, text in specs.items():
        (root / "specs" / f"{name}.yaml").write_text(text)
    return Project(root)


@contextmanager
def both(root: Path, name: str, text: str) -> Iterator[Both]:
    """The pipeline in both layouts. `text` has a line `layout: …`."""
    with ExitStack() as stack:
        found = []
        for layout in LAYOUTS:
            changed = re.sub(r"(?m)^layout: \w+", f"layout: {layout}", text)
            work = open_workspace(project(root / layout, {name: changed}), target="embedded")
            work.stop_on_errors()
            [plan], [tree] = work.plans["embedded"], render_trees(work)
            found.append(stack.enter_context(Alone(plan, tree.files)))
        yield found[0], found[1]


def clone_spec(name: str) -> str:
    text = (CLONE / "specs" / f"{name}.yaml").read_text()
    return text if "\nlayout:" in text else text.replace("\ninputs:", "\nlayout: ensemble\ninputs:", 1)


@pytest.fixture(scope="module", params=["digits", "canvas", "detector"])
def labelled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Both]]:
    with both(tmp_path_factory.mktemp("both"), request.param, clone_spec(request.param)) as pipelines:
        yield request.param, pipelines


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    with both(tmp_path_factory.mktemp("both"), "digits", clone_spec("digits")) as pipelines:
        yield pipelines


def images(pixels: Array) -> dict[str, Array]:
    """A batch of encoded images."""
    return {"image": np.array([[encode(image, "png")] for image in pixels], object)}


def compare(one: AnswerAlone, other: AnswerAlone, *, exact: frozenset[str] = frozenset({"label"})) -> None:
    assert one.failed == other.failed
    assert list(one.outputs) == list(other.outputs)
    for name, wanted in one.outputs.items():
        found = other.outputs[name]
        assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape)
        if name in exact:
            assert found.tolist() == wanted.tolist()
        else:
            np.testing.assert_allclose(found, wanted, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("size", [1, 7, 16])
def test_the_gate_set(labelled: tuple[str, Both], size: int) -> None:
    name, pipelines = labelled
    gate = read_gate_set(CLONE / "data" / f"{name}-gate.npz", pipelines[0].plan.inputs)
    data = np.array([[item["image"]] for item in gate.items], object)
    for start in range(0, len(data) if size > 1 else 20, size):
        answers = [alone.run({"image": data[start : start + size]}) for alone in pipelines]
        compare(answers[0], answers[1])


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(arrays.arrays(np.uint8, st.tuples(st.sampled_from([1, 2, 32]), st.just(8), st.just(8))))
def test_any_images(digits: Both, pixels: Array) -> None:
    """Black and white, all alike, whole batches: labels may differ where scores are as good as equal, and only there."""
    one, other = (alone.run(images(pixels)) for alone in digits)

    differ = one.outputs["label"] != other.outputs["label"]
    np.testing.assert_allclose(other.outputs["score"], one.outputs["score"], rtol=0, atol=TOLERANCE)
    for row in np.flatnonzero(differ.any(axis=1)):
        assert np.diff(one.outputs["score"][row]).max() > -TOLERANCE


def test_bad_items_fail_alike(digits: Both) -> None:
    data = images(np.full((3, 8, 8), 200, np.uint8))["image"]
    data[1, 0] = data[1, 0][:30]
    one, other = (alone.run({"image": data}) for alone in digits)
    assert one.failed == other.failed != {}


DETECTOR = """\
name: boxes
layout: ensemble
inputs: {raw: {type: fp32, dims: [12, 7]}}
outputs:
  boxes: {type: fp32, dims: [5, 4]}
  label: {type: LABEL, dims: [5]}
  score: {type: fp32, dims: [5]}
  count: {type: int32, dims: [1]}
models:
  head: {onnx: PATH}
  answer:
    steps: [{nms: {boxes: corners, scores: chances, max_detections: 5, score_threshold: 0.5 LABELS}}]
    inputs: {corners: {type: fp32, dims: [12, 4]}, chances: {type: fp32, dims: [12, 3]}}
flow: [{model: head}, {model: answer}]
batching: {max_batch_size: 4}
"""


def write_head(path: Path) -> None:
    """raw [n, 12, 7] → corners [n, 12, 4] and chances [n, 12, 3]: its two parts."""
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 12, length])
        for name, length in (("raw", 7), ("corners", 4), ("chances", 3))
    ]
    nodes = [helper.make_node("Split", ["raw", "parts"], ["corners", "chances"], axis=2)]
    parts = helper.make_tensor("parts", TensorProto.INT64, [2], [4, 3])
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], [parts])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


@pytest.mark.parametrize("labels", ["", "data/three.labels"])
def test_suppression(tmp_path: Path, labels: str) -> None:
    """`nms` in the graph; with labels it leaves their texts to a step outside, and what is no detection has none."""
    text = DETECTOR.replace("LABELS", f", labels: {labels}" if labels else "").replace(
        "LABEL", "string" if labels else "int64"
    )
    with ExitStack() as stack:
        found = []
        for layout in LAYOUTS:
            root = tmp_path / layout
            for folder in ("specs", "models", "data"):
                (root / folder).mkdir(parents=True)
            write_head(root / "models" / "head.onnx")
            (root / "data" / "three.labels").write_text("cat\ndog\nbird\n")
            changed = text.replace("PATH", "models/head.onnx").replace("layout: ensemble", f"layout: {layout}")
            (root / "specs" / "boxes.yaml").write_text(changed)
            work = open_workspace(Project(root), target="embedded")
            work.stop_on_errors()
            [plan], [tree] = work.plans["embedded"], render_trees(work)
            found.append(stack.enter_context(Alone(plan, tree.files)))
        assert [m.key for m in found[1].plan.models] == (["head", "answer"] if labels else ["head"])
        rng = np.random.default_rng(7)
        for items in (1, 4):
            raw = rng.random((items, 12, 7), np.float32)
            raw[..., 2:4] += raw[..., :2]
            raw[-1, :, 4:] *= 0.5 if items == 4 else 1  # an item without any detection
            one, other = (alone.run({"raw": raw}) for alone in found)
            compare(one, other, exact=frozenset({"label", "count", "boxes", "score"}))
            assert (one.outputs["count"] > 0).any()
