"""Requests of single images run together, and a bad image among them spoils no other."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from story_tools import PROTOCOLS, Protocol, Running, encoded, gate, texts

from generator.engine import Alone
from loadtest.server_statistics import mean_batches, read_counts, read_counts_after
from tritonkit import Answer, Pipeline

pytestmark = pytest.mark.server

MODELS = ("digits_preprocess", "digits_engine", "digits_postprocess")
GIF = b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;"


def with_comment(png: bytes, length: int) -> bytes:
    """The same image in a file that is 12 + `length` bytes longer: a tEXt chunk before the end chunk."""
    data = b"Comment\0".ljust(length, b"x")
    chunk = struct.pack(">I", length) + b"tEXt" + data + struct.pack(">I", zlib.crc32(b"tEXt" + data))
    return png[:-12] + chunk + png[-12:]


def images(count: int) -> list[bytes]:
    """So many digits in files of as many lengths."""
    shortest = min(len(item["image"]) for item in gate("digits").items[:count])
    made = []
    for index, item in enumerate(gate("digits").items[:count]):
        png = item["image"]
        made.append(with_comment(png, shortest + 200 + 3 * index - len(png)))
    assert len({len(png) for png in made}) == count
    return made


def expected(gathering: Running, items: Sequence[bytes]) -> tuple[list[list[str]], Any]:
    """Labels and scores of the pipeline without a server."""
    rendered = gathering.rendered
    with Alone(rendered.plans["digits"], rendered.files) as alone:
        answer = alone.run({"image": encoded(items)})
    assert not answer.failed
    return texts(answer.outputs["label"]), answer.outputs["score"]


def at_once(gathering: Running, protocol: Protocol, items: Sequence[bytes]) -> tuple[list[Answer], dict[str, float]]:
    """One request an item, all in flight together: the answers, and the mean executed batch of each model."""
    with Pipeline("digits", gathering.address(protocol), protocol=protocol, in_flight=len(items)) as pipeline:
        address = gathering.server.http_address
        names = [model.name for model in gathering.rendered.plans["digits"].models]
        start = read_counts(address)
        pipeline.infer(items[:1])
        before = read_counts_after(address, start, dict.fromkeys(names, 1))
        answers = pipeline.infer(items)
        after = read_counts_after(address, before, dict.fromkeys(names, len(items)))
    return answers, mean_batches(before, after)


def test_images_of_64_different_lengths_run_in_large_batches(gathering: Running, protocol: Protocol) -> None:
    # An input declared as UINT8 [-1] would have as many shapes as lengths, and Triton puts only equal shapes into one
    # batch: then every request would run alone. `bytes` is one STRING, whose length is no part of its shape.
    # The server waits up to 0.3 s for a full batch (32), so only a wrong type or wiring can make batches small.
    items = images(64)
    answers, batches = at_once(gathering, protocol, items)
    assert [answer.error for answer in answers] == [None] * 64
    labels, scores = expected(gathering, items)
    assert [answer.label.tolist() for answer in answers] == labels
    np.testing.assert_allclose([answer.score for answer in answers], scores, rtol=0, atol=1e-6)
    assert set(batches) >= set(MODELS)
    assert all(batches[model] >= 8 for model in MODELS), batches


def spoiled(good: Sequence[bytes]) -> dict[int, tuple[bytes, str]]:
    """What is sent instead of some of the images, and what is said of each."""
    cut = good[3][:-20]
    return {
        3: (cut, f"the image cannot be decoded: this PNG of {len(cut)} bytes ends before its end chunk (truncated)"),
        4: (
            b"not an image at all",
            'not a PNG or JPEG image but text ("not an image at all"): send the image\'s own bytes',
        ),
        17: (b"", "empty (0 bytes)"),
        31: (GIF, "not a PNG or JPEG image but a GIF: convert it to PNG or JPEG"),
    }


def test_a_bad_image_in_a_batch_fails_alone_and_alike_over_both_protocols(gathering: Running) -> None:
    good = images(32)
    bad = spoiled(good)
    items = [bad[i][0] if i in bad else png for i, png in enumerate(good)]
    labels, scores = expected(gathering, good)
    said = {}
    for protocol in PROTOCOLS:
        answers, batches = at_once(gathering, protocol, items)
        assert {answer.index for answer in answers if not answer.ok} == set(bad)
        for index in (i for i in range(32) if i not in bad):
            assert answers[index].label.tolist() == labels[index]
            np.testing.assert_allclose(answers[index].score, scores[index], rtol=0, atol=1e-6)
        assert batches["digits_preprocess"] > 8, "good and bad images were to meet in one batch"
        said[protocol] = {i: answers[i].error for i in bad}
    assert said["grpc"] == said["http"]
    for index, (_, message) in bad.items():
        error = said["grpc"][index]
        assert error is not None
        assert (error.code, error.message) == ("invalid_argument", f"{message}")  # of its own request
        assert "Traceback" not in error.raw
    assert gathering.server.poll() is None
    answers, _ = at_once(gathering, "grpc", good[:1])
    assert answers[0].label.tolist() == labels[0], "the server answers as before"


def test_a_request_of_several_images_names_the_bad_ones_by_their_index(
    gathering: Running, protocol: Protocol
) -> None:
    items = images(8)
    items[5], items[6] = GIF, b""
    with pytest.raises(Exception, match=r"item 5: not a PNG or JPEG image .*; item 6: empty \(0 bytes\)") as caught:
        several(gathering, protocol, items)
    assert type(caught.value).__name__ == "InferenceServerException"
    assert "Traceback" not in str(caught.value)
    labels, _ = expected(gathering, items[:5])
    assert several(gathering, protocol, items[:5]) == labels


def several(gathering: Running, protocol: Protocol, items: Sequence[bytes]) -> Any:
    """One request with all items as one batch, by tritonclient alone: the labels."""
    if protocol == "grpc":
        import tritonclient.grpc as triton
    else:
        import tritonclient.http as triton
    tensor = triton.InferInput("image", [len(items), 1], "BYTES").set_data_from_numpy(encoded(items))
    client = triton.InferenceServerClient(gathering.address(protocol))
    try:
        return texts(client.infer("digits", [tensor]).as_numpy("label"))
    finally:
        client.close()
