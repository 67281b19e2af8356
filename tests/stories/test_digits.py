"""The held-out digits come back as right as from the model itself, over both protocols."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import onnxruntime
import pytest
from story_tools import CLONE, Array, Protocol, Rendered, Running, encoded, gate, texts

from generator.engine import Alone
from generator.gate_set import top1
from tritonkit import Answer, Pipeline
from tritonkit.client.contract import Contract

pytestmark = pytest.mark.server

FLOOR = 0.98


@dataclass(frozen=True)
class Answers:
    """Labels [N, 3], best first, and their scores FP32 [N, 3]."""

    labels: list[list[str]]
    scores: Array


def infer(served: Running, protocol: Protocol, images: Sequence[bytes]) -> list[Answer]:
    plan = served.rendered.plans["digits"]
    contract = Contract.of_plan(plan)
    with Pipeline("digits", served.address(protocol), protocol=protocol, contract=contract) as pipeline:
        return pipeline.infer(images)


def by_the_model(images: Sequence[bytes]) -> Answers:
    """models/digits.onnx in plain numpy: nothing of this project takes part."""
    session = onnxruntime.InferenceSession(CLONE / "models" / "digits.onnx", providers=["CPUExecutionProvider"])
    names = (CLONE / "data" / "digits.labels").read_text().split()
    pixels = np.stack([cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_GRAYSCALE) for image in images])
    assert pixels.shape[1:] == (8, 8), "no resizing is needed for these"
    values = pixels[:, np.newaxis].astype(np.float64) / 255
    [logits] = session.run(None, {session.get_inputs()[0].name: values.astype(np.float32)})
    powers = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    scores = powers / powers.sum(axis=1, keepdims=True)
    best = np.argsort(-scores, axis=1, kind="stable")[:, :3]
    return Answers([[names[i] for i in row] for row in best], np.take_along_axis(scores, best, axis=1))


@pytest.fixture(scope="module")
def alone(rendered: Rendered) -> Answers:
    """The pipeline's own code, without a server, in batches of 32."""
    images = [item["image"] for item in gate("digits").items]
    with Alone(rendered.plans["digits"], rendered.files) as pipeline:
        parts = [pipeline.run({"image": encoded(images[i : i + 32])}) for i in range(0, len(images), 32)]
    assert not any(part.failed for part in parts)
    labels = [row for part in parts for row in texts(part.outputs["label"])]
    return Answers(labels, np.concatenate([part.outputs["score"] for part in parts]))


def test_the_held_out_digits_are_classified_as_by_the_model_itself(
    served: Running, protocol: Protocol, alone: Answers
) -> None:
    data = gate("digits")
    images = [item["image"] for item in data.items]
    answers = infer(served, protocol, images)
    assert [answer.error for answer in answers] == [None] * 360
    assert top1([answer.label for answer in answers], data.labels) >= FLOOR
    labels = [answer.label.tolist() for answer in answers]
    scores = np.stack([answer.score for answer in answers])
    for other in (alone, by_the_model(images)):
        assert labels == other.labels
        np.testing.assert_allclose(scores, other.scores, rtol=0, atol=1e-6)


def test_a_jpeg_loses_some_of_an_image_and_little_of_the_accuracy(served: Running, protocol: Protocol) -> None:
    data = gate("digits", "jpeg")
    answers = infer(served, protocol, [item["image"] for item in data.items])
    assert [answer.error for answer in answers] == [None] * 360
    assert top1([answer.label for answer in answers], data.labels) > 0.9
    lossless = by_the_model([item["image"] for item in gate("digits").items]).scores
    assert not np.allclose([answer.score for answer in answers], lossless, rtol=0, atol=1e-6), "nothing was lost?"


def test_the_client_gives_the_types_that_the_spec_declares(served: Running, protocol: Protocol) -> None:
    [answer] = infer(served, protocol, [gate("digits").items[0]["image"]])
    assert {name: (value.dtype, value.shape) for name, value in answer.outputs.items()} == {
        "label": (np.dtype(object), (3,)),
        "score": (np.dtype(np.float32), (3,)),
    }
    assert all(isinstance(label, str) for label in answer.label)
    assert list(answer.score) == sorted(answer.score, reverse=True)
