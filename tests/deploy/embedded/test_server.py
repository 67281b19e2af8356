"""The real server: it starts, answers, stops, and guards what clients must not touch."""

from __future__ import annotations

import http.client
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from deploy.embedded import processes, state
from deploy.embedded import server as module
from deploy.embedded.flags import ServerNeeds
from deploy.embedded.ports import Ports, PortTakenError
from deploy.embedded.server import EmbeddedServer, ServerFailedError

pytestmark = pytest.mark.server
NEEDS = ServerNeeds(longest_request_ms=3000)


def test_it_starts_answers_and_leaves_nothing(repository: Any, look: Any, tmp_path: Path) -> None:
    repository.model()
    said: list[str] = []
    with EmbeddedServer(repository.path, NEEDS, on_progress=said.append) as server:
        assert look.double(server.http_address, [1.0, 2.5]) == [2.0, 5.0]
        counted = 'nv_inference_request_success{model="double",version="1"} 1'
        # A request is counted after it was answered.
        assert look.eventually(lambda: counted in look.request(server.metrics_address, "GET", "/metrics")[1])
        assert server.poll() is None
        assert not server.failed
        assert server.failure is None
        assert {len(look.segments(server.shm_prefix)), len(look.processes_of(server.shm_prefix))} == {2}
        record = server.record("embedded")
        with state.recorded(tmp_path / "run", record):
            assert state.running(tmp_path / "run") == [record]
    assert said == ["loaded double"]
    assert server.poll() == 0
    assert look.nothing_left(server.shm_prefix)
    assert not server.log_path.parent.exists()
    server.stop()
    assert not server.failed
    with pytest.raises(RuntimeError, match="make a new EmbeddedServer"):
        server.start()


def test_two_servers_at_once_and_two_repositories(repository: Any, look: Any, tmp_path: Path) -> None:
    repository.model("one")
    second = type(repository)(tmp_path / "more")
    second.model("two")
    kept = tmp_path / "logs" / "server.log"
    with (
        EmbeddedServer(repository.path, NEEDS) as first,
        EmbeddedServer([repository.path, second.path], NEEDS, log_path=kept) as both,
    ):
        assert first.http_address != both.http_address
        assert look.double(first.http_address, [1.0], "one") == [2.0]
        assert look.double(both.http_address, [3.0], "one") == [6.0]
        assert look.double(both.http_address, [4.0], "two") == [8.0]
        first.stop()
        assert look.nothing_left(first.shm_prefix)
        assert look.double(both.http_address, [5.0], "two") == [10.0]
    assert "successfully unloaded 'two'" in kept.read_text()


@pytest.mark.parametrize(
    "path", ["/v2/models/stats", "/v2/systemsharedmemory/status", "/v2/trace/setting", "/v2/logging"]
)
def test_restricted_apis_over_http(shared_server: EmbeddedServer, look: Any, path: str) -> None:
    status, answer = look.request(shared_server.http_address, "GET", path)
    assert status == 403
    assert "restricted" in answer["error"]
    wrong = dict.fromkeys(shared_server.http_headers, "wrong")
    assert look.request(shared_server.http_address, "GET", path, headers=wrong)[0] == 403
    assert look.request(shared_server.http_address, "GET", path, headers=shared_server.http_headers)[0] == 200


def test_restricted_protocols_over_grpc(shared_server: EmbeddedServer) -> None:
    import tritonclient.grpc as triton

    with triton.InferenceServerClient(shared_server.grpc_address) as client:
        assert client.is_server_ready()
        with pytest.raises(triton.InferenceServerException, match="restricted"):
            client.get_log_settings()
        with pytest.raises(triton.InferenceServerException, match="restricted"):
            client.get_log_settings(headers=shared_server.http_headers)
        assert client.get_log_settings(headers=shared_server.grpc_headers).settings


def test_health_and_metadata_stay_open(shared_server: EmbeddedServer, look: Any) -> None:
    assert look.request(shared_server.http_address, "GET", "/v2/health/ready")[0] == 200
    assert look.request(shared_server.http_address, "GET", "/v2/models/double")[1]["name"] == "double"


def test_a_request_in_flight_is_finished_before_the_end(repository: Any, look: Any, tmp_path: Path) -> None:
    mark = tmp_path / "executing"
    repository.model(execute=f"open({str(mark)!r}, 'w').close(); time.sleep(1)")
    answers: list[list[float]] = []
    with EmbeddedServer(repository.path, NEEDS) as server:
        client = threading.Thread(target=lambda: answers.append(look.double(server.http_address, [3.0])))
        client.start()
        assert look.eventually(mark.exists)
    client.join(10)
    assert answers == [[6.0]]


def test_an_idle_client_holds_up_the_end_for_the_exit_timeout_at_most(shared_repository: Path, look: Any) -> None:
    needs = ServerNeeds(longest_request_ms=1000)
    said: list[str] = []
    with EmbeddedServer(shared_repository, needs, on_progress=said.append) as server:
        connection = http.client.HTTPConnection(server.http_address, timeout=5)
        connection.request("GET", "/v2/health/ready")
        assert connection.getresponse().read() == b""
        started = time.monotonic()
        server.stop()
        took_s = time.monotonic() - started
        connection.close()
    assert took_s < needs.exit_timeout_s + 2
    assert said[-1] == "waiting for clients to close 1 HTTP connections, at most 4 s"
    assert look.nothing_left(server.shm_prefix)
    assert not server.failed


def test_a_log_that_somebody_removes_harms_nothing(shared_repository: Path, look: Any, tmp_path: Path) -> None:
    path = tmp_path / "server.log"
    with EmbeddedServer(shared_repository, NEEDS, log_path=path) as server:
        path.unlink()
        os.kill(server.pid, signal.SIGKILL)
        server.wait(10)
        assert server.failure is not None
        assert server.failure.last_lines == ()
    with EmbeddedServer(shared_repository, NEEDS, log_path=path) as server:
        path.unlink()
    assert server.poll() == 0


def test_stopping_at_once(shared_repository: Path, look: Any) -> None:
    with EmbeddedServer(shared_repository, NEEDS) as server:
        started = time.monotonic()
        server.stop(grace_s=0)
        assert time.monotonic() - started < 1
        assert look.nothing_left(server.shm_prefix)
        assert not server.failed


def test_named_ports(shared_repository: Path, listening: int, look: Any) -> None:
    ports = module.choose(Ports())
    with EmbeddedServer(shared_repository, NEEDS, ports=ports) as server:
        assert server.http_address == f"127.0.0.1:{ports.http}"
        assert processes.port_holder(ports.grpc) == server.pid
        with pytest.raises(PortTakenError, match=rf"already running here \(process {os.getpid()}\)"):
            EmbeddedServer(shared_repository, NEEDS, ports=ports).start()
        server.stop(grace_s=0)


@pytest.mark.parametrize("service", ["http", "grpc", "metrics"])
def test_a_port_that_is_lost_after_it_was_chosen(
    shared_repository: Path, listening: int, look: Any, service: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    choices = [Ports(**{"http": 0, "grpc": 0, "metrics": 0} | {service: listening})]
    real = module.choose

    def choose(wanted: Ports) -> Ports:
        if not choices:
            return real(wanted)
        free, taken = real(wanted), choices.pop()
        return Ports(taken.http or free.http, taken.grpc or free.grpc, taken.metrics or free.metrics)

    monkeypatch.setattr(module, "choose", choose)
    said: list[str] = []
    with EmbeddedServer(shared_repository, NEEDS, on_progress=said.append) as server:
        assert "a free port was taken meanwhile, trying others" in said
        assert look.double(server.http_address, [1.0]) == [2.0]
        assert processes.listens_on(server.pid, {int(server.metrics_address.partition(":")[2])})
        server.stop(grace_s=0)


def test_waiting_for_its_end(shared_repository: Path) -> None:
    server = EmbeddedServer(shared_repository, NEEDS)
    with pytest.raises(RuntimeError, match="has not been started"):
        server.wait()
    with server:
        with pytest.raises(TimeoutError, match="still runs"):
            server.wait(0.05)
        server.stop(grace_s=0)
        assert server.wait(1) == 128 + 9


def test_explicit_mode_loads_with_the_key_alone(repository: Any, look: Any) -> None:
    repository.model("one")
    repository.model("two")
    needs = ServerNeeds(longest_request_ms=1000, control_mode="explicit", load_models=("one",))
    with EmbeddedServer(repository.path, needs) as server:
        path = "/v2/repository/models/two/load"
        assert look.double(server.http_address, [1.0], "one") == [2.0]
        assert look.request(server.http_address, "POST", path)[0] == 403
        assert look.request(server.http_address, "POST", path, headers=server.http_headers)[0] == 200
        assert look.double(server.http_address, [2.0], "two") == [4.0]
        server.stop(grace_s=0)


def test_a_server_that_dies_says_so(shared_repository: Path, look: Any) -> None:
    with EmbeddedServer(shared_repository, NEEDS) as server:
        os.kill(server.pid, signal.SIGKILL)
        assert server.wait(10) == 128 + 9
        assert server.failed
        assert isinstance(server.failure, ServerFailedError)
        assert server.failure.causes[0].sentence == "the server was ended by signal 9 without naming a cause"
        assert look.nothing_left(server.shm_prefix)
    assert server.log_path.exists()
