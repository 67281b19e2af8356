"""Pipelines in layout `folded` answer as in `ensemble`: bytes go into their engines, and small answers come out."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator

import numpy as np
import onnx
import pytest
from story_tools import CLONE, Protocol, Rendered, Running, gate, make_project, render_to, running, tritonkit

from tritonkit import Answer, Pipeline

pytestmark = pytest.mark.server
NAMES = ("digits", "photos", "canvas")
TOLERANCE = 1e-5  # of a score: a batch of another size may add in another order, in either layout


def in_layout(root: pytest.TempPathFactory, layout: str) -> Rendered:
    """The clone's specs in one layout on the embedded server."""
    folder = root.mktemp(layout)
    specs = {}
    for name in NAMES:
        text = re.sub(r"(?m)^layout: .*\n", "", (CLONE / "specs" / f"{name}.yaml").read_text())
        specs[f"{name}.yaml"] = text.replace("\ninputs:", f"\nlayout: {layout}\ninputs:", 1)
    return render_to(folder / "repository", make_project(folder / "project", specs))


@pytest.fixture(scope="module")
def ensemble(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(in_layout(tmp_path_factory, "ensemble")) as server:
        yield server


@pytest.fixture(scope="module")
def folded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(in_layout(tmp_path_factory, "folded")) as server:
        yield server


@pytest.fixture(scope="module")
def photographs() -> list[bytes]:
    """The sample photographs, small: it is not what they cost that counts here."""
    sys.path.insert(0, str(CLONE / "models"))
    try:
        from make_photos import encoded_photographs
    finally:
        sys.path.remove(str(CLONE / "models"))
    return list(encoded_photographs(longest=300).values())


def items_of(name: str, photographs: list[bytes]) -> list[bytes]:
    """Images of the pipeline with one in five spoiled."""
    items = photographs * 3 if name == "photos" else [item["image"] for item in gate(name).items][:120]
    return [item if index % 5 else item[:40] for index, item in enumerate(items)]


def infer(server: Running, protocol: Protocol, name: str, items: list[bytes]) -> list[Answer]:
    with Pipeline(name, server.address(protocol), protocol=protocol, in_flight=16) as pipeline:
        return pipeline.infer(items)


@pytest.mark.parametrize("name", NAMES)
def test_the_same_answers_and_the_same_errors(
    ensemble: Running, folded: Running, photographs: list[bytes], protocol: Protocol, name: str
) -> None:
    items = items_of(name, photographs)
    both = [infer(server, protocol, name, items) for server in (ensemble, folded)]
    assert sum(answer.ok for answer in both[0]) == sum(index % 5 != 0 for index in range(len(items)))
    for one, other in zip(*both, strict=True):
        assert one.error == other.error
        if one.error is None:
            assert (one.label.dtype, one.label.tolist()) == (other.label.dtype, other.label.tolist())
            np.testing.assert_allclose(one.score, other.score, rtol=0, atol=TOLERANCE)


def test_what_passes_between_the_models(folded: Running) -> None:
    """The engine's graph is not that of the file, and takes a quarter of the bytes."""
    files = folded.rendered.files
    graph = onnx.load_from_string(files["digits_engine/1/model.onnx"])
    onnx.checker.check_model(graph, full_check=True)
    assert [v.type.tensor_type.elem_type for v in graph.graph.input] == [onnx.TensorProto.UINT8]
    assert [v.name for v in graph.graph.output] == ["label_index", "score"]
    assert "photos_postprocess/config.pbtxt" not in files
    plans = folded.rendered.plans
    assert [m.name for m in plans["photos"].models] == ["photos_preprocess", "photos_engine"]


def test_the_command_line_shows_what_is_in_the_graph(folded: Running) -> None:
    root = folded.rendered.repository.parent / "project"
    printed = tritonkit(root, "render", "--show-plan", "--target", "embedded", "specs/digits.yaml")
    assert printed.returncode == 0, printed.stderr
    line = "# In the graph of `engine`: normalize -> channels_first before pixels, softmax -> top_k after logits."
    assert line in printed.stdout.splitlines()
