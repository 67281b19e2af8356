"""Instances of a real server that share an engine process: answers, kills under load, reload, and nothing left."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import tritonclient.grpc as triton
from engine_instances import ended, engine_processes, save_spins, wait_until

from deploy.embedded.control import Control
from deploy.embedded.flags import ServerNeeds
from deploy.embedded.server import EmbeddedServer
from tritonkit_runtime.self_contained import sources

pytestmark = pytest.mark.server

MODEL = """
import os, sys
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from tritonkit_runtime.adapter import TritonPythonModel
"""
CONFIG = """
name: "%s" backend: "python" max_batch_size: 4
input [ { name: "x" data_type: TYPE_FP32 dims: 4 }, { name: "spins" data_type: TYPE_INT64 dims: 1 } ]
output [ { name: "doubled" data_type: TYPE_FP32 dims: 4 }, { name: "sums" data_type: TYPE_FP32 dims: 1 } ]
instance_group { kind: KIND_CPU count: 2 }
dynamic_batching { max_queue_delay_microseconds: 500 }
"""
BUSY, LONG = 10_000, 40_000  # spins that take some 30 ms, and a tenth of a second
Ask = Callable[..., tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]]


def put(repository: Path, name: str, process: str) -> Path:
    """A model of two instances; its folder of version 1."""
    folder = repository / name / "1"
    for path, content in sources((), {"onnxruntime"}, shared=process == "shared").items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    (folder / "model.py").write_text(MODEL)
    (folder.parent / "config.pbtxt").write_text(CONFIG % name)
    save_spins(folder / "spins.onnx")
    tensors = [
        {"name": name, "dtype": dtype, "dims": dims}
        for name, dtype, dims in (
            ("x", "FP32", [4]), ("spins", "INT64", [1]), ("doubled", "FP32", [4]), ("sums", "FP32", [1]),
        )
    ]  # fmt: skip
    buckets = [1, 2, 4, 8] if process == "shared" else [1, 2, 4]
    buffers = {"buckets": buckets, "slots": 2, "copies": "auto"}
    document = {
        "format": 1, "pipeline": name, "model": name, "max_batch_size": 4,
        "inputs": tensors[:2], "outputs": tensors[2:], "limits": {"max_bytes": 1, "max_pixels": 1},
        "program": {
            "kind": "engine", "engine": "onnxruntime", "file": "spins.onnx", "intra_op_threads": 1,
            "buffers": {**buffers, "process": process} if process == "shared" else buffers,
        },
    }  # fmt: skip
    (folder / "tritonkit.json").write_text(json.dumps(document))
    return folder


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("repository")
    put(path, "own", "own")
    put(path, "shared", "shared")
    return path


@pytest.fixture
def another(tmp_path: Path) -> Path:
    """One for a server that is not everybody's."""
    put(tmp_path, "shared", "shared")
    return tmp_path


def started(repository: Path) -> EmbeddedServer:
    models = tuple(name for name in ("own", "shared") if (repository / name).is_dir())
    return EmbeddedServer(
        repository, ServerNeeds(longest_request_ms=2000, control_mode="explicit", load_models=models)
    )


@pytest.fixture(scope="module")
def server(repository: Path) -> Iterator[EmbeddedServer]:
    with started(repository) as running:
        yield running
    assert ended(repository)


def ask(address: str, model: str, seed: int, spins: int = 0) -> tuple[bool, Any]:
    """Whether `doubled` is right, and both outputs."""
    items = 1 + seed % 3
    x = np.random.default_rng(seed).normal(size=(items, 4)).astype(np.float32)
    inputs = [triton.InferInput("x", [items, 4], "FP32"), triton.InferInput("spins", [items, 1], "INT64")]
    inputs[0].set_data_from_numpy(x)
    inputs[1].set_data_from_numpy(np.full((items, 1), spins, np.int64))
    with triton.InferenceServerClient(address) as client:
        answer = client.infer(model, inputs)
    found = answer.as_numpy("doubled"), answer.as_numpy("sums")
    return bool(np.array_equal(found[0], 2 * x)), found


def test_answers_are_those_of_engines_of_their_own(server: EmbeddedServer, repository: Path) -> None:
    assert len(engine_processes(repository)) == 1

    def same(seed: int) -> bool:
        right, shared = ask(server.grpc_address, "shared", seed, spins=seed % 7)
        _, own = ask(server.grpc_address, "own", seed)
        return right and all(np.array_equal(*pair) for pair in zip(shared, own, strict=True))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(same, range(120)))


def under_load(server: EmbeddedServer, while_it_runs: Callable[[], None], model: str = "shared") -> list[str]:
    """What went wrong with requests of four clients, while something happens; wrong answers are none."""
    stop, failed, answers = threading.Event(), list[str](), [0] * 4

    def run(number: int) -> None:
        while not stop.is_set():
            try:
                assert ask(server.grpc_address, model, 1000 * number + answers[number], spins=BUSY)[0], "wrong"
                answers[number] += 1
            except triton.InferenceServerException as error:
                failed.append(str(error.message()))
                time.sleep(0.02)

    def all_answered() -> bool:
        before = list(answers)
        return wait_until(lambda: all(now > then + 1 for now, then in zip(answers, before, strict=True)))

    with ThreadPoolExecutor(4) as pool:
        running = [pool.submit(run, number) for number in range(4)]
        try:
            assert all_answered()
            while_it_runs()
            assert all_answered()
        finally:
            stop.set()
        for one in running:
            one.result()
    return failed


def test_when_the_engine_process_is_killed_a_few_requests_fail_and_then_all_is_right(
    server: EmbeddedServer, repository: Path
) -> None:
    [before] = engine_processes(repository)
    failed = under_load(server, lambda: os.kill(before, signal.SIGKILL))
    ending = "ended with this batch; the next one starts it again"
    assert all(ending in words and "model shared on the CPU" in words for words in failed), failed
    assert 0 < len(failed) < 20, failed
    [after] = engine_processes(repository)
    assert after != before
    assert under_load(server, lambda: None) == []


def test_when_the_file_is_replaced_and_the_model_loaded_again_it_has_the_new_engine(
    server: EmbeddedServer, repository: Path
) -> None:
    [old] = engine_processes(repository)
    file = repository / "shared" / "1" / "spins.onnx"
    save_spins(file.with_name("new"), factor=3.0)
    file.with_name("new").replace(file)
    with Control(server.record()) as control:
        control.load("shared")
        assert wait_until(lambda: len(engine_processes(repository)) == 1 and engine_processes(repository) != [old])
        right, found = ask(server.grpc_address, "shared", 5)
        _, own = ask(server.grpc_address, "own", 5)
        assert not right
        np.testing.assert_allclose(found[0], own[0] * 1.5, rtol=1e-6)
        save_spins(file)
        control.unload("shared")
        assert ended(repository), "with the model the engine process ends"
        control.load("shared")
        assert ask(server.grpc_address, "shared", 5)[0]
    assert len(engine_processes(repository)) == 1


def test_why_an_engine_cannot_be_loaded_is_the_servers_answer(server: EmbeddedServer, repository: Path) -> None:
    (put(repository, "broken", "shared") / "spins.onnx").write_bytes(b"\x00\x01")
    with Control(server.record()) as control, pytest.raises(Exception, match="ONNX Runtime cannot load"):
        control.load("broken")
    assert wait_until(lambda: len(engine_processes(repository / "broken")) == 0)


def stubs(server: EmbeddedServer, model: str) -> list[psutil.Process]:
    """The processes of a model's instances."""
    children = psutil.Process(server.pid).children()
    return [one for one in children if any(f"/{model}/" in word for word in one.cmdline())]


def test_signals_of_the_server_do_not_reach_it(server: EmbeddedServer, repository: Path) -> None:
    [process] = engine_processes(repository)
    [starter] = [one for one in stubs(server, "shared") if process in [child.pid for child in one.children()]]
    assert os.getpgid(process) != os.getpgid(starter.pid)
    assert os.getsid(process) == process
    links = {str(fd.readlink()) for fd in Path(f"/proc/{process}/fd").iterdir()}
    assert not [link for link in links if "/dev/shm" in link], "the server's shared memory is not its own"


def test_servers_of_one_repository_have_an_engine_process_each(server: EmbeddedServer, repository: Path) -> None:
    with started(repository) as second:
        assert len(engine_processes(repository)) == 2
        assert ask(second.grpc_address, "shared", 1)[0]
        second.stop(grace_s=0)
    assert wait_until(lambda: len(engine_processes(repository)) == 1)
    assert ask(server.grpc_address, "shared", 1)[0]


def test_when_an_instance_is_killed_the_other_goes_on_and_nothing_is_left_in_the_end(another: Path) -> None:
    with started(another) as running:
        [process] = engine_processes(another)
        victim, other = stubs(running, "shared")
        victim.kill()
        maps = Path(f"/proc/{process}/maps")
        assert wait_until(lambda: maps.read_text().count("memfd:tritonkit-rows") == 1)
        assert other.is_running()
        assert engine_processes(another) == [process]
        running.stop(grace_s=0)
    assert ended(another)


@pytest.mark.parametrize("grace_s", [None, 0])
def test_a_stop_under_load_leaves_no_process(another: Path, grace_s: float | None) -> None:
    with started(another) as running:
        [process] = engine_processes(another)
        with ThreadPoolExecutor(6) as pool:
            asked = [pool.submit(ask, running.grpc_address, "shared", seed, LONG) for seed in range(12)]
            time.sleep(0.3)
            running.stop(grace_s)
            assert ended(another)
            for one in asked:
                if one.exception() is None:
                    assert one.result()[0]
    assert not Path(f"/proc/{process}").exists() or psutil.Process(process).status() == psutil.STATUS_ZOMBIE
