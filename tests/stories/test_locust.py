"""The same load test through Locust: alone, with a coordinator and two workers, and with its web page.

The server's times are fixed, each request's by its bytes: what differs is what the driver adds. They are long, a
quarter to three quarters of a second, so that 5 % of them is more than what a busy machine adds.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from steady_server import Steady, steady
from story_tools import (
    CLONE,
    GONE_S,
    children_heed_interrupts,
    command_line,
    eventually,
    lives,
    make_project,
    tritonkit,
)

from loadtest.results.run import Run, read_run
from loadtest.samples.file import read_samples

LOCUSTFILE = str(CLONE / "loadtest" / "locustfile.py")
LOAD = ("--rate", "100", "--duration", "3", "--seed", "7", "--p99-ms", "2000", "--lag-bound-ms", "60000")
ENDS_S = 60.0
IMAGES = 24

ALONE = pytest.mark.alone  # latencies of two runs are compared, or with what a page says of them


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The digits, and few enough images that each is asked once in a moment."""
    text = (CLONE / "specs" / "digits.yaml").read_text().replace("data/digits-gate.npz", "few.npz")
    root = make_project(tmp_path_factory.mktemp("locust") / "project", {"digits.yaml": text}).root
    with np.load(CLONE / "data" / "digits-gate.npz") as gate:
        np.savez(root / "few.npz", **{name: gate[name][:IMAGES] for name in gate.files})
    return root


@pytest.fixture(scope="module")
def server() -> Iterator[Steady]:
    """For all of them."""
    with steady(least_ms=250, spread_ms=500) as running:
        yield running


@pytest.fixture(scope="module")
def direct(project: Path, server: Steady) -> Path:
    """The run that `load run` makes."""
    out = project / "direct"
    ended = tritonkit(project, "load", "run", "specs/digits.yaml", *LOAD, "--url", server.address, "--out", str(out))
    assert read_run(out).validity.valid, ended.stdout
    return out


def locust(project: Path, *words: str, output: str) -> subprocess.Popen[bytes]:
    """Locust in a session of its own."""
    with children_heed_interrupts(), (project / output).open("wb") as file:
        return subprocess.Popen(
            [sys.executable, "-m", "locust", "-f", LOCUSTFILE, *words], cwd=project, stdin=subprocess.DEVNULL,
            stdout=file, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip


@contextmanager
def ending(*processes: subprocess.Popen[bytes]) -> Iterator[None]:
    """Whatever happens, they are gone afterwards."""
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def free_port() -> int:
    """One that the system gives."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
    return port


def alike(one: Path, other: Path) -> None:
    """The same requests at the same times, and latencies within 5 %."""
    (_, a), (_, b) = read_samples(one / "samples.bin"), read_samples(other / "samples.bin")
    assert a.dtype == b.dtype
    columns = ["due_us", "payload", "pipeline", "outcome", "status"]
    assert a[columns].tolist() == b[columns].tolist()
    for percent in (50, 99):
        wanted, found = (float(np.percentile(s["latency_us"], percent)) for s in (a, b))
        assert abs(found / wanted - 1) < 0.05, (percent, wanted, found)


def summary(text: str) -> dict[str, float]:
    """The percentiles of Locust's own last table, in milliseconds."""
    head, *rows = text[text.rindex("Response time percentiles") :].splitlines()[1:]
    names = re.findall(r"[\d.]+%", head)
    [row] = [row for row in rows if row.startswith("HTTP")]
    return dict(zip(names, map(float, row.split()[2:]), strict=False))


@ALONE
def test_one_process_alone(project: Path, server: Steady, direct: Path) -> None:
    out = project / "alone"
    process = locust(project, "--headless", "--spec", "specs/digits.yaml", *LOAD, "--url", server.address, "--out", str(out), output="alone.log")  # fmt: skip
    with ending(process):
        status = process.wait(ENDS_S)
    told = (project / "alone.log").read_text()
    alike(direct, out)
    run = read_run(out)
    assert (run.traffic.driver, run.validity.senders) == ("locust", 1)
    assert status == (0 if run.judgement.verdict == "pass" else 1), told
    assert run.made.command.startswith("__main__.py -f") or "locust" in run.made.command
    shown = summary(told)
    _, samples = read_samples(out / "samples.bin")
    for name, percent in (("50%", 50), ("99%", 99)):
        wanted_ms = float(np.percentile(samples["latency_us"], percent)) / 1000
        assert abs(shown[name] / wanted_ms - 1) < 0.05, (shown, wanted_ms)
    assert f"{run.judgement.verdict.upper()}  digits" in told


@ALONE
def test_a_coordinator_and_two_workers(project: Path, server: Steady, direct: Path) -> None:
    out, port = project / "spread", str(free_port())
    (out / "segment-0").mkdir(parents=True)
    for left in ("worker-0-0.bin", "worker-7-0.bin"):  # of a run before that broke off
        shutil.copyfile(direct / "samples.bin", out / "segment-0" / left)
    workers = [
        locust(project, "--worker", "--master-host", "127.0.0.1", "--master-port", port, output=f"worker{number}.log")
        for number in range(2)
    ]
    master = locust(
        project, "--headless", "--master", "--master-bind-host", "127.0.0.1", "--master-bind-port", port,
        "--expect-workers", "2", "--spec", "specs/digits.yaml", *LOAD, "--url", server.address, "--out", str(out),
        output="master.log",
    )  # fmt: skip
    with ending(master, *workers):
        status = master.wait(ENDS_S)
        assert [worker.wait(ENDS_S) for worker in workers] == [0, 0]
    told = (project / "master.log").read_text()
    assert "Traceback" not in told + (project / "worker0.log").read_text()
    alike(direct, out)
    run = read_run(out)
    assert status == (0 if run.judgement.verdict == "pass" else 1), told
    assert run.validity.senders == 2
    assert run.outcomes == {"ok": run.requests}
    assert (
        abs(
            summary(told)["50%"] / float(np.percentile(read_samples(out / "samples.bin")[1]["latency_us"], 50) / 1000)
            - 1
        )
        < 0.05
    )
    assert sorted(path.name for path in out.iterdir()) == ["run.json", "samples.bin"]


@ALONE
def test_load_run_starts_locust_and_its_workers(project: Path, server: Steady, direct: Path) -> None:
    out = project / "workers"
    ended = tritonkit(
        project,
        "load",
        "run",
        "specs/digits.yaml",
        *LOAD,
        "--url",
        server.address,
        "--workers",
        "2",
        "--out",
        str(out),
    )
    alike(direct, out)
    run = read_run(out)
    assert ended.returncode == (0 if run.judgement.verdict == "pass" else 1), ended.stderr
    assert ended.stdout.startswith(f"{run.judgement.verdict.upper()}  digits")
    assert (run.traffic.driver, run.validity.senders) == ("locust", 2)
    assert run.made.command == (
        f"tritonkit load run specs/digits.yaml --rate 100 --duration 3 --p99-ms 2000 --seed 7 --lag-bound-ms 60000 "
        f"--url {server.address} --workers 2"
    )
    assert (out / "report.html").is_file()


def asked(address: str, path: str) -> Any:
    """The JSON that the page asks for; None while it is not there."""
    try:
        with urllib.request.urlopen(f"http://{address}{path}", timeout=5) as reply:
            return json.load(reply)
    except OSError:
        return None


@ALONE
def test_the_web_page_shows_the_latencies_from_due_times(project: Path, server: Steady) -> None:
    """On loopback alone. The page stays when the run is over, until Ctrl-C; then the verdict is the exit status."""
    out = project / "web"
    with (
        children_heed_interrupts(),
        (project / "web.out").open("wb") as stdout,
        (project / "web.err").open("wb") as err,
    ):
        process = subprocess.Popen(
            command_line("load", "run", "specs/digits.yaml", *LOAD, "--url", server.address, "--web", "--out", str(out)),
            cwd=project, stdin=subprocess.DEVNULL, stdout=stdout, stderr=err, start_new_session=True, env=dict(os.environ),
        )  # fmt: skip
    with ending(process):
        assert eventually(lambda: "Locust's page: http://" in (project / "web.err").read_text(), ENDS_S)
        found = re.search(r"Locust's page: http://(127\.0\.0\.1:\d+)", (project / "web.err").read_text())
        assert found is not None
        assert eventually(lambda: (out / "report.html").is_file() and (project / "web.out").stat().st_size, ENDS_S)
        family = psutil.Process(process.pid).children(recursive=True)
        listening = [c.laddr.ip for one in family for c in one.net_connections("inet") if c.status == "LISTEN"]
        assert set(listening) == {"127.0.0.1"}
        run: Run = read_run(out)
        told = asked(found[1], "/stats/requests")
        process.send_signal(signal.SIGINT)
        assert process.wait(ENDS_S) == (0 if run.judgement.verdict == "pass" else 1)
        assert eventually(lambda: not [one for one in family if lives(one)], GONE_S)
    [row] = [row for row in told["stats"] if row["name"] == "digits"]
    _, samples = read_samples(out / "samples.bin")
    latencies_ms = samples["latency_us"] / 1000
    assert row["num_requests"] == len(samples)
    assert row["min_response_time"] == pytest.approx(latencies_ms.min(), abs=0.001), "microseconds, not milliseconds"
    assert row["max_response_time"] == pytest.approx(latencies_ms.max(), abs=0.001)
    assert row["median_response_time"] == pytest.approx(np.median(latencies_ms), rel=0.05)
    assert (project / "web.out").read_text().startswith(f"{run.judgement.verdict.upper()}  digits")


def test_ctrl_c_keeps_what_the_workers_have(project: Path, server: Steady) -> None:
    out = project / "stopped"
    with children_heed_interrupts(), (project / "stopped.err").open("wb") as err:
        process = subprocess.Popen(
            command_line("load", "run", "specs/digits.yaml", "--rate", "50", "--duration", "120", "--url", server.address,
                         "--workers", "1", "--out", str(out), "--lag-bound-ms", "60000"),
            cwd=project, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=err, start_new_session=True,
        )  # fmt: skip
    with ending(process):
        before = server.infers
        assert eventually(lambda: server.infers > before + IMAGES + 50, ENDS_S), (project / "stopped.err").read_text()
        family = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        assert process.wait(ENDS_S) == 130
        assert eventually(lambda: not [one for one in family if lives(one)], GONE_S)
    run = read_run(out)
    assert run.stopped == "interrupted"
    assert 20 < run.requests < 6000


@pytest.mark.parametrize(("words", "code"), [
    (("--url", "192.0.2.7:8000"), "TK874"), (("--rate", "0"), "TK850"), (("--senders", "0"), "TK878"),
])  # fmt: skip
def test_what_keeps_it_from_running_is_told(project: Path, words: tuple[str, ...], code: str) -> None:
    """In one line, whichever thread has found it."""
    log = project / f"refused-{code}.log"
    process = locust(project, "--headless", "--spec", "specs/digits.yaml", *LOAD, *words, output=log.name)
    with ending(process):
        assert process.wait(ENDS_S) == 1
    told = log.read_text()
    assert [line for line in told.splitlines() if "/ERROR/" in line and code in line]
    assert told.count("/ERROR/") == 1
    assert "Traceback" not in told


def test_a_worker_that_is_killed_ends_the_run_and_what_the_other_has_is_kept(project: Path, server: Steady) -> None:
    out, port = project / "lost", str(free_port())
    workers = [
        locust(project, "--worker", "--master-host", "127.0.0.1", "--master-port", port, output=f"lost{number}.log")
        for number in range(2)
    ]
    master = locust(
        project, "--headless", "--master", "--master-bind-host", "127.0.0.1", "--master-bind-port", port,
        "--expect-workers", "2", "--spec", "specs/digits.yaml", "--rate", "50", "--duration", "120", "--url",
        server.address, "--out", str(out), "--lag-bound-ms", "60000", output="lost.log",
    )  # fmt: skip
    with ending(master, *workers):
        before = server.infers
        assert eventually(lambda: server.infers > before + IMAGES + 50, ENDS_S), (project / "lost.log").read_text()
        senders = psutil.Process(workers[0].pid).children(recursive=True)
        workers[0].kill()
        workers[0].wait()
        assert master.wait(ENDS_S) == 1
        assert workers[1].wait(ENDS_S) == 0
        assert eventually(lambda: not [one for one in senders if lives(one)], GONE_S)
    assert "TK879" in (project / "lost.log").read_text()
    run = read_run(out)
    assert run.stopped in {"worker 0 went away", "worker 1 went away"}
    assert run.requests > 20


def test_a_worker_that_fails_ends_the_run_and_what_the_other_has_is_kept(project: Path, server: Steady) -> None:
    """Its sender is killed, which it tells."""
    out, port = project / "failed", str(free_port())
    workers = [
        locust(project, "--worker", "--master-host", "127.0.0.1", "--master-port", port, output=f"failed{number}.log")
        for number in range(2)
    ]
    master = locust(
        project, "--headless", "--master", "--master-bind-host", "127.0.0.1", "--master-bind-port", port,
        "--expect-workers", "2", "--spec", "specs/digits.yaml", "--rate", "50", "--duration", "120", "--url",
        server.address, "--out", str(out), "--lag-bound-ms", "60000", output="failed.log",
    )  # fmt: skip
    with ending(master, *workers):
        before = server.infers
        assert eventually(lambda: server.infers > before + IMAGES + 50, ENDS_S), (project / "failed.log").read_text()
        [sender] = psutil.Process(workers[0].pid).children()
        sender.kill()
        assert master.wait(ENDS_S) == 1
        assert [worker.wait(ENDS_S) for worker in workers] == [0, 0]
    told = (project / "failed.log").read_text()
    assert "TK862" in told
    assert "Traceback" not in told
    run = read_run(out)
    assert run.stopped in {"worker 0 failed", "worker 1 failed"}
    assert run.requests > 20
    assert sorted(path.name for path in out.iterdir()) == ["run.json", "samples.bin"]


def test_a_second_start_from_the_page_is_another_run(project: Path, server: Steady) -> None:
    out = project / "again"
    page = f"127.0.0.1:{free_port()}"
    process = locust(
        project, "--autostart", "--web-host", "127.0.0.1", "--web-port", page.rpartition(":")[2], "--spec",
        "specs/digits.yaml", *LOAD, "--url", server.address, "--out", str(out), output="again.log",
    )  # fmt: skip
    file = out / "run.json"
    with ending(process):
        assert eventually(file.is_file, ENDS_S), (project / "again.log").read_text()
        assert eventually(lambda: (asked(page, "/stats/requests") or {}).get("state") == "stopped", ENDS_S)
        first, due = read_run(out), read_samples(out / "samples.bin")[1]["due_us"].tolist()
        file.unlink()
        start = urllib.request.Request(f"http://{page}/swarm", b"user_count=1&spawn_rate=1", method="POST")
        with urllib.request.urlopen(start, timeout=5) as reply:
            assert json.load(reply)["success"]
        assert eventually(file.is_file, ENDS_S), (project / "again.log").read_text()
    second = read_run(out)
    assert (first.stopped, second.stopped) == (None, None)
    assert second.requests == first.requests
    assert read_samples(out / "samples.bin")[1]["due_us"].tolist() == due
    assert "Traceback" not in (project / "again.log").read_text()
