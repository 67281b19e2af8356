"""Python processes of a real server that end unasked."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest

from deploy.embedded import effective, processes, stubs
from deploy.embedded.flags import ServerNeeds
from deploy.embedded.needs import needs_of_repository
from deploy.embedded.ports import Ports, PortTakenError, choose
from deploy.embedded.server import EmbeddedServer

pytestmark = pytest.mark.server
NEEDS = ServerNeeds(longest_request_ms=1000)


def test_one_that_ends_is_noticed_once_and_its_model_is_not_ready(repository: Any, look: Any) -> None:
    repository.model("one")
    repository.model("two", instances=2)
    with EmbeddedServer(repository.path, needs_of_repository(repository.path)) as server:
        running = stubs.running(server.pid)
        assert sorted((s.model, s.version, s.instance) for s in running) == [
            ("one", "1", "one_0_0"), ("two", "1", "two_0_0"), ("two", "1", "two_0_1"),
        ]  # fmt: skip
        watch = stubs.Watch(server.pid)
        assert watch.ended() == []
        seen = effective.status(server.http_address, repository.path, server_pid=server.pid)
        assert [(m.ready, m.problem) for m in seen] == [(True, ""), (True, "")]

        [victim] = [stub for stub in running if stub.instance == "two_0_1"]
        os.kill(victim.pid, signal.SIGKILL)
        assert look.eventually(lambda: processes.is_zombie(victim.pid))
        assert watch.ended() == [victim]
        assert watch.ended() == []
        seen = effective.status(server.http_address, repository.path, server_pid=server.pid)
        assert [(m.name, m.ready, m.problem) for m in seen] == [
            ("one", True, ""), ("two", False, effective.PROCESS_ENDED),
        ]  # fmt: skip
        server.stop()
        assert watch.ended() == [], "those that the server ended itself"


def test_a_port_of_a_server_of_ours_is_told_from_a_strangers(repository: Any) -> None:
    repository.model()
    with EmbeddedServer(repository.path, NEEDS) as server:
        for address in (server.http_address, server.grpc_address, server.metrics_address):
            with pytest.raises(PortTakenError) as caught:
                choose(Ports(http=int(address.rpartition(":")[2])))
            sentence = f"is taken: `tritonkit serve` is already running here (process {os.getpid()})"
            assert caught.value.message.endswith(sentence)
            assert caught.value.hint.startswith("stop that one")
            assert "kill" not in caught.value.hint
        server.stop(grace_s=0)
