"""Requests are sent when they are due, and every one of them has a sample that says how it went."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from sender_tools import SmallServer, orders, payloads, schedule, send, small_server

from generator.problems import ProblemsError
from loadtest.samples.record import Outcome
from loadtest.sender.process import Sending, start_together

CLIENTS = ("http-raw", "grpc-raw", "http-tritonclient", "grpc-tritonclient")


@pytest.fixture(scope="module")
def http() -> Iterator[str]:
    with small_server("http") as server:
        yield server.address


@pytest.fixture(scope="module")
def grpc() -> Iterator[str]:
    with small_server("grpc") as server:
        yield server.address


def test_every_request_has_a_sample(http: str, tmp_path: Path) -> None:
    arrivals = schedule([0, 1] * 200, 400)
    samples, report = send(orders(http), arrivals, payloads(b"a", b"b" * 5000), tmp_path)
    assert samples["due_us"].tolist() == (arrivals.due_ns // 1000).tolist()
    assert samples["payload"].tolist() == arrivals.payload.tolist()
    assert set(samples["outcome"]) == {Outcome.OK}
    assert set(samples["status"]) == {200}
    assert np.all(samples["latency_us"] > samples["lag_us"])
    assert (report.stopped, report.errors, report.gc_pauses) == (None, {}, 0)
    assert 0 < report.busiest_core < 1
    assert 0 < report.clock_resolution_ns < 1_000_000
    assert 0.99 < report.wall_s < 20
    assert 0 < report.cpu_s < report.wall_s
    assert abs(report.started_unix_ns - time.time_ns()) < 60e9


def test_nothing_is_sent_before_it_is_due(http: str, tmp_path: Path) -> None:
    arrivals = schedule([0] * 50, 25)  # two seconds
    start = time.monotonic()
    _, report = send(orders(http), arrivals, payloads(b"a"), tmp_path)
    assert time.monotonic() - start > arrivals.duration_s
    assert report.wall_s > arrivals.duration_s


def test_answers_however_they_come(http: str, tmp_path: Path) -> None:
    words = (b"a", b"pieces", b"large", b"slow", b"last", b"b" * 1_000_000)
    samples, report = send(orders(http), schedule([*range(6)] * 20, 200), payloads(*words), tmp_path)
    assert report.errors == {}
    assert set(samples["outcome"]) == {Outcome.OK}
    slow = samples[samples["payload"] == 3]
    assert np.all(slow["latency_us"] >= 50_000)


def test_a_connection_that_the_server_closes_is_replaced(http: str, tmp_path: Path) -> None:
    samples, report = send(orders(http), schedule([0] * 100, 200), payloads(b"last"), tmp_path)
    assert set(samples["outcome"]) == {Outcome.OK}
    assert report.connections_opened >= 100


def test_what_goes_wrong_over_http(http: str, tmp_path: Path) -> None:
    words = (b"a", b"refuse one", b"hang up", b"no length", b"silent")
    told = orders(http, deadline_us=300_000)
    samples, report = send(told, schedule([*range(5)] * 10, 100), payloads(*words), tmp_path)
    by_word = [Counter(samples["outcome"][samples["payload"] == word].tolist()) for word in range(5)]
    expected = (Outcome.OK, Outcome.REFUSED, Outcome.BROKEN, Outcome.BROKEN, Outcome.TIMEOUT)
    assert by_word == [{outcome: 10} for outcome in expected]
    assert set(samples["status"][samples["payload"] == 1]) == {400}
    assert np.all(samples["latency_us"][samples["payload"] == 4] >= 300_000)
    assert report.errors == {
        "will not: one": 10,
        "the server closed the connection before its answer": 10,
        "an answer without Content-Length, which cannot be read": 10,
        "no answer within the deadline": 10,
    }


@pytest.mark.parametrize("client", ["grpc-raw", "grpc-tritonclient"])
def test_what_goes_wrong_over_grpc(grpc: str, tmp_path: Path, client: str) -> None:
    words = (b"a", b"refuse", b"queue", b"silent")
    told = orders(grpc, client, deadline_us=500_000)
    samples, report = send(told, schedule([*range(4)] * 10, 100), payloads(*words), tmp_path)
    by_word = [Counter(samples["outcome"][samples["payload"] == word].tolist()) for word in range(4)]
    expected = (Outcome.OK, Outcome.REFUSED, Outcome.REFUSED, Outcome.TIMEOUT)
    assert by_word == [{outcome: 10} for outcome in expected]
    assert [set(samples["status"][samples["payload"] == word].tolist()) for word in range(3)] == [{0}, {3}, {14}]
    assert np.all(samples["latency_us"][samples["payload"] == 3] >= 500_000)
    assert report.errors["will not: 100 % of it, für niemanden"] == 10
    assert report.errors["Exceeds maximum queue size"] == 10


def test_a_stream_matches_answers_by_id(grpc: str, tmp_path: Path) -> None:
    # Two of four connections have even numbers of requests: the last of each is answered with `now`.
    words = (b"a", b"refuse", b"b" * 100_000, b"silent", b"now")
    told = orders(grpc, "grpc-raw", deadline_us=1_000_000, streaming=True)
    samples, report = send(told, schedule([0, 1, 2, 3] * 40 + [4] * 8, 200), payloads(*words), tmp_path)
    by_word = [Counter(samples["outcome"][samples["payload"] == word].tolist()) for word in range(5)]
    expected = (Outcome.OK, Outcome.REFUSED, Outcome.OK, Outcome.TIMEOUT)
    assert by_word == [*({outcome: 40} for outcome in expected), {Outcome.OK: 8}]
    assert report.errors == {
        "will not: 100 % of it, für niemanden": 40,
        "no answer within the deadline": 40,
    }


@pytest.mark.parametrize("client", ["grpc-raw", "grpc-tritonclient"])
def test_messages_larger_than_any_window(grpc: str, tmp_path: Path, client: str) -> None:
    words = (b"a" * 10_000_000, b"b" * 70_000, b"c")
    samples, report = send(orders(grpc, client), schedule([0, 1, 2] * 5, 100), payloads(*words), tmp_path)
    assert report.errors == {}
    assert set(samples["outcome"]) == {Outcome.OK}


def test_headers_reach_the_server(grpc: str, tmp_path: Path) -> None:
    from loadtest.sender.answers import read_answers

    told = orders(grpc, "grpc-raw", headers={"X-Key": "k" * 300})
    with Sending(told, schedule([0], 1), {"words": payloads(b"metadata")}, tmp_path, keep_answers=True) as sending:
        sending.start()
        assert sending.wait(60).errors == {}
    said = bytes(read_answers(sending.folder)[0]["echo"]).decode()
    assert f"('x-key', '{'k' * 300}')" in said


@pytest.mark.parametrize("client", ["http-raw", "grpc-raw", "grpc-tritonclient"])
def test_a_share_is_cancelled(http: str, grpc: str, tmp_path: Path, client: str) -> None:
    address = http if client.startswith("http") else grpc
    told = orders(address, client, cancel=0.5, deadline_us=700_000, seed=3)
    samples, report = send(told, schedule([0] * 200, 400), payloads(b"silent"), tmp_path)
    chosen = np.random.default_rng(3).random(200) < 0.5
    assert np.array_equal(samples["outcome"] == Outcome.CANCELLED, chosen)
    assert set(samples["outcome"][~chosen]) == {Outcome.TIMEOUT}
    assert np.median(samples["latency_us"][chosen]) < 350_000
    assert sum(report.errors.values()) == 200 - chosen.sum()


@pytest.mark.parametrize("client", ["http-raw", "http-tritonclient"])
def test_waiting_for_a_connection_is_counted_and_part_of_the_latency(http: str, tmp_path: Path, client: str) -> None:
    told = orders(http, client, connections=2)
    samples, report = send(told, schedule([0] * 60, 2000), payloads(b"slow"), tmp_path)
    assert report.errors == {}
    assert set(samples["outcome"]) == {Outcome.OK}
    assert report.waited_for_connection == 58
    assert report.connections_opened <= 3
    assert samples["latency_us"][-1] > 29 * 50_000
    # The wait is the server's doing: it is no lag of the sender's.
    assert np.median(samples["lag_us"]) < 50_000
    assert samples["latency_us"][-1] - int(samples["lag_us"][-1]) > 20 * 50_000
    assert report.most_in_flight == 2


def test_who_waits_beyond_the_deadline_is_not_sent(http: str, tmp_path: Path) -> None:
    told = orders(http, connections=1, deadline_us=200_000)
    samples, report = send(told, schedule([0] * 20, 2000), payloads(b"silent"), tmp_path)
    assert set(samples["outcome"]) == {Outcome.TIMEOUT}
    assert np.all(samples["latency_us"] >= 200_000)
    assert report.errors["no connection was free within the deadline"] >= 15


def test_connections_grow_on_demand(http: str, tmp_path: Path) -> None:
    told = orders(http, connections=100)
    _, report = send(told, schedule([0] * 80, 8000), payloads(b"slow"), tmp_path)
    assert report.waited_for_connection == 0
    assert 60 <= report.connections_opened <= 100


def test_no_more_than_fifty_words(http: str, tmp_path: Path) -> None:
    words = [b"refuse %d" % number for number in range(70)]
    _, report = send(orders(http), schedule([*range(70)], 200), payloads(*words), tmp_path)
    assert len(report.errors) == 51
    assert report.errors["(other words)"] == 20


def test_a_schedule_that_cannot_be_kept_does_not_last_for_ever(http: str, tmp_path: Path) -> None:
    told = orders(http, deadline_us=100_000)
    start = time.monotonic()
    samples, report = send(told, schedule([0] * 1_500_000, 600_000), payloads(b"a"), tmp_path)
    assert time.monotonic() - start < 60
    assert len(samples) == 1_500_000
    late = samples["outcome"] == Outcome.TIMEOUT
    assert late.mean() > 0.5
    assert report.errors["more than the deadline behind the schedule, so not sent"] > 0
    assert np.all(samples["latency_us"][late] >= 100_000)
    assert not report.real_time  # it would take the core from everyone


def test_it_goes_first_where_that_is_allowed(http: str, tmp_path: Path) -> None:
    try:
        before = os.sched_getscheduler(0), os.sched_getparam(0)
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
        os.sched_setscheduler(0, *before)
        allowed = True
    except PermissionError:
        allowed = False
    with Sending(orders(http), schedule([0] * 400, 200), {"words": payloads(b"a")}, tmp_path) as sending:
        sending.start()
        assert sending.pid
        policy = os.sched_getscheduler(sending.pid) & ~os.SCHED_RESET_ON_FORK
        assert policy == (os.SCHED_FIFO if allowed else os.SCHED_OTHER)
        assert sending.wait(60).real_time == allowed


def test_senders_start_at_one_instant(http: str, tmp_path: Path) -> None:
    whole = schedule([0] * 300, 300)
    parts = [
        Sending(orders(http), whole.part(number, 3), {"words": payloads(b"a")}, tmp_path, number=number)
        for number in range(3)
    ]
    try:
        start_together(parts)
        reports = [sending.wait(60) for sending in parts]
    finally:
        for sending in parts:
            sending.stop()
    from sender_tools import samples_of

    started_ns = [report.started_unix_ns for report in reports]
    assert max(started_ns) - min(started_ns) < 5_000_000
    due = np.sort(np.concatenate([samples_of(sending)["due_us"] for sending in parts]))
    assert due.tolist() == (whole.due_ns // 1000).tolist()


def test_progress_is_told(http: str, tmp_path: Path) -> None:
    with Sending(orders(http), schedule([0] * 400, 200), {"words": payloads(b"a")}, tmp_path) as sending:
        assert sending.progress() == (0, 0, 0.0)
        sending.start()
        seen = set()
        while sending.running:
            seen.add(sending.progress())
            time.sleep(0.02)
        sending.wait(1)
        seen.add(sending.progress())  # it may have ended between two looks
    assert len(seen) >= 4
    assert max(seen)[:2] == (400, 400)
    assert all(done <= sent for sent, done, _ in seen)


@pytest.mark.parametrize("client", CLIENTS)
def test_no_server(tmp_path: Path, client: str) -> None:
    server = SmallServer("http")
    server.kill()
    with (
        Sending(orders(server.address, client), schedule([0], 1), {"words": payloads(b"a")}, tmp_path) as sending,
        pytest.raises(ProblemsError) as caught,
    ):
        sending.start()
    [problem] = caught.value.problems
    assert problem.code == "TK861"
    assert problem.message.startswith(f"no server answers at {server.address}")
    assert not sending.running


@pytest.mark.parametrize(
    ("client", "options", "field"),
    [
        ("http-raw", {"streaming": True}, "streaming"),
        ("grpc-tritonclient", {"streaming": True}, "streaming"),
        ("grpc-raw", {"streaming": True, "cancel": 0.1}, "cancel"),
        ("http-tritonclient", {"cancel": 0.1}, "cancel"),
        ("http-raw", {"cancel": 1.5}, "cancel"),
        ("http-raw", {"deadline_us": 0}, "deadline_us"),
        ("http-raw", {"deadline_us": 4_000_000_000}, "deadline_us"),
        ("http-raw", {"connections": 0}, "connections"),
    ],
)
def test_orders_that_do_not_fit_together(tmp_path: Path, client: str, options: dict[str, object], field: str) -> None:
    told = orders("127.0.0.1:1", client, **options)
    with pytest.raises(ProblemsError) as caught:
        Sending(told, schedule([0], 1), {"words": payloads(b"a")}, tmp_path)
    [problem] = caught.value.problems
    assert (problem.code, problem.field) == ("TK860", field)
    assert problem.hint


def test_a_start_that_is_over(http: str, tmp_path: Path) -> None:
    words = {"words": payloads(b"a")}
    with (
        Sending(orders(http), schedule([0], 1), words, tmp_path, start_at_ns=1) as sending,
        pytest.raises(ProblemsError, match=r"TK862 .* after the instant at which it should have started"),
    ):
        sending.start()
    assert not sending.running
