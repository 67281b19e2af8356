"""A newcomer's load test: `tritonkit load run` on the digits, with a server of its own and with a running one."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest
from steady_server import steady
from story_tools import (
    CLONE,
    GONE_S,
    READY_S,
    Running,
    children_heed_interrupts,
    command_line,
    eventually,
    lives,
    make_project,
    tritonkit,
)

from loadtest.results.run import read_run
from loadtest.samples.file import read_samples

pytestmark = pytest.mark.server

# Tests share their cores: how late requests leave, and whether a few take long, is not the story.
LATE_IS_FINE = ("--lag-bound-ms", "60000", "--deadline-ms", "30000")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The digits."""
    return make_project(tmp_path_factory.mktemp("load") / "project", copied=("digits.yaml",)).root


@contextmanager
def loading(project: Path, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """`tritonkit load run` of the digits under way; ended on the way out with all that it started."""
    with children_heed_interrupts(), (project / "load.err").open("wb") as err:
        process = subprocess.Popen(
            command_line("load", "run", "specs/digits.yaml", *options), cwd=project, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=err, start_new_session=True, env={**os.environ, "TMPDIR": str(project)},
        )  # fmt: skip
    try:
        yield process
    finally:
        family = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        process.kill()
        process.wait()
        for one in family:
            one.kill()


def sends(project: Path, out: Path) -> bool:
    """Whether samples come in."""
    return any(file.stat().st_size > 5000 for file in out.glob("segment-0/*/samples.bin"))


def test_with_a_server_of_its_own(project: Path) -> None:
    """The verdict first, then what it rests on, then where everything lies; nothing else is left."""
    out = project / "first"
    ended = tritonkit(
        project,
        "load",
        "run",
        "specs/digits.yaml",
        "--rate",
        "60",
        "--duration",
        "3",
        "--out",
        str(out),
        *LATE_IS_FINE,
    )
    run = read_run(out)
    verdict = run.judgement.verdict
    assert verdict != "invalid"
    assert ended.returncode == (0 if verdict == "pass" else 1), ended.stderr
    assert ended.stdout.startswith(f"{verdict.upper()}  digits\n{run.judgement.why}\n")
    assert "p99 " in ended.stdout
    assert "digits_engine" in ended.stdout
    assert f"report   {out.name}/report.html" in ended.stdout
    assert "repeat   tritonkit load run specs/digits.yaml --rate 60 --duration 3" in ended.stdout
    assert "warning: the objective promises 300 requests/s, and 60 were asked for" in ended.stdout
    assert {split.model for split in run.splits} == {
        "digits",
        "digits_preprocess",
        "digits_engine",
        "digits_postprocess",
    }
    assert all(split.requests == run.requests for split in run.splits)
    assert set(run.made.effective) == {split.model for split in run.splits}
    assert run.traffic.payloads == {"digits": 256}
    assert (out / "report.html").read_text().startswith("<!doctype html>")
    assert sorted(path.name for path in out.iterdir()) == ["report.html", "run.json", "samples.bin"]


def test_against_a_running_server_over_grpc_in_json(project: Path, served: Running) -> None:
    ended = tritonkit(
        project, "load", "run", "specs/digits.yaml", "--rate", "50", "--duration", "2", "--protocol", "grpc", "--json",
        "--url", served.address("http"), "--grpc-url", served.address("grpc"), "--batch", "1,4", *LATE_IS_FINE,
    )  # fmt: skip
    told = json.loads(ended.stdout)
    assert ended.returncode == (0 if told["judgement"]["verdict"] == "pass" else 1)
    assert (told["traffic"]["protocol"], told["outcomes"]) == ("grpc", {"ok": told["requests"]})
    assert told["traffic"]["options"]["sizes"] == [1, 4]
    [folder] = (project / "build" / "load").iterdir()
    assert read_run(folder).model_dump(mode="json") == told
    assert folder.name.startswith("digits-")


def test_a_running_server_is_compared_with_what_the_specs_say(project: Path, served: Running) -> None:
    """It serves what the specs say; then the specs say something else."""
    spec = project / "specs" / "digits.yaml"
    before, out = spec.read_text(), project / "compared"
    load = (
        "load", "run", "specs/digits.yaml", "--rate", "30", "--duration", "1", "--url", served.address("http"),
        *LATE_IS_FINE, "--out",
    )  # fmt: skip
    same = tritonkit(project, *load, str(project / "same"))
    assert "p99 " in same.stdout, same.stderr
    assert "does not serve what the specs say" not in same.stdout
    spec.write_text(before.replace("max_queue_delay_us: 500", "max_queue_delay_us: 7000"))
    try:
        ended = tritonkit(project, *load, str(out))
    finally:
        spec.write_text(before)
    said = "digits_engine.dynamic_batching.max_queue_delay_microseconds is 500 there and 7000 in the specs"
    assert "warning: the server does not serve what the specs say for target embedded" in ended.stdout
    assert said in ended.stdout
    assert any(said in warning for warning in read_run(out).validity.warnings)
    assert said in (out / "report.html").read_text()


def test_two_pipelines_in_a_mix_by_a_trace(project: Path, served: Running) -> None:
    (project / "specs" / "canvas.yaml").write_text((CLONE / "specs" / "canvas.yaml").read_text())
    (project / "trace.csv").write_text("".join(f"{place * 0.02:.3f}\n" for place in range(100)))
    out = project / "mixed"
    ended = tritonkit(
        project, "load", "run", "specs/canvas.yaml", "specs/digits.yaml", "--mix", "digits=0.8,canvas=0.2", "--url",
        served.address("http"), "--trace", "trace.csv", "--out", str(out), *LATE_IS_FINE,
    )  # fmt: skip
    (project / "specs" / "canvas.yaml").unlink()
    assert ended.stdout.partition("\n")[0].endswith("  canvas+digits"), ended.stderr
    run = read_run(out)
    assert (run.requests, run.traffic.rate_rps, run.traffic.drawn["kind"]) == (100, None, "trace")
    assert list(run.traffic.mix) == list(run.by_pipeline) == ["canvas", "digits"]
    _, samples = read_samples(out / "samples.bin")
    assert samples["due_us"].tolist() == [place * 20_000 for place in range(100)]
    assert 0 < int((samples["pipeline"] == 0).sum()) < 50
    assert run.judgement.why.startswith(("canvas: ", "digits: "))


def test_an_objective_for_this_run_alone_that_does_not_hold(project: Path, served: Running) -> None:
    ended = tritonkit(
        project, "load", "run", "specs/digits.yaml", "--rate", "40", "--duration", "2", "--p99-ms", "0.01",
        "--url", served.address("http"), "--out", str(project / "fails"), *LATE_IS_FINE,
    )  # fmt: skip
    assert ended.returncode == 1
    assert ended.stdout.startswith("FAIL  digits\nThe p99 is over 0.01 ms")


# Runs a command as a shell does in a terminal, which is its standard input: what goes with that is told to it.
IN_A_TERMINAL = """
import fcntl, os, signal, sys, termios
signal.signal(signal.SIGHUP, signal.SIG_DFL)
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


def test_a_terminal_that_goes_keeps_the_samples_too(project: Path, served: Running) -> None:
    """Closed windows and connections that break off: what is printed then has nowhere to go."""
    out = project / "hung-up"
    words = command_line(
        "load", "run", "specs/digits.yaml", "--rate", "60", "--duration", "60", "--out", str(out),
        "--url", served.address("http"), *LATE_IS_FINE,
    )  # fmt: skip
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", IN_A_TERMINAL, *words], cwd=project, stdin=theirs, stdout=theirs, stderr=theirs,
        start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    os.set_blocking(ours, False)

    def is_sending() -> bool:
        with suppress(BlockingIOError):  # a terminal reads what is printed, or it would fill up
            os.read(ours, 1 << 16)
        return sends(project, out)

    try:
        assert eventually(is_sending, READY_S)
        family = psutil.Process(process.pid).children(recursive=True)
        os.close(ours)
        assert process.wait(30) == 130
        assert eventually(lambda: not [one for one in family if lives(one)], GONE_S)
    finally:
        process.kill()
        process.wait()
    run = read_run(out)
    assert run.stopped == "interrupted"
    assert len(read_samples(out / "samples.bin")[1]) == run.requests > 0
    assert sorted(path.name for path in out.iterdir()) == ["run.json", "samples.bin"]


def test_ctrl_c_keeps_the_samples_and_leaves_nothing_running(project: Path) -> None:
    out = project / "interrupted"
    with loading(project, "--rate", "60", "--duration", "60", "--out", str(out), *LATE_IS_FINE) as process:
        assert eventually(lambda: sends(project, out), READY_S), (project / "load.err").read_text()
        family = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
        assert eventually(lambda: not [one for one in family if lives(one)], GONE_S)
    assert "the samples so far are kept in interrupted, marked as stopped" in (project / "load.err").read_text()
    run = read_run(out)
    assert run.stopped == "interrupted"
    assert 0 < run.requests < 3600
    assert len(read_samples(out / "samples.bin")[1]) == run.requests


def test_a_server_that_is_killed_in_the_middle(project: Path) -> None:
    out = project / "killed"
    with loading(project, "--rate", "60", "--duration", "60", "--out", str(out), *LATE_IS_FINE) as process:
        assert eventually(lambda: sends(project, out), READY_S), (project / "load.err").read_text()
        family = psutil.Process(process.pid).children(recursive=True)
        [server] = [one for one in family if "tritonserver" in one.name()]
        server.kill()
        assert process.wait(60) == 1
        assert eventually(lambda: not [one for one in family if lives(one)], GONE_S)
    told = (project / "load.err").read_text()
    assert "TK875" in told
    assert "the server went away during the run" in told
    assert "signal 9" in told
    run = read_run(out)
    assert run.stopped == "the server went away"
    assert run.outcomes["ok"] > 0


def test_nothing_reaches_another_machine_that_is_not_named(project: Path) -> None:
    with steady() as server:
        port = server.address.rpartition(":")[2]
        ended = tritonkit(project, "load", "run", "specs/digits.yaml", "--url", f"192.0.2.7:{port}", timeout_s=30)
        assert (ended.returncode, ended.stdout) == (1, "")
        assert "TK874" in ended.stderr
        assert "--allow-remote 192.0.2.7" in ended.stderr
        assert server.ask("/connections") == 1, "this question's own"


@pytest.mark.parametrize(("options", "code"), [
    (("--rate", "0"), "TK850"), (("--rate", "-1"), "TK850"), (("--rate", "nan"), "TK878"), (("--rate", "1e9"), "TK850"),
    (("--batch", "33"), "TK859"), (("--trace", "nowhere.csv"), "TK856"), (("--url", "nonsense"), "TK872"),
    (("--mix", "photos=1"), "TK877"), (("--streaming",), "TK860"), (("--budget", "5"), "TK878"),
    (("--url", "127.0.0.1:9"), "TK872"), (("--out", "/proc/none/here"), "TK876"), (("--out", "specs/digits.yaml/x"), "TK876"),
    (("--mix", ""), "TK877"), (("--deadline-ms", "0.0001"), "TK878"), (("--p99-ms", "1e-9"), "TK878"), (("--duration", "1", "--until-decided", "--arrivals", "ramp"), "TK878"),
])  # fmt: skip
def test_bad_input_is_one_clear_error_before_any_server_starts(
    project: Path, options: tuple[str, ...], code: str
) -> None:
    ended = tritonkit(project, "load", "run", "specs/digits.yaml", *options)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert f"error[{code}]" in ended.stderr
    assert "starting the server" not in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_spec_without_an_objective(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "specs" / "digits.yaml").read_text()
    bare = "\n".join(line for line in text.splitlines() if not line.startswith("objective:"))
    project = make_project(tmp_path / "project", {"bare.yaml": bare}).root
    ended = tritonkit(project, "load", "run", "specs/bare.yaml", "--rate", "50")
    assert ended.returncode == 1
    assert "TK870" in ended.stderr
    assert "give --p99-ms" in ended.stderr
