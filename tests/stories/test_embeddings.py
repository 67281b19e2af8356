"""Sentence embeddings over both protocols: texts of unlike lengths in, the answers of the pipeline run alone out."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from embeddings_model import embeddings_onnx
from story_tools import CLONE, Array, Protocol, Rendered, Running, encoded, render_to, running

from deploy.embedded.server import ServerFailedError
from generator.engine import Alone
from generator.project import Project
from tritonkit import Answer, Pipeline
from tritonkit.client.contract import Contract

pytestmark = pytest.mark.server

NEAR = 0.99999  # cosine; 1e-7 of an FP32 sum that depends on how many texts are in a batch


def project_with_the_model(root: Path) -> Project:
    """The clone's spec with a model that was made for the tests, whether or not the clone has one."""
    for name in ("specs", "models"):
        (root / name).mkdir(parents=True)
    (root / "data").symlink_to(CLONE / "data")
    (root / "models" / "embeddings.onnx").symlink_to(embeddings_onnx())
    shutil.copy(CLONE / "specs" / "embeddings.yaml", root / "specs")
    return Project(root)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return project_with_the_model(tmp_path_factory.mktemp("embeddings"))


@pytest.fixture(scope="module")
def embeddings(project: Project) -> Rendered:
    return render_to(project.root / "repository", project)


@pytest.fixture(scope="module")
def serving(embeddings: Rendered) -> Iterator[Running]:
    with running(embeddings) as server:
        yield server


def texts() -> list[str]:
    """64 texts of the gate: single sentences, paragraphs longer than the model takes, words and other scripts."""
    with np.load(CLONE / "data" / "embeddings-gate.npz") as data:
        found = [text.decode() for text in data["text"]]
    return found[:36] + found[220:-16:4] + found[-16:]


def alone(rendered: Rendered, items: Sequence[str]) -> Array:
    """The pipeline's own code without a server, one text at a time."""
    with Alone(rendered.plans["embeddings"], rendered.files) as pipeline:
        answers = [pipeline.run({"text": encoded([text.encode()])}) for text in items]
    assert not any(answer.failed for answer in answers)
    return np.concatenate([answer.outputs["embedding"] for answer in answers])


@pytest.fixture(scope="module")
def expected(embeddings: Rendered) -> Array:
    return alone(embeddings, texts())


def infer(served: Running, protocol: Protocol, items: Sequence[str | bytes]) -> list[Answer]:
    contract = Contract.of_plan(served.rendered.plans["embeddings"])
    address = served.address(protocol)
    with Pipeline("embeddings", address, protocol=protocol, contract=contract, deadline_s=60) as pipeline:
        return pipeline.infer([item.encode() if isinstance(item, str) else item for item in items])


def check(answers: Sequence[Answer], expected: Array) -> None:
    assert [answer.error for answer in answers] == [None] * len(expected)
    found = np.stack([answer.embedding for answer in answers])
    assert (found.dtype, found.shape) == (np.float32, (len(expected), 384))
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    assert (found * expected).sum(axis=1).min() >= NEAR


def test_sixty_four_texts_of_unlike_lengths_at_once(serving: Running, protocol: Protocol, expected: Array) -> None:
    assert len(expected) == 64
    check(infer(serving, protocol, texts()), expected)


def test_each_text_in_a_request_of_its_own(serving: Running, protocol: Protocol, expected: Array) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda text: infer(serving, protocol, [text])[0], texts()))
    check(answers, expected)


def test_the_answer_says_what_is_alike(serving: Running, protocol: Protocol) -> None:
    answers = infer(
        serving, protocol, ["A dog runs in the park.", "In the park a dog is running.", "Shares fell sharply."]
    )
    one, other, third = (answer.embedding for answer in answers)
    assert one @ other > 0.9
    assert abs(one @ third) < 0.3


def test_odd_and_bad_texts(serving: Running, protocol: Protocol) -> None:
    odd = ["", " ", "a\x00b", "🙂🎉", "שלום עולם", "مرحبا", "x" * 10_000, "word " * 13_000]
    bad = {
        b"abc\xff": "it is not UTF-8 text: byte 3 is 0xff",
        b"x" * 65_537: "65537 bytes, more than the limit of 65536",
    }
    answers = infer(serving, protocol, [*odd, *bad, "good"])
    for answer in (*answers[: len(odd)], answers[-1]):
        assert answer.error is None
        assert np.linalg.norm(answer.embedding) == pytest.approx(1, abs=1e-5)
    for answer, reason in zip(answers[len(odd) : -1], bad.values(), strict=True):
        assert answer.error is not None
        assert reason in answer.error.message


def test_the_tokenizer_comes_along(embeddings: Rendered) -> None:
    folder = embeddings.repository / "embeddings_preprocess" / "1"
    assert (folder / "embeddings-tokenizer.json").read_bytes() == (
        CLONE / "data" / "embeddings-tokenizer.json"
    ).read_bytes()
    [step] = json.loads((folder / "tritonkit.json").read_text())["program"]["steps"]
    assert (step["step"], step["tokenizer"]) == ("tokenize", "embeddings-tokenizer.json")


@pytest.mark.parametrize(("self_contained", "protocol"), [(False, "grpc"), (True, "http")])
def test_in_one_process_it_answers_alike(
    tmp_path: Path, self_contained: bool, protocol: Protocol, expected: Array
) -> None:
    project = project_with_the_model(tmp_path / "project")
    spec = project.specs / "embeddings.yaml"
    text = spec.read_text()
    assert text.count("\n  embedded: ") == 1
    spec.write_text(text.replace("\n  embedded: ", "\n  embedded:\n    layout: fused "))
    rendered = render_to(tmp_path / "repository", project, self_contained=self_contained)
    assert (tmp_path / "repository" / "embeddings" / "1" / "embeddings-tokenizer.json").is_file()
    with running(rendered) as server:
        check(infer(server, protocol, texts()[:24]), expected[:24])


def test_a_tokenizer_that_the_library_does_not_take_is_one_sentence(tmp_path: Path) -> None:
    project = project_with_the_model(tmp_path / "project")
    (project.root / "data").unlink()
    (project.root / "data").mkdir()
    for name in ("gate", "calibration"):
        shutil.copy(CLONE / "data" / f"embeddings-{name}.npz", project.root / "data")
    (project.root / "data" / "embeddings-tokenizer.json").write_text('{"model": {"type": "Unknown"}}')
    rendered = render_to(tmp_path / "repository", project)
    server = rendered.server()
    try:
        with pytest.raises(
            ServerFailedError, match=r"step 1 \(tokenize\): \S*embeddings-tokenizer.json is not a tokenizer.json"
        ):
            server.start()
    finally:
        server.stop(grace_s=0)
