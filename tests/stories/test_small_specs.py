"""Corners of the spec, each a small pipeline of its own, all on one server that runs them as rendered."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from small_specs import CLASSES, DTYPES, SPECS
from story_tools import PROTOCOLS, Array, Protocol, Running, make_project, render_to, running, tritonkit

from deploy.embedded.effective import status
from generator.engine import Alone
from loadtest.server_statistics import read_counts, read_counts_after
from tritonkit import Answer, Pipeline
from tritonkit.client.values import Item

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """All small pipelines on one server."""
    root = tmp_path_factory.mktemp("small")
    project = make_project(root / "project", SPECS)
    (project.root / "steps" / "small.py").write_text(CLASSES)
    (project.root / "ones.raw").write_bytes(np.ones((2, 4), np.float32).tobytes())
    with running(render_to(root / "repository", project)) as server:
        yield server


def infer(small: Running, protocol: Protocol, name: str, items: list[Item]) -> list[Answer]:
    with Pipeline(name, small.address(protocol), protocol=protocol) as pipeline:
        return pipeline.infer(items)


def test_every_one_of_them_is_served_as_rendered(small: Running) -> None:
    found = status(small.server.http_address, small.rendered.repository)
    assert {model.name for model in found} >= set(small.rendered.plans)
    assert [(model.name, model.ready, model.differences) for model in found] == [
        (model.name, True, []) for model in found
    ]


def test_one_model_without_a_flow(small: Running, protocol: Protocol) -> None:
    assert small.rendered.plans["shout"].ensemble is None
    [answer] = infer(small, protocol, "shout", [b"gr\xc3\xbc\xc3\x9fe"])
    assert answer.loud.tolist() == ["GRÜSSE"]
    assert answer.length.tolist() == [5]


def test_errors_of_a_users_class_are_sentences(small: Running, protocol: Protocol) -> None:
    for name in ("shout", "shout_twice"):
        items: list[Item] = [b"fine", b"", b"also fine", b"x" * 99]
        answers = infer(small, protocol, name, items)
        assert [answer.ok for answer in answers] == [True, False, True, False]
        errors = [answer.error for answer in answers if answer.error is not None]
        assert [(error.code, error.message) for error in errors] == [
            ("invalid_argument", "the text is empty"),
            ("invalid_argument", "99 characters, more than 20"),
        ]
        [broken] = infer(small, protocol, name, [b"raise"])
        assert broken.error is not None
        model = "shout" if name == "shout" else "shout_twice_shout"
        assert broken.error.code == "internal"
        assert broken.error.message == f"model {model} failed: RuntimeError: this word is not to be shouted"
        assert "Traceback" not in broken.error.raw
        [after] = infer(small, protocol, name, [b"fine"])
        assert after.ok
    assert "Traceback" in small.server.log_path.read_text(), "the whole story is in the server's log"


def test_tensors_without_a_batch_axis(small: Running, protocol: Protocol) -> None:
    plan = small.rendered.plans["whole"]
    assert plan.max_batch_size == 0
    values = [np.array([1, 2, 6], np.float32), np.arange(5, dtype=np.float32)]
    answers = infer(small, protocol, "whole", list(values))
    for value, answer in zip(values, answers, strict=True):
        assert answer.error is None
        assert answer.centred.shape == value.shape
        np.testing.assert_array_equal(answer.centred, value - value.mean())
        np.testing.assert_allclose(answer.scaled, (value - value.mean()) / 2, rtol=1e-6)
    with Alone(plan, small.rendered.files) as alone:
        np.testing.assert_array_equal(alone.run({"x": values[0]}).outputs["scaled"], answers[0].scaled)


def test_arrays_of_every_type_go_there_and_back(small: Running, protocol: Protocol) -> None:
    item: dict[str, Array] = {}
    for name, dtype in DTYPES.items():
        kind = np.dtype(dtype).kind
        extremes = [0, 1] if kind == "b" else [-1.5, 3] if kind == "f" else [np.iinfo(dtype).min, np.iinfo(dtype).max]
        item[name] = np.array(extremes, dtype)
    item["text"] = np.array([["a", ""], ["ü", "\0"]], object)
    [answer] = infer(small, protocol, "types", [item])
    assert answer.error is None
    for name, value in item.items():
        back = answer.outputs[f"{name}_back"]
        assert back.dtype == value.dtype
        np.testing.assert_array_equal(back, value)


def test_wrong_arrays_are_told_before_they_are_sent(small: Running, protocol: Protocol) -> None:
    item = {name: np.zeros(2, dtype) for name, dtype in DTYPES.items()}
    item["text"] = np.array([["a", "b"], ["c", "d"]], object)
    [wrong_type] = infer(small, protocol, "types", [{**item, "fp32": np.zeros(2)}])
    [wrong_shape] = infer(small, protocol, "types", [{**item, "fp32": np.zeros(3, np.float32)}])
    assert wrong_type.error is not None
    assert "input 'fp32' takes FP32 [2], found FP64 [2]" in wrong_type.error.message
    assert wrong_shape.error is not None
    assert "input 'fp32' takes FP32 [2], found FP32 [3]" in wrong_shape.error.message


def test_a_response_cache_answers_for_the_model(small: Running, protocol: Protocol) -> None:
    for name in ("cached", "cached_flow"):
        one, other = (np.array([PROTOCOLS.index(protocol), k], np.float32) for k in (1, 2))
        first, second, third = (infer(small, protocol, name, [x])[0] for x in (one, one, other))
        assert first.calls.tolist() == second.calls.tolist(), f"{name}: the second is the first one's answer"
        assert third.calls.item() == first.calls.item() + 1, f"{name}: the class ran once more"


def test_versions_are_served_as_each_model_says(small: Running, protocol: Protocol) -> None:
    value = np.array([1, 2], np.float32)
    [answer] = infer(small, protocol, "versions", [value])
    np.testing.assert_array_equal(answer.last, value * 8)
    assert {m.name for m in small.rendered.plans["versions"].models} == {
        "versions_newest", "versions_one", "versions_all",
    }  # fmt: skip


def test_warm_up_requests_ran_before_the_first_of_a_client(small: Running, protocol: Protocol) -> None:
    [answer] = infer(small, protocol, "warm", [np.zeros(4, np.float32)])
    # zero, 3 times alone; random twice in a batch of 2; the two lines of ones in the file as one batch
    assert answer.batches.tolist()[:6] == [1, 1, 1, 2, 2, 2]
    assert answer.sums.tolist()[:3] == [0, 0, 0]
    assert answer.sums.tolist()[5] == 8


def test_priorities_and_queues(small: Running, protocol: Protocol) -> None:
    answers = infer(small, protocol, "ranked", [np.full(2, k, np.float32) for k in range(20)])
    assert [answer.y.tolist() for answer in answers] == [[2 * k, 2 * k] for k in range(20)]
    for level in (1, 3):
        assert ask(small, protocol, level) == [[2, 2]]


def ask(small: Running, protocol: Protocol, priority: int) -> object:
    """One request of that priority, by tritonclient alone."""
    if protocol == "grpc":
        import tritonclient.grpc as triton
    else:
        import tritonclient.http as triton
    tensor = triton.InferInput("x", [1, 2], "FP32").set_data_from_numpy(np.ones((1, 2), np.float32))
    client = triton.InferenceServerClient(small.address(protocol))
    try:
        return client.infer("ranked", [tensor], priority=priority).as_numpy("y").tolist()
    finally:
        client.close()


def test_many_settings_at_once_reach_the_server(small: Running, protocol: Protocol) -> None:
    for name in ("tuned", "single"):
        start = read_counts(small.server.http_address)
        answers = infer(small, protocol, name, [np.full(2, k, np.float32) for k in range(8)])
        before, after = start[name], read_counts_after(small.server.http_address, start, {name: 8})[name]
        assert [answer.y.tolist() for answer in answers] == [[2 * k, 2 * k] for k in range(8)]
        assert after.inferences - before.inferences == 8
        if name == "single":  # `dynamic: false`: no request shares a batch
            assert after.executions - before.executions == 8


def test_the_printed_plan_of_each_is_a_spec_of_the_same_tree(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project", SPECS)
    (project.root / "steps" / "small.py").write_text(CLASSES)
    (project.root / "ones.raw").write_bytes(np.ones((2, 4), np.float32).tobytes())
    written = render_to(tmp_path / "written", project)
    for name in SPECS:
        shown = tritonkit(project.root, "render", "--show-plan", "--target", "embedded", f"specs/{name}")
        assert shown.returncode == 0, shown.stderr
        (project.root / "specs" / name).write_text(shown.stdout)
    again = render_to(tmp_path / "again", project)
    assert again.files == written.files
