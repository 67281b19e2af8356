"""Servers that are absent, die, hang or stop: every request gets one clear error, alike over both protocols."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import hostile_table
import pytest
from hostile_files import digit
from hostile_servers import Calls, calls, label_of, process_of, seconds, waiting_project
from hostile_stream import right_labels
from hostile_wire import ends_the_server
from story_tools import PROTOCOLS, Array, Protocol, Rendered, Running, eventually, running, shm_segments

from tritonkit import Pipeline, ServerUnreachableError

pytestmark = pytest.mark.server

LONG_S = 30.0  # what a request would take if nothing happened to its server
SOON_S = 10.0  # an error takes some ms, and one second where a process has died; this says that nothing hangs


@pytest.fixture(scope="module")
def rendered_waits(tmp_path_factory: pytest.TempPathFactory) -> Rendered:
    return waiting_project(tmp_path_factory.mktemp("waits"))


@pytest.fixture(scope="module")
def server(rendered_waits: Rendered) -> Iterator[Running]:
    """For tests after which its pipelines `digits` and `waits` work as before."""
    with running(rendered_waits) as started:
        yield started


@pytest.fixture
def own_server(rendered_waits: Rendered) -> Iterator[Running]:
    """For one test that ends it."""
    with running(rendered_waits) as started:
        yield started


def check_alike(under_way: Calls, case: str, index: int) -> None:
    """The item's error, over both protocols, is what the page says."""
    for protocol in PROTOCOLS:
        error = under_way.answers[protocol][index].error
        assert error is not None
        hostile_table.check(case, error.code, error.message)


@contextmanager
def one_each(server: Running, items: list[Array], begun: int, **options: Any) -> Iterator[dict[Protocol, Calls]]:
    """Items under way over each protocol, to a model of its own: what has begun is then known to be of both."""
    with (
        calls(server, "waits", items, protocols=("grpc",), **options) as grpc,
        calls(server, "mortal", items, protocols=("http",), **options) as http,
    ):
        for each in (grpc, http):
            each.wait_until_begun(begun)
        yield {"grpc": grpc, "http": http}


# No server -------------------------------------------------------------------------------------------------


def test_no_server(protocol: Protocol) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
    start = time.monotonic()
    with Pipeline("digits", address, protocol=protocol) as pipeline, pytest.raises(ServerUnreachableError) as caught:
        pipeline.infer([digit()])
    assert time.monotonic() - start < SOON_S
    message = str(caught.value).replace(address, "ADDRESS")
    hostile_table.check("no server at the address", "ServerUnreachableError", message)


# A server that dies ----------------------------------------------------------------------------------------


def test_a_server_that_is_killed_under_way(own_server: Running) -> None:
    # One by one: when the second has begun, the first has been answered.
    items = [seconds(0), seconds(LONG_S), seconds(0)]
    with one_each(own_server, items, 2, in_flight=1, deadline_s=2 * LONG_S) as under_way:
        killed = time.monotonic()
        os.kill(own_server.server.pid, signal.SIGKILL)
        for protocol, each in under_way.items():
            each.join()
            assert each.codes(protocol) == ["ok", "unreachable", "unreachable"]
            error = each.answers[protocol][1].error
            assert error is not None
            hostile_table.check("the server dies under way", error.code, error.message)
            with pytest.raises(ServerUnreachableError):
                each.pipelines[protocol].infer([seconds(0)])
        assert time.monotonic() - killed < SOON_S
    # Its Python processes end and its shared memory is removed, though it could do neither itself any more.
    assert eventually(lambda: not shm_segments(own_server.server.shm_prefix))


@pytest.mark.parametrize(("request_of", "cause"), [(0, "asked for the classes"), (1, "JSON tensor of a huge shape")])
def test_what_no_server_of_this_version_survives(own_server: Running, request_of: int, cause: str) -> None:
    # Known faults of Triton 2.51, not to be mended from outside: see docs/how-to/errors.md. If this fails because a
    # newer server survives, the page and the exceptions made for these requests can go.
    sent = list(ends_the_server().values())[request_of]
    with one_each(own_server, [seconds(LONG_S)], 1, deadline_s=2 * LONG_S) as under_way:
        start = time.monotonic()
        host, _, port = own_server.address("http").partition(":")
        with socket.create_connection((host, int(port)), SOON_S) as connection, suppress(ConnectionResetError):
            connection.sendall(sent)
            assert connection.recv(1) == b""
        for protocol, each in under_way.items():
            each.join()
            case = "the server dies before anything is answered"
            hostile_table.check(case, type(each.errors[protocol]).__name__, each.message(protocol))
        assert time.monotonic() - start < SOON_S
    assert eventually(lambda: own_server.server.failed)
    assert cause in str(own_server.server.failure)


# A server that hangs, or stops -----------------------------------------------------------------------------


def test_a_server_that_hangs_costs_the_deadline_and_goes_on_afterwards(server: Running, protocol: Protocol) -> None:
    with Pipeline("waits", server.address(protocol), protocol=protocol, deadline_s=1.0) as pipeline:
        assert pipeline.infer_one(seconds(0)).ok
        os.kill(server.server.pid, signal.SIGSTOP)
        try:
            start = time.monotonic()
            answers = pipeline.infer([seconds(0)] * 3)
            assert time.monotonic() - start < SOON_S
        finally:
            os.kill(server.server.pid, signal.SIGCONT)
        for answer in answers:
            assert answer.error is not None
            hostile_table.check("the server hangs", answer.error.code, answer.error.message)
    [right] = right_labels(server.rendered, [digit()])
    assert label_of(server, protocol, digit()) == right


def test_a_server_that_is_stopped_answers_what_is_under_way(own_server: Running) -> None:
    with one_each(own_server, [seconds(1.0)], 1) as under_way:
        stopping = threading.Thread(target=own_server.server.stop)
        stopping.start()
        # What comes while it stops is answered or refused, whichever, and not lost.
        with calls(own_server, "digits", [digit()] * 100, in_flight=4) as late:
            late.join()
        for protocol, each in under_way.items():
            each.join()
            assert each.codes(protocol) == ["ok"]
    for protocol, answers in late.answers.items():
        assert len(answers) == 100
        assert set(late.codes(protocol)) <= {"ok", "unavailable", "unreachable"}
    assert set(late.answers) | set(late.errors) == set(PROTOCOLS)
    stopping.join()
    assert not own_server.server.failed
    for protocol in PROTOCOLS:
        address = own_server.address(protocol)
        with Pipeline("waits", address, protocol=protocol) as pipeline, pytest.raises(ServerUnreachableError):
            pipeline.infer([seconds(0)])


# A model that fails, or dies -------------------------------------------------------------------------------


def test_an_exception_of_an_own_class(server: Running) -> None:
    with calls(server, "waits", [seconds(-1)]) as failing:
        failing.join()
    check_alike(failing, "an own class raises an exception", 0)
    with calls(server, "waits", [seconds(0)]) as after:
        after.join()
    assert [after.codes(protocol) for protocol in PROTOCOLS] == [["ok"], ["ok"]]


def test_a_python_process_that_dies_takes_only_its_model_along(server: Running) -> None:
    with calls(server, "mortal", [seconds(LONG_S)], deadline_s=2 * LONG_S) as under_way:
        under_way.wait_until_begun(1)
        start = time.monotonic()
        os.kill(process_of(server, "mortal"), signal.SIGKILL)
        under_way.join()
        assert time.monotonic() - start < SOON_S
    check_alike(under_way, "a Python process of the server dies", 0)
    with calls(server, "mortal", [seconds(0)]) as after:
        after.join()
    check_alike(after, "a Python process of the server dies", 0)
    [right] = right_labels(server.rendered, [digit()])
    for protocol in PROTOCOLS:
        assert label_of(server, protocol, digit()) == right
