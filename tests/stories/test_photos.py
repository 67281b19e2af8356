"""Photographs in full size come back as from OpenCV and ONNX Runtime alone, in both layouts and over both protocols."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import onnxruntime
import pytest
from story_tools import CLONE, PROTOCOLS, Array, Protocol, Running, make_project, render_to, running

from tritonkit import Answer, Pipeline

pytestmark = pytest.mark.server

LAYOUTS = ("ensemble", "fused")
TOLERANCE = 1e-5  # of a score: a batch of another size may add in another order


@pytest.fixture(scope="module")
def photographs() -> list[bytes]:
    """The sample photographs as JPEG files, as models/make_photos.py makes them."""
    sys.path.insert(0, str(CLONE / "models"))
    try:
        from make_photos import encoded_photographs
    finally:
        sys.path.remove(str(CLONE / "models"))
    return list(encoded_photographs().values())


@dataclass(frozen=True)
class Expected:
    """Class numbers INT64 [N, 3], best first, and their scores [N, 3]."""

    labels: Array
    scores: Array


@pytest.fixture(scope="module")
def expected(photographs: list[bytes]) -> Expected:
    """Each photograph alone, in plain OpenCV, ONNX Runtime and numpy: nothing of this project takes part."""
    session = onnxruntime.InferenceSession(CLONE / "models" / "photos.onnx", providers=["CPUExecutionProvider"])
    rows = []
    for data in photographs:
        image = cv2.cvtColor(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
        pixels = cv2.resize(image, (224, 224), interpolation=cv2.INTER_LINEAR)
        rows.append(session.run(["logits"], {"pixels": pixels[np.newaxis]})[0][0])
    logits = np.array(rows, np.float64)
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    scores = powers / powers.sum(axis=1, keepdims=True)
    best = np.argsort(-scores, axis=1, kind="stable")[:, :3]
    return Expected(best, np.take_along_axis(scores, best, axis=1))


@pytest.fixture(scope="module", params=LAYOUTS)
def layout(request: pytest.FixtureRequest) -> str:
    """One after the other, each with a server of its own."""
    chosen: str = request.param
    return chosen


@pytest.fixture(scope="module")
def served(layout: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """specs/photos.yaml in one layout."""
    text = (CLONE / "specs" / "photos.yaml").read_text()
    [line] = [line for line in text.splitlines() if line.startswith("layout: ")]
    root = tmp_path_factory.mktemp(layout)
    project = make_project(root / "project", {"photos.yaml": text.replace(line, f"layout: {layout}")})
    with running(render_to(root / "repository", project)) as server:
        assert (server.rendered.plans["photos"].ensemble is None) == (layout == "fused")
        yield server


def infer(served: Running, protocol: Protocol, images: Sequence[bytes]) -> list[Answer]:
    with Pipeline("photos", served.address(protocol), protocol=protocol, in_flight=16) as pipeline:
        return pipeline.infer(images)


def check(answers: Sequence[Answer], expected: Expected, which: Sequence[int]) -> None:
    """The answers are those to the photographs `which`, item by item."""
    assert [answer.error for answer in answers] == [None] * len(which)
    assert [answer.label.tolist() for answer in answers] == expected.labels[which].tolist()
    np.testing.assert_allclose([answer.score for answer in answers], expected.scores[which], rtol=0, atol=TOLERANCE)


def test_the_photographs_have_different_answers(expected: Expected) -> None:
    assert len({tuple(row) for row in expected.labels.tolist()}) >= 5, "else a mix-up would not show below"


def test_each_photograph_is_answered_as_by_opencv_and_onnx_runtime_alone(
    served: Running, protocol: Protocol, photographs: list[bytes], expected: Expected
) -> None:
    which = np.random.default_rng(5).integers(len(photographs), size=64).tolist()
    answers = infer(served, protocol, [photographs[i] for i in which])
    check(answers, expected, which)
    first = answers[0].outputs
    assert {name: (value.dtype, value.shape) for name, value in first.items()} == {
        "label": (np.dtype(np.int64), (3,)),
        "score": (np.dtype(np.float32), (3,)),
    }


def spoiled(photographs: list[bytes]) -> dict[int, tuple[bytes, str]]:
    """What is sent instead of some photographs, and what is said of each."""
    done, wide = cv2.imencode(".png", np.zeros((1, 1, 3), np.uint8))
    assert done
    # The size stands in a PNG's first chunk; it is read, and refused, before anything is decoded.
    huge = wide.tobytes()[:16] + (20_000).to_bytes(4, "big") * 2 + wide.tobytes()[24:]
    return {
        1: (b"", "empty (0 bytes)"),
        4: (photographs[4][: len(photographs[4]) // 2], "truncated"),
        6: (huge, "20000x20000 = 400000000 pixels, more than the limit of 25000000"),
        7: (photographs[0] + bytes(10_000_000), "more than the limit of 10000000"),
    }


def test_bad_images_among_photographs_fail_alone_and_alike_over_both_protocols(
    served: Running, photographs: list[bytes], expected: Expected
) -> None:
    bad = spoiled(photographs)
    items = [bad[i][0] if i in bad else data for i, data in enumerate(photographs)]
    good = [i for i in range(len(items)) if i not in bad]
    said = {}
    for protocol in PROTOCOLS:
        answers = infer(served, protocol, items)
        check([answers[i] for i in good], expected, good)
        for i, (_, words) in bad.items():
            error = answers[i].error
            assert error is not None
            assert (error.code, words in error.message) == ("invalid_argument", True), error
            assert "Traceback" not in error.raw
        said[protocol] = [str(answers[i].error) for i in bad]
    assert said["grpc"] == said["http"]
    check(infer(served, "grpc", photographs[:1]), expected, [0])


def test_a_request_of_eight_photographs_is_answered_in_order_and_names_its_bad_one(
    served: Running, photographs: list[bytes], expected: Expected
) -> None:
    which = list(range(8))
    labels, scores = several(served, [photographs[i] for i in which])
    assert labels.tolist() == expected.labels[which].tolist()
    np.testing.assert_allclose(scores, expected.scores[which], rtol=0, atol=TOLERANCE)
    items = list(photographs[:8])
    items[5] = b"not a photograph"
    with pytest.raises(Exception, match=r"item 5: not a PNG or JPEG image"):
        several(served, items)


def several(served: Running, items: Sequence[bytes]) -> tuple[Array, Array]:
    """One request with all items as one batch, by tritonclient alone."""
    import tritonclient.grpc as triton

    column = np.array([[item] for item in items], dtype=np.object_)
    tensor = triton.InferInput("image", list(column.shape), "BYTES").set_data_from_numpy(column)
    with triton.InferenceServerClient(served.address("grpc")) as client:
        answer = client.infer("photos", [tensor])
        return answer.as_numpy("label"), answer.as_numpy("score")
