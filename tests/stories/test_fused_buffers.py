"""The digits in one process with their engine in a ring of buffers, as on a GPU: here in plain memory.

A target without a GPU renders no buffers; what they are is written into the rendered tritonkit.json.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import tritonclient.grpc as triton
from story_tools import CLONE, Protocol, Running, encoded, eventually, gate, lives, make_project, render_to, running

from deploy.embedded.control import READY, Control, LoadFailedError
from generator.engine import Alone
from tritonkit import Pipeline

pytestmark = pytest.mark.server
BUFFERS = {"buckets": [1, 2, 4, 8, 16, 32], "slots": 2, "copies": "auto"}


def change(repository: Path, **engine: Any) -> None:
    """Changes what the engine of the rendered digits is told."""
    path = repository / "digits" / "1" / "tritonkit.json"
    told = json.loads(path.read_bytes())
    [program] = [s["program"] for s in told["program"]["stages"] if s["program"]["kind"] == "engine"]
    program.update(engine)
    path.write_text(json.dumps(told))


@pytest.fixture(scope="module")
def buffered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The clone's digits, `layout: fused`, two instances, on a server that loads and unloads models."""
    root = tmp_path_factory.mktemp("buffered")
    text = (CLONE / "specs" / "digits.yaml").read_text().replace("layout: ensemble", "layout: fused")
    rendered = render_to(root / "repository", make_project(root / "project", {"digits.yaml": text}))
    change(rendered.repository, buffers=BUFFERS)
    with running(rendered, updatable=True) as server:
        yield server


@pytest.fixture(scope="module")
def images() -> list[bytes]:
    return [item["image"] for item in gate("digits").items]


@pytest.fixture(scope="module")
def usual(buffered: Running, images: list[bytes]) -> Mapping[str, Any]:
    """What the usual engine answers, image by image: output -> [N, 3]."""
    with Alone(buffered.rendered.plans["digits"], buffered.rendered.files) as alone:
        answers = [alone.run({"image": encoded([image])}).outputs for image in images]
    return {name: np.concatenate([answer[name] for answer in answers]) for name in ("label", "score")}


def test_one_by_one_it_answers_as_the_usual_engine_bit_for_bit(
    buffered: Running, protocol: Protocol, images: list[bytes], usual: Mapping[str, Any]
) -> None:
    with Pipeline("digits", buffered.address(protocol), protocol=protocol, in_flight=1) as pipeline:
        answers = pipeline.infer(images)
    np.testing.assert_array_equal([a.score for a in answers], usual["score"])
    assert [a.label.tolist() for a in answers] == [[t.decode() for t in row] for row in usual["label"]]


def ask(address: str, items: list[bytes]) -> Any:
    """The scores [N, 3] of one request, or the server's words."""
    tensor = triton.InferInput("image", [len(items), 1], "BYTES").set_data_from_numpy(encoded(items))
    with triton.InferenceServerClient(address) as client:
        try:
            return client.infer("digits", [tensor]).as_numpy("score")
        except triton.InferenceServerException as error:
            return error.message()


def test_requests_of_all_sizes_at_once_and_the_bad_ones_fail_alone(
    buffered: Running, images: list[bytes], usual: Mapping[str, Any]
) -> None:
    """A batch is padded to its bucket and its requests are told apart; a spoiled image costs its request alone."""
    random = np.random.default_rng(5)
    asked = [random.integers(0, len(images), size) for size in random.permutation([*range(1, 33)] * 6)]
    bad = set(range(0, len(asked), 7))

    def items(number: int) -> list[bytes]:
        found = [images[index] for index in asked[number]]
        return [found[0][:40], *found[1:]] if number in bad else found

    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda number: ask(buffered.address("grpc"), items(number)), range(len(asked))))
    for number, answer in enumerate(answers):
        if number in bad:
            assert "the image cannot be decoded: this PNG of 40 bytes ends before its end chunk" in answer
        else:
            np.testing.assert_allclose(answer, usual["score"][asked[number]], rtol=0, atol=1e-6)


def test_more_items_than_the_largest_bucket(buffered: Running, images: list[bytes]) -> None:
    assert "batch-size must be <= 32" in ask(buffered.address("grpc"), images[:33])
    assert len(ask(buffered.address("grpc"), images[:32])) == 32


def stubs(server: Running) -> list[psutil.Process]:
    """The processes of the models' instances."""
    family = psutil.Process(server.server.record().pid).children(recursive=True)
    return [process for process in family if "python_backend_stub" in process.name()]


def test_unloaded_it_leaves_nothing_and_loaded_again_it_answers(
    buffered: Running, images: list[bytes], usual: Mapping[str, Any]
) -> None:
    with Control(buffered.server.record()) as control:
        before = stubs(buffered)
        assert len(before) == 2
        control.unload("digits")
        assert eventually(lambda: not any(map(lives, before)))
        control.load("digits")
        assert control.index() == {"digits": {1: READY}}
    np.testing.assert_array_equal(ask(buffered.address("grpc"), images[:1]), usual["score"][:1])


@pytest.mark.parametrize(
    ("engine", "told"),
    [
        ({"engine": "tensorrt"}, "stage engine: TensorRT runs on a GPU; give the instance one"),
        ({"file": "other.plan"}, "does not exist: build or render the model again"),
        ({"buffers": {**BUFFERS, "buckets": [1, 16]}}, "buckets ends at 16, and the largest batch is 32"),
        (
            {"buffers": {**BUFFERS, "preprocess": "gpu"}},
            "the steps of stage preprocess cannot run on the GPU: the instance has none; `preprocess: auto` would",
        ),
        ({"buffers": {**BUFFERS, "slots": 1}}, "program.stages[1].program.buffers.slots is 1; it must be at least 2"),
    ],
)
def test_what_cannot_be_loaded_is_told_and_the_old_one_answers_on(
    buffered: Running, images: list[bytes], engine: dict[str, Any], told: str
) -> None:
    path = buffered.rendered.repository / "digits" / "1" / "tritonkit.json"
    good = path.read_bytes()
    change(buffered.rendered.repository, **engine)
    try:
        with Control(buffered.server.record()) as control, pytest.raises(LoadFailedError) as caught:
            control.load("digits")
    finally:
        path.write_bytes(good)
    assert told in caught.value.message
    assert len(ask(buffered.address("grpc"), images[:3])) == 3


def test_steps_that_may_run_on_the_gpu_run_on_the_cpu_where_there_is_none_and_the_log_says_so(
    buffered: Running, images: list[bytes], usual: Mapping[str, Any]
) -> None:
    path = buffered.rendered.repository / "digits" / "1" / "tritonkit.json"
    good = path.read_bytes()
    change(buffered.rendered.repository, buffers={**BUFFERS, "preprocess": "auto"})
    try:
        with Control(buffered.server.record()) as control:
            control.load("digits")
    finally:
        path.write_bytes(good)
    np.testing.assert_array_equal(ask(buffered.address("grpc"), images[:1]), usual["score"][:1])
    told = "the steps of stage preprocess cannot run on the GPU: the instance has none. They run on the CPU."
    assert eventually(lambda: told in buffered.server.log_path.read_text())
