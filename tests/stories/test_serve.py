"""A service from the command line: found by other commands, drained by Ctrl-C, and never left behind."""

from __future__ import annotations

import ast
import json
import signal
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from story_tools import GONE_S, Serving, eventually, gate, make_project, paste, serving, shm_segments, tritonkit

from deploy.embedded import state
from deploy.embedded.control import Control
from generator.problems import UserError
from tritonkit import Pipeline

pytestmark = pytest.mark.server

# A class that answers when it is told to: so a test knows that a request is under way, and until when.
DOOR = """
import time
from pathlib import Path

class Door:
    def __init__(self, parameters):
        self.folder = Path(parameters["folder"])
    def run(self, tensors, fail):
        (self.folder / "waiting").touch()
        deadline = time.monotonic() + 60
        while not (self.folder / "open").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        return {"y": tensors["x"] * 2}
"""
DOOR_SPEC = """
name: door
inputs: {{x: {{type: fp32, dims: [2]}}}}
outputs: {{y: {{type: fp32, dims: [2]}}}}
models:
  door:
    python: steps/door.py:Door
    arguments: {{folder: {folder}}}
    inputs: {{x: {{type: fp32, dims: [2]}}}}
    outputs: {{y: {{type: fp32, dims: [2]}}}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project with the digits, their first images as files, and a pipeline that waits behind a door."""
    root = tmp_path / "project"
    make_project(root, {"door.yaml": DOOR_SPEC.format(folder=root)}, copied=("digits.yaml",))
    (root / "steps" / "door.py").write_text(DOOR)
    for index, item in enumerate(gate("digits").items[:3]):
        (root / f"{index}.png").write_bytes(item["image"])
    return root


@pytest.fixture
def labels() -> list[str]:
    """What stands on the images."""
    return [str(label) for label in gate("digits").labels[:3]]


def addresses(process: Serving) -> dict[str, str]:
    """Service → host:port, from the lines on standard output."""
    return dict(line.split() for line in process.out.splitlines())


def ends_clean(process: Serving) -> None:
    """It exits with 0 and leaves no process, no shared memory, no temporary file and no record."""
    assert process.process.wait(30) == 0, process.err
    assert "Traceback" not in process.err
    assert eventually(lambda: not process.survivors(), 2), process.survivors()
    assert process.records() == []


def test_it_is_found_by_the_other_commands_and_ctrl_c_stops_it(folder: Path, labels: list[str]) -> None:
    with serving(folder) as process:
        at = addresses(process)
        assert list(at) == ["http", "grpc", "metrics"]
        assert all(address.startswith("127.0.0.1:") for address in at.values())
        infer_finds_it(folder, labels)
        snippets_answer(folder, at, labels)
        status_tells_what_differs(folder, at["http"])
        another_is_refused(folder, process, at["http"])
        it_loads_nothing(folder)
        process.signal(signal.SIGINT)
        ends_clean(process)
        assert process.err.splitlines()[-1] == "stopping: requests in flight finish first"
    alone = tritonkit(folder, "status")
    assert (alone.returncode, alone.stdout) == (1, "")
    assert "no server of this project is running" in alone.stderr


def infer_finds_it(folder: Path, labels: list[str]) -> None:
    files = [f"{index}.png" for index in range(3)]
    for protocol in ("grpc", "http"):
        shown = tritonkit(folder, "infer", "digits", *files, "--protocol", protocol)
        assert (shown.returncode, shown.stderr) == (0, "")
        for line, file, label in zip(shown.stdout.splitlines(), files, labels, strict=True):
            assert line.startswith(f"{file}: label {label} ")
        told = tritonkit(folder, "infer", "digits", *files, "--protocol", protocol, "--json")
        assert told.returncode == 0
        answers = json.loads(told.stdout)
        assert [answer["outputs"]["label"][0] for answer in answers] == labels
        assert [answer["source"] for answer in answers] == files
        assert [answer["error"] for answer in answers] == [None] * 3
    (folder / "bad.png").write_bytes(b"no image")
    failed = tritonkit(folder, "infer", "digits", "0.png", "bad.png", "gone.png")
    assert failed.returncode == 1
    assert failed.stdout.startswith(f"0.png: label {labels[0]} ")
    assert "bad.png: error: not a PNG or JPEG image" in failed.stderr
    assert "gone.png: error: cannot read gone.png: No such file or directory" in failed.stderr


def snippets_answer(folder: Path, at: dict[str, str], labels: list[str]) -> None:
    curl = tritonkit(folder, "snippet", "digits", "--curl", "--file", "1.png")
    assert curl.returncode == 0, curl.stderr
    assert at["http"] in curl.stdout
    outputs = {output["name"]: output["data"] for output in json.loads(paste(["sh"], curl.stdout, folder))["outputs"]}
    assert outputs["label"][0] == labels[1]
    python = tritonkit(folder, "snippet", "digits", "--python", "--file", "2.png")
    assert at["grpc"] in python.stdout
    printed = ast.literal_eval(paste([sys.executable, "-"], python.stdout, folder))
    assert printed["label"][0][0].decode() == labels[2]


def status_tells_what_differs(folder: Path, http_address: str) -> None:
    same = tritonkit(folder, "status")
    assert (same.returncode, same.stderr) == (0, ""), same.stdout
    assert f"models at {http_address}" in same.stdout
    assert same.stdout.count("as rendered") == 5
    config = folder / "model_repository" / "embedded" / "digits_engine" / "config.pbtxt"
    rendered = config.read_text()
    edited = rendered.replace("max_queue_delay_microseconds: 500", "max_queue_delay_microseconds: 700")
    edited = edited.replace("preferred_batch_size: [ 8, 16, 32 ]", "preferred_batch_size: [ 8, 16 ]")
    config.write_text(edited)
    other = tritonkit(folder, "status")
    assert other.returncode == 1
    assert (
        'digits_engine: dynamic_batching.max_queue_delay_microseconds: rendered "700", served "500"' in other.stdout
    )
    assert (
        "digits_engine: dynamic_batching.preferred_batch_size: rendered [8, 16], served [8, 16, 32]" in other.stdout
    )
    told = json.loads(tritonkit(folder, "status", "--json").stdout)
    differing = {model["name"]: model["differences"] for model in told["models"] if model["differences"]}
    assert [d["field"] for d in differing.pop("digits_engine")] == [
        "dynamic_batching.preferred_batch_size",
        "dynamic_batching.max_queue_delay_microseconds",
    ]
    assert differing == {}
    config.write_text(rendered)
    assert tritonkit(folder, "status").returncode == 0


def another_is_refused(folder: Path, process: Serving, http_address: str) -> None:
    port = http_address.rpartition(":")[2]
    second = tritonkit(folder, "serve", "--http-port", port, "--grpc-port", "0", "--metrics-port", "0")
    assert (second.returncode, second.stdout) == (1, "")
    [said] = [line for line in second.stderr.splitlines() if line.startswith("error: ")]
    owner = process.process.pid
    assert said.endswith(
        f"port {port}, wanted for http, is taken: `tritonkit serve` is already running here (process {owner})"
    )
    assert "Traceback" not in second.stderr
    assert tritonkit(folder, "infer", "digits", "0.png").returncode == 0, "the first one serves on"


def it_loads_nothing(folder: Path) -> None:
    """Its command line has the key, so the key must not be enough to have it run code."""
    [record] = state.running(folder / "build" / "run")
    assert not record.updatable
    assert record.key in " ".join(psutil.Process(record.pid).cmdline())
    with Control(record) as control:
        for change in (control.load, control.unload):
            with pytest.raises(UserError, match="not allowed"):
                change("door")
    done = tritonkit(folder, "update")
    assert (done.returncode, done.stdout) == (1, "")
    assert "was started without --updatable" in done.stderr


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as threads:
        yield threads


def test_json_addresses_and_a_request_in_flight_outlives_the_signal(folder: Path, pool: ThreadPoolExecutor) -> None:
    import numpy as np

    with serving(folder, "--json", lines=1) as process:
        ready = json.loads(process.out)
        assert ready["ready"] is True
        assert {"http", "grpc", "metrics", "pid", "log"} < set(ready)
        assert psutil.Process(ready["pid"]).name() == "tritonserver"
        with Pipeline("door", ready["grpc"], deadline_s=60) as pipeline:
            late = pool.submit(pipeline.infer_one, np.array([1, 2], np.float32))
            assert eventually((folder / "waiting").exists)
            process.signal(signal.SIGTERM)
            assert eventually(lambda: "requests in flight finish first" in process.err)
            assert not late.done()
            (folder / "open").touch()
            assert late.result(30).y.tolist() == [2, 4]
        ends_clean(process)


def test_after_sigkill_nothing_of_it_is_left(folder: Path) -> None:
    with serving(folder) as process:
        assert len(process.family) > 4, "a supervisor, the server and its Python processes"
        assert shm_segments(process.prefix)
        process.signal(signal.SIGKILL)
        assert process.process.wait(5) == -signal.SIGKILL
        assert eventually(lambda: not process.survivors(), GONE_S), process.survivors()
        # The record outlived it, and nobody falls for that.
        status = tritonkit(folder, "status")
        assert status.returncode == 1
        assert "no server of this project is running" in status.stderr
        assert process.records() == []
