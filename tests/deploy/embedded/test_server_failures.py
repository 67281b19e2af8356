"""Starts of the real server that fail: the cause comes first, at once, and nothing is left."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deploy.embedded import shared_memory, supervisor
from deploy.embedded.flags import ServerNeeds
from deploy.embedded.installation import InstallationError
from deploy.embedded.ports import Ports, PortTakenError
from deploy.embedded.server import EmbeddedServer, ServerFailedError
from deploy.embedded.shared_memory import SharedMemoryError

pytestmark = pytest.mark.server
NEEDS = ServerNeeds(longest_request_ms=1000)


def broken_config(repository: Any) -> None:
    config = repository.model() / "config.pbtxt"
    config.write_text(config.read_text().replace("max_batch_size", "max_batch_sise"))


def raising(repository: Any) -> None:
    repository.model(initialize="raise ValueError('labels.txt has 3 lines, the model 10 classes')")


def no_model_py(repository: Any) -> None:
    (repository.model() / "1" / "model.py").unlink()


def wants_gpu(repository: Any) -> None:
    config = repository.model() / "config.pbtxt"
    config.write_text(config.read_text().replace("KIND_CPU", "KIND_GPU"))


def crashing(repository: Any) -> None:
    repository.model(initialize="__import__('os')._exit(3)")


def one_of_two(repository: Any) -> None:
    repository.model("good")
    repository.model("double", initialize="import not_there")


@pytest.mark.parametrize(
    ("make", "first_line"),
    [
        (broken_config, 'double: double/config.pbtxt:3:15: there is no field "max_batch_sise" in ModelConfig'),
        (
            raising,
            "double: ValueError: labels.txt has 3 lines, the model 10 classes (double/1/model.py:7, in initialize)",
        ),
        (no_model_py, "double: its 1/model.py is missing"),
        (wants_gpu, "double: it asks for a GPU (KIND_GPU) and this machine has none that the server can see"),
        (crashing, "double: its Python process ended while it started: a crash in native code"),
        (one_of_two, "double: ModuleNotFoundError: No module named 'not_there' (double/1/model.py:7, in initialize)"),
    ],
)
def test_the_cause_comes_first(
    repository: Any, look: Any, make: Callable[[Any], None], first_line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    make(repository)
    server = EmbeddedServer(repository.path, NEEDS)
    started = time.monotonic()
    with pytest.raises(ServerFailedError) as caught:
        server.start()
    assert time.monotonic() - started < 20
    text = str(caught.value)
    assert text.startswith(first_line)
    assert len(caught.value.causes) == 1
    assert text.endswith(f"the whole log: {server.log_path}")
    assert server.log_path.read_text()
    assert server.failed
    assert look.nothing_left(server.shm_prefix)


def test_no_repository(tmp_path: Path) -> None:
    with pytest.raises(ServerFailedError, match=r"^there is no model repository "):
        EmbeddedServer(tmp_path / "nowhere", NEEDS, log_path=tmp_path / "log").start()
    assert (tmp_path / "log").exists()


def test_a_port_that_the_user_named_is_taken(repository: Any, listening: int, look: Any) -> None:
    repository.model()
    server = EmbeddedServer(repository.path, NEEDS, ports=Ports(metrics=listening))
    with pytest.raises(
        PortTakenError, match=f"port {listening}, wanted for metrics, is taken by process {os.getpid()}"
    ):
        server.start()
    assert not look.processes_of(str(repository.path))


def test_too_little_shared_memory_is_told_before_anything_starts(repository: Any, look: Any) -> None:
    repository.model()
    server = EmbeddedServer(repository.path, ServerNeeds(shm_default_bytes=1 << 50))
    with pytest.raises(SharedMemoryError, match=r"MiB free, and the server's Python instances need 1073741824 MiB"):
        server.start()
    assert not look.processes_of(str(repository.path))


def test_shared_memory_that_is_taken_meanwhile(repository: Any, look: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    repository.model()
    monkeypatch.setattr(shared_memory, "check", lambda _bytes: None)  # there was enough when it looked
    server = EmbeddedServer(repository.path, ServerNeeds(shm_default_bytes=1 << 50))
    with pytest.raises(ServerFailedError, match=r"^double: the shared memory of this machine is too small"):
        server.start()
    assert look.nothing_left(server.shm_prefix)


def test_numpy_2_is_refused_before_anything_starts(repository: Any, tmp_path: Path, look: Any) -> None:
    environment = tmp_path / "venv"
    site = environment / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    metadata = site / "numpy-2.0.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: numpy\nVersion: 2.0.0\n")
    (environment / "bin").mkdir()
    (environment / "bin" / "python3").symlink_to(sys.executable)
    version = ".".join(map(str, sys.version_info[:3]))
    (environment / "pyvenv.cfg").write_text(f"home = {sys.base_prefix}/bin\nversion = {version}\n")
    repository.model()
    server = EmbeddedServer(repository.path, NEEDS, environment=environment)
    with pytest.raises(InstallationError, match=r"numpy 2\.0\.0 is installed .* needs numpy < 2"):
        server.start()
    assert not look.processes_of(str(repository.path))


def test_another_environment_is_the_one_the_models_see(repository: Any, tmp_path: Path) -> None:
    """A bare virtual environment with numpy's metadata alone: the stub really looks there, and finds no numpy."""
    environment = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    [site] = environment.glob("lib/python3.*/site-packages")
    (site / "numpy-1.26.4.dist-info").mkdir()
    (site / "numpy-1.26.4.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: numpy\nVersion: 1.26.4\n")
    repository.model()
    with pytest.raises(ServerFailedError, match=r"^double: ModuleNotFoundError: No module named 'numpy'"):
        EmbeddedServer(repository.path, NEEDS, environment=environment).start()


def test_models_that_take_too_long_are_named(repository: Any, look: Any) -> None:
    repository.model("fast")
    repository.model("slow", initialize="time.sleep(600)")
    for timeout_s in (2, 10, 40):  # on a busy machine the other one may take a while too
        server = EmbeddedServer(repository.path, NEEDS, ready_timeout_s=timeout_s)
        with pytest.raises(ServerFailedError, match=rf"^the server was not ready after {timeout_s} s; ") as caught:
            server.start()
        assert look.nothing_left(server.shm_prefix)
        if "still loading: slow" in str(caught.value):
            return
    raise AssertionError(str(caught.value))


def test_stopping_while_it_starts(repository: Any, look: Any) -> None:
    repository.model(initialize="time.sleep(600)")
    server = EmbeddedServer(repository.path, NEEDS)
    errors: list[BaseException] = []

    def start() -> None:
        try:
            server.start()
        except ServerFailedError as error:
            errors.append(error)

    thread = threading.Thread(target=start)
    thread.start()
    assert look.eventually(lambda: server.shm_prefix and look.segments(server.shm_prefix)[1:])
    server.stop()
    thread.join(10)
    assert str(errors[0]).startswith("the server was stopped while it started")
    assert look.nothing_left(server.shm_prefix)
    assert not server.failed


@pytest.mark.alone  # any server that starts removes what is stale
def test_the_next_start_removes_stale_segments(repository: Any, look: Any) -> None:
    repository.model()
    stale, lock = supervisor.claim_prefix()
    Path(f"/dev/shm/{stale}region").write_bytes(b"x" * 100)
    os.close(lock)
    alive, lock = supervisor.claim_prefix()
    try:
        with EmbeddedServer(repository.path, NEEDS) as server:
            assert look.segments(stale) == []
            assert look.segments(alive) == [f"{alive}lock"]
            server.stop(grace_s=0)
    finally:
        os.close(lock)
        supervisor.remove_segments(alive)
