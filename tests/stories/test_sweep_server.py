"""The server of a sweep: what a load call with a configuration does on the real one, and that it is compared."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from story_tools import encoded, gate, make_project, render_to, running

from deploy.embedded import stubs
from deploy.embedded.control import Control, LoadFailedError
from generator.problems import ProblemsError
from generator.project import Project
from loadtest.run.asked import Asked, Promise
from loadtest.run.plain_http import ask
from loadtest.sweep.rendered import Renderer, as_json
from loadtest.sweep.setting import DELAY, INSTANCES, LAYOUT, PREFERRED, Setting
from tritonkit import Pipeline
from tritonkit.load_bench import ServedBench

pytestmark = pytest.mark.server


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return make_project(tmp_path / "project", copied=("digits.yaml",))


@pytest.fixture
def bench(project: Project) -> Iterator[ServedBench]:
    render = Renderer(project, project.specs / "digits.yaml", "embedded", None, (DELAY, INSTANCES))
    asked = Asked({"digits": Promise(500)}, {"digits": 1.0}, 50.0, 1.0, lag_bound_ms=300)
    with ServedBench(render, asked, [Setting.of({INSTANCES: 3})], 1) as bench:
        yield bench


def quiet(_: str) -> None:
    """Nobody listens."""


def served(bench: ServedBench, model: str) -> dict[str, Any]:
    assert bench._server is not None
    config: dict[str, Any] = ask(bench._server.http_address, f"/v2/models/{model}/config")
    return config


def test_a_load_call_replaces_the_whole_configuration_and_stays(project: Project, tmp_path: Path) -> None:
    rendered = render_to(tmp_path / "repository", project)
    with running(rendered, updatable=True) as server, Control(server.server.record()) as control:
        name, address = "digits_engine", server.server.http_address
        config = control.config(name)
        config.dynamic_batching.max_queue_delay_microseconds = 1234
        control.load(name, config=as_json(config))
        now = ask(address, f"/v2/models/{name}/config")
        assert now["dynamic_batching"]["max_queue_delay_microseconds"] == 1234
        assert now["dynamic_batching"]["preferred_batch_size"] == [8, 16, 32]
        partly = {"name": name, "dynamic_batching": {"max_queue_delay_microseconds": 77}}
        with pytest.raises(LoadFailedError):
            control.load(name, config=json.dumps(partly))
        control.load(name)
        now = ask(address, f"/v2/models/{name}/config")
        assert now["dynamic_batching"]["max_queue_delay_microseconds"] == 1234, "not the repository's"


def test_the_ensemble_answers_while_its_member_is_loaded_again(project: Project, tmp_path: Path) -> None:
    rendered = render_to(tmp_path / "repository", project)
    image = encoded([gate("digits").items[0]["image"]])[0]
    with running(rendered, updatable=True) as server, Control(server.server.record()) as control:
        config, done, answers = control.config("digits_engine"), threading.Event(), []

        def ask_on() -> None:
            with Pipeline("digits", server.server.grpc_address) as client:
                while not done.is_set():
                    answers.extend(client.infer([{"image": image[0]}]))

        asking = threading.Thread(target=ask_on)
        asking.start()
        try:
            for delay in (0, 900, 5000):
                config.dynamic_batching.max_queue_delay_microseconds = delay
                before = len(answers)
                control.load("digits_engine", config=as_json(config))
                assert len(answers) >= before
        finally:
            done.set()
            asking.join()
        assert len(answers) > 3
        assert all(answer.ok for answer in answers)


def test_a_bench_goes_from_setting_to_setting_on_one_start(bench: ServedBench) -> None:
    for delay, instances in ((0, 2), (3000, 2), (3000, 3), (0, 1)):
        assert bench.apply(Setting.of({DELAY: delay, INSTANCES: instances}), quiet) == 1
        config = served(bench, "digits_engine")
        assert config["dynamic_batching"]["max_queue_delay_microseconds"] == delay
        assert config["instance_group"][0]["count"] == instances
        assert bench._server is not None
        processes = [stub.model for stub in stubs.running(bench._server.pid)]
        assert processes.count("digits_engine") == instances, "the old ones are gone"


def test_other_files_are_another_start(bench: ServedBench) -> None:
    assert bench.apply(Setting.of({LAYOUT: "ensemble"}), quiet) == 1
    assert bench.apply(Setting.of({LAYOUT: "fused"}), quiet) == 2
    assert served(bench, "digits")["backend"] == "python"
    assert bench.group(Setting.of({LAYOUT: "ensemble"})) != bench.group(Setting.of({LAYOUT: "fused"}))


def test_what_the_server_reports_is_compared(bench: ServedBench) -> None:
    setting = Setting.of({DELAY: 700})
    bench.apply(setting, quiet)
    assert bench._server is not None
    with Control(bench._server.record()) as control:
        config = control.config("digits_engine")
        config.dynamic_batching.max_queue_delay_microseconds = 701
        control.load("digits_engine", config=as_json(config))
    with pytest.raises(ProblemsError) as raised:
        bench.apply(setting, quiet)
    [problem] = raised.value.problems
    assert problem.code == "TK886"
    assert "the server reports" in problem.message
    assert "701" in problem.message


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({DELAY: 0}, "the server reports 5000 in dynamic_batching.max_queue_delay_microseconds, and 0 was asked for"),
        ({DELAY: 5000, PREFERRED: []}, "the server reports [8, 16] in dynamic_batching.preferred_batch_size"),
    ],
)
def test_zeros_and_nothing_are_asserted_too(bench: ServedBench, wanted: dict[str, Any], said: str) -> None:
    """A message leaves a zero and an empty list out; the server serves something else."""
    setting = Setting.of(wanted)
    bench.apply(setting, quiet)
    assert bench._server is not None
    with Control(bench._server.record()) as control:
        config = control.config("digits_engine")
        config.dynamic_batching.max_queue_delay_microseconds = 5000
        if PREFERRED in wanted:
            del config.dynamic_batching.preferred_batch_size[:]
            config.dynamic_batching.preferred_batch_size.extend([8, 16])
        control.load("digits_engine", config=as_json(config))
    with pytest.raises(ProblemsError) as raised:
        bench.apply(setting, quiet)
    [problem] = raised.value.problems
    assert problem.code == "TK886"
    assert said in problem.message


def test_a_turn_leaves_its_run(bench: ServedBench, tmp_path: Path) -> None:
    bench.apply(Setting.of({DELAY: 0}), quiet)
    run = bench.measure(60.0, 1.0, 5, tmp_path / "turn", quiet)
    assert run.outcomes == {"ok": run.requests}
    assert run.made.effective["digits_engine"]["dynamic_batching"]["max_queue_delay_microseconds"] == 0
    again = bench.measure(60.0, 1.0, 5, tmp_path / "again", quiet)
    assert again.requests == run.requests, "the same seed has the same arrivals"
