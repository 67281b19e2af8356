"""Whatever ends a sender early, its samples are kept, its report says why, and nothing of it is left."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from sender_tools import eventually, orders, payloads, samples_of, schedule, small_server

from generator.problems import ProblemsError
from loadtest.samples.file import read_samples
from loadtest.samples.record import Outcome
from loadtest.sender.process import Sending
from loadtest.traffic.schedule import Schedule

LONG = 20_000  # requests: 100 s at 200 a second


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with small_server("http") as server:
        yield server.address


def gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def sending_for_long(address: str, folder: Path) -> Sending:
    return Sending(orders(address), schedule([0] * LONG, 200), {"words": payloads(b"a")}, folder)


def until_some_are_done(sending: Sending) -> None:
    assert eventually(lambda: sending.progress()[1] >= 100)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal(address: str, tmp_path: Path, number: signal.Signals) -> None:
    with sending_for_long(address, tmp_path) as sending:
        sending.start()
        until_some_are_done(sending)
        assert sending.pid
        os.kill(sending.pid, number)
        report = sending.wait(20)
    assert report.stopped == f"stopped by {number.name}"
    assert json.loads((sending.folder / "report.json").read_text())["stopped"] == report.stopped
    meta, samples = read_samples(sending.samples_path)
    assert not meta["cut"]
    assert 100 <= len(samples) < LONG
    assert set(samples["outcome"]) - {Outcome.UNSENT} == {Outcome.OK}
    assert np.all(np.diff(samples["due_us"].astype(np.int64)) >= 0)


def test_stop_keeps_samples_and_may_be_called_again(address: str, tmp_path: Path) -> None:
    sending = sending_for_long(address, tmp_path)
    sending.start()
    until_some_are_done(sending)
    sending.stop()
    sending.stop()
    assert sending.pid
    assert gone(sending.pid)
    assert len(samples_of(sending)) >= 100
    assert sending.wait(1).stopped == "stopped by SIGTERM"


def test_stop_before_the_start(address: str, tmp_path: Path) -> None:
    with sending_for_long(address, tmp_path) as sending:
        sending.prepare()
    assert sending.pid
    assert gone(sending.pid)
    assert len(samples_of(sending)) == 0


@pytest.mark.parametrize("client", ["http-raw", "http-tritonclient", "grpc-raw", "grpc-tritonclient"])
def test_what_is_in_flight_at_the_end_is_a_timeout(tmp_path: Path, client: str) -> None:
    words = {"words": payloads(b"refuse", b"silent")}
    arrivals = schedule([0, 1] * 2000, 200)
    with small_server(client.partition("-")[0]) as server:
        told = orders(server.address, client, deadline_us=60_000_000)
        with Sending(told, arrivals, words, tmp_path) as sending:
            sending.start()
            assert eventually(lambda: sending.progress()[0] >= 60)
    samples = samples_of(sending)
    assert samples["due_us"].tolist() == (arrivals.due_ns[: len(samples)] // 1000).tolist()
    unsent = samples["outcome"] == Outcome.UNSENT
    answered, silent = (samples[(samples["payload"] == payload) & ~unsent] for payload in (0, 1))
    assert set(answered["outcome"]) == {Outcome.REFUSED}
    assert set(silent["outcome"]) == {Outcome.TIMEOUT}
    assert len(silent) >= 30
    assert silent["latency_us"].min() >= 60_000_000
    assert sending.wait(0).errors["no answer before the run was stopped"] == len(silent)


def test_what_waits_for_a_connection_at_the_end_is_a_timeout(address: str, tmp_path: Path) -> None:
    told = orders(address, connections=1, deadline_us=60_000_000)
    with Sending(told, schedule([0] * 4000, 200), {"words": payloads(b"silent")}, tmp_path) as sending:
        sending.start()
        assert eventually(lambda: sending.progress()[0] >= 60)
    samples = samples_of(sending)
    assert len(samples) >= 60
    assert np.count_nonzero(samples["outcome"] == Outcome.TIMEOUT) >= 60
    assert samples["latency_us"].min() >= 60_000_000


def test_a_signal_when_all_is_sent_stops_nothing_that_is_answered(tmp_path: Path) -> None:
    """The answers come within the grace, so nothing is missing and nothing was stopped."""
    with small_server("http") as server:
        arrivals = schedule([0] * 20, 200)
        with Sending(orders(server.address), arrivals, {"words": payloads(b"a")}, tmp_path) as sending:
            sending.prepare()
            server.signal(signal.SIGSTOP)
            sending.start()
            assert eventually(lambda: sending.progress()[0] == 20)
            assert sending.pid
            os.kill(sending.pid, signal.SIGTERM)
            server.signal(signal.SIGCONT)
            report = sending.wait(20)
    assert report.stopped is None
    assert samples_of(sending)["outcome"].tolist() == [Outcome.OK] * 20


def test_what_was_due_and_not_sent_is_unsent(address: str, tmp_path: Path) -> None:
    with sending_for_long(address, tmp_path) as sending:
        sending.start()
        until_some_are_done(sending)
        assert sending.pid
        os.kill(sending.pid, signal.SIGSTOP)
        stopped = time.monotonic()
        assert eventually(lambda: time.monotonic() > stopped + 0.5)
        os.kill(sending.pid, signal.SIGTERM)
        os.kill(sending.pid, signal.SIGCONT)
        sending.wait(20)
    samples = samples_of(sending)
    unsent = samples[samples["outcome"] == Outcome.UNSENT]
    assert len(unsent) >= 50
    assert unsent["latency_us"].min() >= 5_000_000
    assert samples["due_us"].tolist() == [5000 * place for place in range(len(samples))]


def test_who_ends_early_tells_why(address: str, tmp_path: Path) -> None:
    with sending_for_long(address, tmp_path) as sending:
        sending.start()
        until_some_are_done(sending)
        assert sending.ended_early() is None
        assert sending.pid
        os.kill(sending.pid, signal.SIGKILL)
        assert eventually(sending.ended_early)
        assert sending.ended_early() == "the sending process ended with status -9 and without a report"


def test_what_it_is_told_is_for_its_owner_and_only_until_it_is_ready(address: str, tmp_path: Path) -> None:
    told = replace(orders(address), headers={"X-Key": "secret"})
    with Sending(told, schedule([0] * 10, 200), {"words": payloads(b"a")}, tmp_path) as sending:
        sending.prepare()
        assert sending.folder.stat().st_mode & 0o777 == 0o700
        assert sorted(path.name for path in sending.folder.iterdir()) == ["samples.bin", "sender.log"]


@pytest.mark.parametrize("words", [payloads(b"a"), None])
def test_what_it_is_told_is_forgotten_on_a_failure(tmp_path: Path, words: Any) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        told = replace(orders(f"127.0.0.1:{nobody.getsockname()[1]}"), headers={"X-Key": "secret"})
        with Sending(told, schedule([0], 1), {"words": words}, tmp_path) as sending:
            with pytest.raises((ProblemsError, AttributeError)):
                sending.prepare()
            left = {path.name for path in sending.folder.iterdir()}
    assert left <= {"samples.bin", "sender.log"}


def test_the_process_is_killed(address: str, tmp_path: Path) -> None:
    with sending_for_long(address, tmp_path) as sending:
        sending.start()
        until_some_are_done(sending)
        assert sending.pid
        os.kill(sending.pid, signal.SIGKILL)
        with pytest.raises(ProblemsError, match=r"TK862 .* ended with status -9 and without a report"):
            sending.wait(20)
    meta, samples = read_samples(sending.samples_path)
    assert meta["cut"]
    assert len(samples) >= 100


def test_it_ends_when_its_parent_does(address: str, tmp_path: Path) -> None:
    program = f"""
        import sys, time
        sys.path[:0] = {sys.path!r}
        from pathlib import Path
        from sender_tools import orders, payloads, schedule
        from loadtest.sender.process import Sending
        sending = Sending(orders({address!r}), schedule([0] * {LONG}, 200), {{"words": payloads(b"a")}}, Path({str(tmp_path)!r}))
        sending.start()
        while sending.progress()[1] < 100:
            time.sleep(0.01)
        print(sending.pid, flush=True)
        time.sleep(60)
    """
    parent = subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert eventually(lambda: gone(pid))
    folder = tmp_path / "sender-0"
    assert json.loads((folder / "report.json").read_text())["stopped"] == "the process that started it is gone"
    assert len(read_samples(folder / "samples.bin")[1]) >= 100


def test_no_room_for_samples(address: str, tmp_path: Path) -> None:
    with sending_for_long(address, tmp_path) as sending:
        sending.prepare()
        assert sending.pid
        resource.prlimit(sending.pid, resource.RLIMIT_FSIZE, (4096, 4096))
        sending.start()
        report = sending.wait(20)
    assert report.stopped == "samples cannot be kept: File too large"
    _, samples = read_samples(sending.samples_path)
    assert 0 < len(samples) <= 4096 // 24


def test_the_server_dies_and_comes_back(tmp_path: Path) -> None:
    with (
        small_server("http") as server,
        Sending(orders(server.address), schedule([0] * 2000, 500), {"words": payloads(b"a")}, tmp_path) as sending,
    ):
        sending.start()
        assert eventually(lambda: sending.progress()[1] >= 300)
        server.kill()
        before = sending.progress()[0]
        assert eventually(lambda: sending.progress()[0] >= before + 300)
        server.start()
        report = sending.wait(60)
    samples = samples_of(sending)
    assert len(samples) == 2000
    outcomes = samples["outcome"]
    assert set(outcomes) == {Outcome.OK, Outcome.BROKEN}
    assert outcomes[0] == outcomes[-1] == Outcome.OK
    assert (outcomes == Outcome.BROKEN).sum() >= 100
    assert report.errors["Connection refused"] >= 100
    assert report.stopped is None
    assert report.busiest_core < 0.9  # it does not turn round and round while there is no server


@pytest.mark.parametrize(
    ("client", "streaming"), [("grpc-raw", False), ("grpc-raw", True), ("grpc-tritonclient", False)]
)
def test_the_grpc_server_dies_and_comes_back(tmp_path: Path, client: str, *, streaming: bool) -> None:
    arrivals = schedule([0] * 3000, 500)
    with small_server("grpc") as server:
        told = orders(server.address, client, streaming=streaming)
        with Sending(told, arrivals, {"words": payloads(b"now")}, tmp_path) as sending:
            sending.start()
            assert eventually(lambda: sending.progress()[1] >= 300)
            server.kill()
            before = sending.progress()[0]
            assert eventually(lambda: sending.progress()[0] >= before + 300)
            server.start()
            report = sending.wait(60)
    samples = samples_of(sending)
    assert len(samples) == 3000
    assert set(samples["outcome"]) == {Outcome.OK, Outcome.BROKEN}
    assert samples["outcome"][0] == samples["outcome"][-1] == Outcome.OK
    assert (samples["outcome"] == Outcome.BROKEN).sum() >= 100
    assert sum(report.errors.values()) == (samples["outcome"] == Outcome.BROKEN).sum()


def test_an_empty_schedule(address: str, tmp_path: Path) -> None:
    nothing = Schedule(np.empty(0, np.int64), np.empty(0, np.uint8), np.empty(0, np.uint32))
    with Sending(orders(address), nothing, {"words": payloads(b"a")}, tmp_path) as sending:
        sending.start()
        assert sending.wait(20).stopped is None
    assert len(samples_of(sending)) == 0
