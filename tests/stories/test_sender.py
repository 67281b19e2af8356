"""All clients of the sender get the same answers from the real server, in every way to send."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from story_tools import CLONE, Rendered, Running, eventually, running, shm_segments

from generator.problems import ProblemsError
from loadtest.samples.file import read_samples
from loadtest.samples.record import Outcome
from loadtest.sender.answers import read_answers
from loadtest.sender.orders import Orders
from loadtest.sender.process import Sending, start_together
from loadtest.traffic.arrivals import draw
from loadtest.traffic.payloads import Payloads, payloads_of

pytestmark = pytest.mark.server

CLIENTS = ("http-raw", "grpc-raw", "grpc-raw-stream", "http-tritonclient", "grpc-tritonclient")
LONG_US = 20_000_000
Answers = dict[int, dict[str, Any]]


@pytest.fixture(scope="module")
def payloads(rendered: Rendered) -> dict[str, Payloads]:
    """Of both pipelines; the digits in several sizes."""
    return {
        name: payloads_of(rendered.plans[name], CLONE, 1, sizes)
        for name, sizes in (("digits", (1, 3, 8)), ("canvas", (1,)))
    }


def orders(server: Running, client: str, pipelines: tuple[str, ...] = ("digits",), **options: Any) -> Orders:
    protocol, kind, *streaming = client.split("-")
    told = {"deadline_us": LONG_US, "connections": 64, "streaming": bool(streaming), **options}
    address = server.address("grpc" if protocol == "grpc" else "http")
    return Orders(protocol, kind, address, pipelines, **told)  # type: ignore[arg-type]


def asked(
    folder: Path, told: Orders, payloads: dict[str, Payloads], seconds: float = 1.5, rate_rps: float = 60
) -> tuple[Any, Answers, Any]:
    """Samples, answers by request, and the report of one run."""
    mix = dict.fromkeys(told.pipelines, 1.0)
    counts = {name: len(payloads[name]) for name in mix}
    schedule = draw("poisson", rate_rps, seconds, 5, mix=mix, payloads=counts)
    with Sending(told, schedule, payloads, folder, keep_answers=True) as sending:
        sending.start()
        report = sending.wait(90)
        samples = read_samples(sending.samples_path)[1]
    return samples, read_answers(sending.folder), report


@pytest.fixture(scope="module")
def expected(served: Running, payloads: dict[str, Payloads], tmp_path_factory: pytest.TempPathFactory) -> Answers:
    """What the raw HTTP client is answered: the others are compared with it, and it with tritonclient."""
    told = orders(served, "http-raw", ("digits", "canvas"))
    samples, answers, report = asked(tmp_path_factory.mktemp("expected"), told, payloads)
    assert report.errors == {}
    assert set(samples["outcome"]) == {Outcome.OK}
    assert set(samples["pipeline"]) == {0, 1}
    return answers


def no_regions_are_left() -> bool:
    """Those that other tests make at the same time come and go."""
    return eventually(lambda: not shm_segments("tritonkit-load"))


def check_same(found: Answers, expected: Answers) -> None:
    assert len(expected) > 50
    assert found.keys() == expected.keys()
    for index, tensors in expected.items():
        assert found[index].keys() == tensors.keys()
        for name, values in tensors.items():
            if name in {"label", "labels", "kind"}:
                assert found[index][name] == values
            else:  # batches are put together differently each time, and sums in another order
                np.testing.assert_allclose(found[index][name], values, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("shared", [False, True], ids=["sent", "shared memory"])
def test_same_answers(
    served: Running, payloads: dict[str, Payloads], expected: Answers, tmp_path: Path, client: str, *, shared: bool
) -> None:
    headers = served.server.http_headers if shared else {}
    told = orders(served, client, ("digits", "canvas"), shared_memory=shared, headers=headers)
    samples, answers, report = asked(tmp_path, told, payloads)
    assert report.errors == {}
    assert set(samples["outcome"]) == {Outcome.OK}
    check_same(answers, expected)
    assert no_regions_are_left()


@pytest.mark.parametrize("client", CLIENTS)
def test_priorities_and_server_timeouts_are_taken(
    served: Running, payloads: dict[str, Payloads], tmp_path: Path, client: str
) -> None:
    told = orders(served, client, priority=1, server_timeout_us=10_000_000)
    _, answers, report = asked(tmp_path, told, payloads, 0.5)
    assert report.errors == {}
    assert answers


@pytest.mark.parametrize("client", CLIENTS)
def test_a_payload_that_the_model_refuses(served: Running, tmp_path: Path, client: str) -> None:
    bad = Payloads("bad", ({"image": ("BYTES", np.array([[b"no image"]], np.object_))},), (1,))
    samples, _, report = asked(tmp_path, orders(served, client), {"digits": bad}, 0.5)
    assert set(samples["outcome"]) == {Outcome.REFUSED}
    [words] = report.errors
    assert "not a PNG or JPEG image" in words
    assert report.errors[words] == len(samples)


@pytest.mark.parametrize("client", ["http-raw", "grpc-tritonclient"])
def test_shared_memory_without_the_key(
    served: Running, payloads: dict[str, Payloads], tmp_path: Path, client: str
) -> None:
    told = orders(served, client, shared_memory=True)
    with pytest.raises(ProblemsError, match=r"TK863 .*the server cannot use a region"):
        asked(tmp_path, told, payloads)
    assert no_regions_are_left()


@pytest.fixture
def own_server(rendered: Rendered) -> Iterator[Running]:
    """For one test that ends it."""
    with running(rendered) as started:
        yield started


def test_the_server_dies(own_server: Running, payloads: dict[str, Payloads], tmp_path: Path) -> None:
    """All ways to send at once: each counts what was not answered as broken, and goes on to the end."""
    schedule = draw("constant", 50, 10, 1, mix={"digits": 1}, payloads={"digits": len(payloads["digits"])})
    everyone = [
        Sending(orders(own_server, client, deadline_us=1_000_000), schedule, payloads, tmp_path, number=number)
        for number, client in enumerate(CLIENTS)
    ]
    try:
        start_together(everyone)
        assert eventually(lambda: all(sending.progress()[1] > 50 for sending in everyone), 60)
        os.kill(own_server.server.pid, signal.SIGKILL)
        for client, sending in zip(CLIENTS, everyone, strict=True):
            report = sending.wait(60)
            outcomes = read_samples(sending.samples_path)[1]["outcome"]
            assert len(outcomes) == len(schedule), client
            assert outcomes[0] == Outcome.OK, client
            assert outcomes[-1] == Outcome.BROKEN, client
            assert report.stopped is None, client
            assert sum(report.errors.values()) == (outcomes != Outcome.OK).sum(), client
    finally:
        for sending in everyone:
            sending.stop()
