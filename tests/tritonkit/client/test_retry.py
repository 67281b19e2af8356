"""What is sent again: only what was refused, within the deadline, and within the budget."""

from __future__ import annotations

import re
import socket
import threading
import time
from typing import Any, Literal

import numpy as np
import pytest
from misbehaving_servers import SERVERS, Refusing, grpc_server

from tritonkit import Pipeline, Retry
from tritonkit.client.errors import ItemError, of_grpc, of_http
from tritonkit.client.retry import Retries

QUICK = Retry(first_pause_s=0.01, longest_pause_s=0.02)
ITEM = np.array([1.0], np.float32)


# What may be sent again ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "again", "again_if_lost"),
    [
        (of_grpc("UNAVAILABLE", "Exceeds maximum queue size", 1), True, True),
        (of_grpc("UNAVAILABLE", "failed to connect to all addresses; last error: Connection refused", 1), True, True),
        (of_grpc("UNAVAILABLE", "connections to all backends failing; last error: refused", 1), True, True),
        (of_grpc("UNAVAILABLE", "Socket closed", 1), False, True),
        (of_grpc("UNAVAILABLE", "Received http2 header with status: 503", 1), True, True),
        (of_grpc("UNAVAILABLE", "Received http2 header with status: 502", 1), False, True),
        (of_grpc("UNAVAILABLE", "This protocol is restricted, expecting header 'x'", 1), False, False),
        (of_grpc("NOT_FOUND", "Request for unknown model: 'digits' is not found", 1), False, False),
        (of_grpc("NOT_FOUND", "Request for unknown model: 'digits' has no available versions", 1), True, True),
        (of_grpc("DEADLINE_EXCEEDED", "Deadline Exceeded", 1), False, False),
        (of_grpc("RESOURCE_EXHAUSTED", "too large", 1), False, False),
        (of_grpc("INVALID_ARGUMENT", "bad", 1), False, False),
        (of_grpc("INTERNAL", "the model failed", 1), False, False),
        (of_http("503", "Exceeds maximum queue size", None, 1), True, True),
        (of_http("503", "", "<html>No server is available to handle this request.</html>", 1), True, True),
        (of_http("502", "", "<html>Bad Gateway</html>", 1), False, True),
        (of_http("504", "", "<html>Gateway Time-out</html>", 1), False, False),
        (of_http("429", "slow down", None, 1), False, False),
        (of_http("400", "bad", None, 1), False, False),
        (ItemError("unreachable", "", repr(ConnectionRefusedError(111, "Connection refused"))), True, True),
        (ItemError("unreachable", "", repr(ConnectionResetError(104, "Connection reset by peer"))), False, True),
        (ItemError("bad_answer", ""), False, False),
        (ItemError("cancelled", ""), False, False),
    ],
)  # fmt: skip
def test_what_is_sent_again(error: ItemError, again: bool, again_if_lost: bool) -> None:
    assert (Retry().repeats(error), Retry(lost=True).repeats(error)) == (again, again_if_lost)


ENVOY = "upstream connect error or disconnect/reset before headers"


@pytest.mark.parametrize(
    ("said", "again"),
    [
        (ENVOY, False),
        (f"{ENVOY}. reset reason: connection termination", False),
        (f"{ENVOY}. reset reason: remote reset", False),
        (f"{ENVOY}. reset reason: connection termination, transport failure reason: Connection refused", False),
        (f"{ENVOY}. reset reason: connection failure", True),
        (f"{ENVOY}. reset reason: connection failure, transport failure reason: Connection refused", True),
        (f"{ENVOY}. reset reason: remote connection failure, transport failure reason: delayed connect error: 111", True),
        (f"{ENVOY}. reset reason: overflow", True),
        (f"{ENVOY}. retried and the latest reset reason: connection failure", False),
        ("no healthy upstream", True),
    ],
)  # fmt: skip
def test_what_a_gateway_of_envoy_says(said: str, again: bool) -> None:
    for error in (of_grpc("UNAVAILABLE", said, 1), of_http("503", "", said, 1)):
        assert (Retry().repeats(error), Retry(lost=True).repeats(error)) == (again, True)


REFUSED = ItemError("unavailable", "the queue is full")


def test_pauses_grow_vary_and_end() -> None:
    policy = Retry(attempts=5, first_pause_s=0.1, longest_pause_s=0.3)
    drawn = []
    for _ in range(50):
        course = Retries(policy, deadline_s=60).course()
        drawn.append([course.pause_s(REFUSED) for _ in range(5)])
        assert course.attempts == 5
    for number, longest_s in enumerate((0.1, 0.2, 0.3, 0.3)):
        pauses = {pauses[number] for pauses in drawn}
        assert all(longest_s / 2 <= pause <= longest_s for pause in pauses if pause is not None)
        assert len(pauses) > 40
    assert {pauses[4] for pauses in drawn} == {None}


def test_a_result_and_a_passed_deadline_are_the_last_word() -> None:
    retries = Retries(Retry(first_pause_s=0.2), deadline_s=0.1)
    assert retries.course().pause_s(object()) is None
    assert retries.course().pause_s(REFUSED) is None, "the pause would outlast the deadline"


@pytest.mark.parametrize("retry", [None, Retry(attempts=1), Retry(budget=0)])
def test_it_can_be_turned_off(retry: Retry | None) -> None:
    retries = Retries(retry, deadline_s=60)
    again = [retries.course().pause_s(REFUSED) is not None for _ in range(100)]
    assert sum(again) == (10 if retry is not None and retry.attempts > 1 else 0)


def test_the_budget_keeps_repetitions_at_a_share_of_the_requests() -> None:
    retries = Retries(Retry(attempts=100, budget=0.1), deadline_s=1e6)
    again = 0
    for _ in range(1000):
        course = retries.course()
        while course.pause_s(REFUSED) is not None:
            again += 1
    assert 100 <= again <= 111
    for _ in range(1000):  # a long quiet time saves up no storm
        retries.course()
    course, again = retries.course(), 0
    while course.pause_s(REFUSED) is not None:
        again += 1
    assert again == 10


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"attempts": 0}, "attempts is 0; give 1"),
        ({"first_pause_s": 0}, "first_pause_s and longest_pause_s are 0 and 1.0"),
        ({"first_pause_s": 2}, "first_pause_s and longest_pause_s are 2 and 1.0"),
        ({"budget": 1.5}, "budget is 1.5; give a share"),
    ],
)
def test_settings_that_cannot_work(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        Retry(**settings)


# Servers that misbehave ------------------------------------------------------------------------------------


def test_a_full_queue_is_asked_again(caller: Any) -> None:
    server = Refusing("busy", bad=2)
    with SERVERS[caller.protocol](server) as address:
        [answer] = caller.infer("echo", address, [ITEM], retry=QUICK)
    assert (answer.text.tolist(), answer.attempts, server.seen) == ([7.0], 3, 3)


def test_a_queue_that_stays_full_is_the_items_error(caller: Any) -> None:
    server = Refusing("busy", bad=1000)
    with SERVERS[caller.protocol](server) as address:
        answers = caller.infer("echo", address, [ITEM] * 40, retry=QUICK)
    assert {answer.error.code for answer in answers} == {"unavailable"}
    assert server.seen == sum(answer.attempts for answer in answers)
    assert 40 < server.seen <= 40 + 10 + 0.1 * 40 + 1, "the budget holds"


def test_without_a_policy_nothing_is_sent_twice(caller: Any) -> None:
    server = Refusing("busy", bad=1)
    with SERVERS[caller.protocol](server) as address:
        [answer] = caller.infer("echo", address, [ITEM], retry=None)
    assert (answer.error.code, answer.attempts, server.seen) == ("unavailable", 1, 1)


@pytest.mark.parametrize("lost", [False, True])
def test_a_connection_that_breaks_under_way_is_tried_again_only_where_that_is_asked_for(
    caller: Any, lost: bool
) -> None:
    server = Refusing("closing", bad=1)
    retry = Retry(first_pause_s=0.01, lost=lost)
    with SERVERS[caller.protocol](server) as address:
        answers = caller.infer("echo", address, [ITEM, ITEM], in_flight=1, retry=retry)
    assert [answer.ok for answer in answers] == [lost, True]
    assert server.seen == (3 if lost else 2)


@pytest.mark.parametrize(
    ("kind", "lost", "again"),
    [
        ("reset behind envoy", False, False),
        ("reset behind envoy", True, True),
        ("no connection behind envoy", False, True),
        ("overflow of envoy", False, True),
    ],
)
def test_a_connection_that_breaks_behind_envoy(caller: Any, kind: str, lost: bool, again: bool) -> None:
    server = Refusing(kind, bad=1)
    with SERVERS[caller.protocol](server) as address:
        [answer] = caller.infer("echo", address, [ITEM], retry=Retry(first_pause_s=0.01, lost=lost))
    assert (answer.ok, server.seen) == (again, 2 if again else 1)


def test_the_deadline_holds_over_all_attempts(caller: Any) -> None:
    server = Refusing("busy", bad=1000)
    retry = Retry(attempts=1000, first_pause_s=0.1, longest_pause_s=0.1)
    with SERVERS[caller.protocol](server) as address:
        start = time.monotonic()
        answers = caller.infer("echo", address, [ITEM], deadline_s=0.35, retry=retry)
        assert time.monotonic() - start < 5
    assert answers[0].error.code == "unavailable"
    assert answers[0].latency_us < 600_000
    assert 2 <= answers[0].attempts <= 7


def test_a_server_that_comes_up_late_is_reached(caller: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as chosen:
        port = chosen.getsockname()[1]
    server, ended = Refusing("busy", bad=0), threading.Event()

    def late() -> None:
        time.sleep(0.3)  # what is tested is that nobody listens for a while
        with SERVERS[caller.protocol](server, port):
            ended.wait(30)

    thread = threading.Thread(target=late)
    thread.start()
    try:
        retry = Retry(attempts=10, first_pause_s=0.1, longest_pause_s=1.0)
        [answer] = caller.infer("echo", f"127.0.0.1:{port}", [ITEM], retry=retry, deadline_s=20)
    finally:
        ended.set()
        thread.join()
    assert answer.ok


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_close_ends_a_pause(protocol: Literal["grpc", "http"]) -> None:
    server = Refusing("busy", bad=1000)
    with SERVERS[protocol](server) as address:
        retry = Retry(first_pause_s=60, longest_pause_s=60)
        with Pipeline("echo", address, protocol=protocol, deadline_s=600, retry=retry) as pipeline:

            def close() -> None:
                while server.seen < 2:
                    time.sleep(0.01)
                pipeline.close()

            closer = threading.Thread(target=close)
            closer.start()
            start = time.monotonic()
            answers = pipeline.infer([ITEM, ITEM])
            assert time.monotonic() - start < 20
            closer.join()
    assert [answer.error.code for answer in answers if answer.error] == ["cancelled"] * 2


# Several servers of one name -------------------------------------------------------------------------------


def test_grpc_balances_over_all_addresses_and_leaves_out_the_dead(callers: list[Any]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as chosen:
        dead = chosen.getsockname()[1]
    for caller in (each for each in callers if each.protocol == "grpc"):
        servers = [Refusing("busy", bad=0), Refusing("busy", bad=0)]
        with grpc_server(servers[0]) as first, grpc_server(servers[1]) as second:
            address = f"ipv4:{first},{second},127.0.0.1:{dead}"
            answers = caller.infer("echo", address, [ITEM] * 40, in_flight=1)
        assert all(answer.ok for answer in answers)
        assert min(server.seen for server in servers) >= 10
