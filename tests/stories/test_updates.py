"""Models are updated while they serve: version beside version, back by one command, and no request is lost."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper
from story_tools import (
    CLONE,
    PROTOCOLS,
    Array,
    Protocol,
    encoded,
    eventually,
    gate,
    make_project,
    render_to,
    serving,
    texts,
    tritonkit,
)
from update_tools import addresses, control, ready, updated

from generator.engine import Alone
from generator.project import Project
from tritonkit import Pipeline, UnknownVersionError

IMAGES = [item["image"] for item in gate("digits").items[:8]]
ONE = "onnx: models/digits.onnx"
BOTH = "onnx: {1: models/digits.onnx, 2: models/digits-2.onnx}"
# One instance of the engine: Triton unloads them one after the other, a second each.
SPEC = (CLONE / "specs" / "digits.yaml").read_text().replace("{kind: cpu, count: 2}", "{kind: cpu, count: 1}")


def turned(data: bytes) -> bytes:
    """The network with its classes turned by one: it says 6 for a seven."""
    model = onnx.load_model_from_string(data)
    name = model.graph.output[0].name
    for node in model.graph.node:
        node.output[:] = ["before" if output == name else output for output in node.output]
    order = np.array([*range(1, 10), 0], np.int64)
    model.graph.initializer.append(numpy_helper.from_array(order, "order"))
    model.graph.node.append(helper.make_node("Gather", ["before", "order"], [name], axis=1))
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def unloadable(data: bytes) -> bytes:
    """A graph that reads well, with an operator that no runtime has."""
    model = onnx.load_model_from_string(data)
    model.graph.node[0].op_type, model.graph.node[0].domain = "Nowhere", "nobody"
    model.opset_import.append(helper.make_opsetid("nobody", 1))
    return bytes(model.SerializeToString())


def project_of(root: Path, spec: str) -> Path:
    """A project with the digits' network as version 1, and one that answers otherwise for a version 2."""
    make_project(root, {"digits.yaml": spec})
    (root / "models").unlink()
    (root / "models").mkdir()
    data = (CLONE / "models" / "digits.onnx").read_bytes()
    (root / "models" / "digits.onnx").write_bytes(data)
    (root / "models" / "digits-2.onnx").write_bytes(turned(data))
    (root / "models" / "digits-3.onnx").write_bytes(unloadable(data))
    return root


class Stream:
    """Requests over both protocols, all the time; what was answered, image by image."""

    def __init__(self, at: Mapping[Protocol, str]) -> None:
        self.answers: list[set[str]] = [set() for _ in IMAGES]
        self.errors: list[str] = []
        self.rounds = 0
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._send, args=(p, at[p])) for p in PROTOCOLS]
        for thread in self._threads:
            thread.start()

    def _send(self, protocol: Protocol, address: str) -> None:
        with Pipeline("digits", address, protocol=protocol, in_flight=4) as pipeline:
            while not self._over.is_set():
                for answer in pipeline.infer(IMAGES):
                    if answer.ok:
                        self.answers[answer.index].add(str(answer.label[0]))
                    else:
                        self.errors.append(f"{protocol}: {answer.error}")
                self.rounds += 1

    def end(self) -> None:
        """Waits for the last answers."""
        self._over.set()
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive()


def edit(root: Path, *changes: tuple[str, str], name: str = "digits") -> None:
    """Changes a spec's text."""
    file = root / "specs" / f"{name}.yaml"
    text = file.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    file.write_text(text)


@contextmanager
def streaming(at: Mapping[Protocol, str], allowed: list[set[str]]) -> Iterator[Stream]:
    """Loses no request, and hears nothing but what one of the versions says."""
    stream = Stream(at)
    try:
        assert eventually(lambda: stream.rounds > 2)
        yield stream
        rounds = stream.rounds
        assert eventually(lambda: stream.rounds > rounds + 2), "it goes on to the end"
    finally:
        stream.end()
    assert stream.errors == []
    assert all(heard <= may for heard, may in zip(stream.answers, allowed, strict=True))


def labels(at: Mapping[Protocol, str], version: str | None = None, name: str = "digits") -> list[list[str]]:
    """The first label of every image, by both protocols."""
    found = []
    for protocol in PROTOCOLS:
        with Pipeline(name, at[protocol], protocol=protocol, version=version) as pipeline:
            found.append([str(answer.label[0]) for answer in pipeline.infer(IMAGES)])
    return found


FIRST = [str(label) for label in gate("digits").labels[:8]]
SECOND = [str((int(label) - 1) % 10) for label in FIRST]
EITHER = [{one, two} for one, two in zip(FIRST, SECOND, strict=True)]


@pytest.mark.parametrize("layout", ["ensemble", "fused"])
@pytest.mark.parametrize(
    ("versions", "expected"), [("latest: 1", SECOND), ("specific: [1]", FIRST), ("all: true", SECOND)]
)
def test_without_a_server_the_newest_that_would_be_served_answers(
    tmp_path: Path, layout: str, versions: str, expected: list[str]
) -> None:
    spec = SPEC.replace("layout: ensemble", f"layout: {layout}").replace(ONE, f"{BOTH}\n  versions: {{{versions}}}")
    rendered = render_to(tmp_path / "repository", Project(project_of(tmp_path / "project", spec)))
    with Alone(rendered.plans["digits"], rendered.files) as alone_now:
        answer = alone_now.run({"image": encoded(IMAGES)})
    assert [row[0] for row in texts(answer.outputs["label"])] == expected


@pytest.mark.server
@pytest.mark.parametrize("layout", ["ensemble", "fused"])
def test_a_second_version_beside_the_first_and_back(layout: str, tmp_path: Path) -> None:
    root = project_of(tmp_path / "project", SPEC.replace("layout: ensemble", f"layout: {layout}"))
    model = "digits_engine" if layout == "ensemble" else "digits"
    with serving(root, "--updatable") as process:
        at = addresses(process)
        assert labels(at) == [FIRST, FIRST]
        with streaming(at, EITHER) as stream:
            edit(root, (ONE, f"{BOTH}\n  versions: {{latest: 2}}   # both"))
            assert updated(root)[model] == ("changed", [1], [1, 2])
            both_answer(root, at, layout)
            assert labels(at) == [SECOND, SECOND], "the newest is the pipeline's"
            others_are_refused(root, at, model)
            goes_back_by_one_command(root, at, model)
            follows_every_policy(root, at, model)
            a_broken_version_changes_nothing(root, at, model)
        assert "has ended" not in process.err, "Python processes that an update ends are not told as lost"
        assert {frozenset(heard) for heard in stream.answers} == {frozenset(may) for may in EITHER}, "both were heard"


def both_answer(root: Path, at: Mapping[Protocol, str], layout: str) -> None:
    """Each version says what it says without a server: the whole pipeline, or the engine of an ensemble."""
    shown = tritonkit(root, "status").stdout
    assert re.search(r"(digits|digits_engine) +yes +1, 2 ", shown), shown
    if layout == "fused":
        assert labels(at, "1") == [FIRST, FIRST]
        assert labels(at, "2") == [SECOND, SECOND]
        return
    pixels = np.random.default_rng(4).random((1, 8, 8), np.float32)
    np.save(root / "pixels.npy", pixels)
    for version, file in (("1", "digits.onnx"), ("2", "digits-2.onnx")):
        expected = alone(root / "models" / file, pixels)
        for protocol in PROTOCOLS:
            with Pipeline("digits_engine", at[protocol], protocol=protocol, version=version) as engine:
                np.testing.assert_allclose(engine.infer_one(pixels).logits, expected, rtol=1e-4, atol=1e-5)
            told = tritonkit(root, "infer", "digits_engine", "pixels.npy", "--version", version, "--json",
                             "--protocol", protocol)  # fmt: skip
            assert told.returncode == 0, told.stderr
            np.testing.assert_allclose(
                json.loads(told.stdout)[0]["outputs"]["logits"], expected, rtol=1e-4, atol=1e-5
            )


def alone(network: Path, pixels: Array) -> Array:
    """What ONNX Runtime makes of one item."""
    found = onnxruntime.InferenceSession(network, providers=["CPUExecutionProvider"]).run(
        None, {"pixels": pixels[None]}
    )
    return np.asarray(found[0][0])


def others_are_refused(root: Path, at: Mapping[Protocol, str], model: str) -> None:
    for protocol in PROTOCOLS:
        with Pipeline(model, at[protocol], protocol=protocol, version="9") as pipeline:
            with pytest.raises(UnknownVersionError) as caught:
                _ = pipeline.contract
            assert caught.value.message == (
                f"the server at {at[protocol]} does not serve version 9 of {model!r}; it serves: 1, 2"
            )
        (root / "any.png").write_bytes(IMAGES[0])
        refused = tritonkit(root, "infer", model, "any.png", "--version", "9", "--protocol", protocol)
        assert (refused.returncode, refused.stdout) == (1, "")
        assert f"does not serve version 9 of '{model}'; it serves: 1, 2" in refused.stderr


def goes_back_by_one_command(root: Path, at: Mapping[Protocol, str], model: str) -> None:
    before = (root / "specs" / "digits.yaml").read_text()
    shown = tritonkit(root, "rollback", "digits", "--dry-run")
    assert shown.returncode == 0, shown.stderr
    assert [line for line in shown.stdout.splitlines() if line.startswith(("+ ", "- "))] == [
        "-  versions: {latest: 2}   # both", "+  versions: {specific: [1]}   # both"
    ]  # fmt: skip
    assert (root / "specs" / "digits.yaml").read_text() == before
    done = tritonkit(root, "rollback", "digits")
    assert done.returncode == 0, done.stderr
    assert (root / "specs" / "digits.yaml").read_text() == before.replace("{latest: 2}", "{specific: [1]}")
    assert ready(root, model) == [1]
    assert labels(at) == [FIRST, FIRST]
    none = tritonkit(root, "rollback", "digits")
    assert none.returncode == 1
    assert "there is no version of `digits` below the one that is served, 1" in none.stderr


def follows_every_policy(root: Path, at: Mapping[Protocol, str], model: str) -> None:
    now, served = "specific: [1]", [1]
    for policy, wanted in (("latest: 1", [2]), ("latest: 2", [1, 2]), ("specific: [1]", [1]), ("all: true", [1, 2])):
        edit(root, (f"versions: {{{now}}}", f"versions: {{{policy}}}"))
        assert updated(root)[model] == ("changed", served, wanted)
        assert ready(root, model) == wanted
        assert labels(at) == ([SECOND, SECOND] if 2 in wanted else [FIRST, FIRST])
        now, served = policy, wanted


def a_broken_version_changes_nothing(root: Path, at: Mapping[Protocol, str], model: str) -> None:
    repository = root / "model_repository" / "embedded"
    files = {path: path.read_bytes() for path in repository.rglob("*") if path.is_file()}
    edit(root, ("2: models/digits-2.onnx}", "2: models/digits-2.onnx, 3: models/digits-3.onnx}"))
    failed = tritonkit(root, "update")
    assert (failed.returncode, failed.stdout) == (1, "")
    [said] = [line for line in failed.stderr.splitlines() if line.startswith("error: ")]
    assert said.startswith(f"error: {model}: ")
    assert f"ONNX Runtime cannot load {model}/3/" in said
    assert "Nowhere" in said
    assert "Traceback" not in failed.stderr
    assert not (repository / model / "3").exists()
    assert {path: path.read_bytes() for path in repository.rglob("*") if path.is_file()} == files
    assert ready(root, model) == [1, 2]
    with control(root) as server:
        assert eventually(server.ready), "what was tried leaves no trace"
        assert all(not name.endswith("trial") for name in server.index())
    assert labels(at) == [SECOND, SECOND]
    (root / "models" / "digits-3.onnx").write_bytes(b"no network")
    refused = tritonkit(root, "update")
    assert refused.returncode == 1
    assert "`models/digits-3.onnx` is not an ONNX file" in refused.stderr
    assert labels(at) == [SECOND, SECOND]
