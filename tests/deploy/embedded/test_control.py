"""Loading and unloading models of a running server, and what it says when it cannot."""

from __future__ import annotations

import _thread
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from google.protobuf import json_format, text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig

from deploy.embedded.control import READY, UNAVAILABLE, Control, LoadFailedError
from deploy.embedded.flags import ServerNeeds
from deploy.embedded.server import EmbeddedServer
from deploy.embedded.state import ServerRecord
from deploy.embedded.trial import SUFFIX, try_model, unload_left_over
from generator.problems import UserError

pytestmark = pytest.mark.server
NEEDS = ServerNeeds(longest_request_ms=1000, control_mode="explicit", load_models=("*",))


@pytest.fixture
def served(repository: Any) -> Iterator[tuple[EmbeddedServer, Control, Path]]:
    """A server with one model, its control, and the model's directory."""
    directory = repository.model()
    server = EmbeddedServer(repository.path, NEEDS)
    try:
        server.start()
        with Control(server.record()) as control:
            yield server, control, directory
    finally:
        server.stop(grace_s=0)


def test_models_come_and_go(served: tuple[EmbeddedServer, Control, Path], repository: Any, look: Any) -> None:
    server, control, _ = served
    assert control.index() == {"double": {1: READY}}
    assert control.ready()
    repository.model("another")
    assert control.index() == {"another": {}, "double": {1: READY}}
    control.load("another")
    assert control.index()["another"] == {1: READY}
    assert look.double(server.http_address, [1, 2], "another") == [2, 4]
    control.unload("another")
    assert look.eventually(lambda: control.index()["another"] == {1: UNAVAILABLE})
    assert look.eventually(control.ready)


def test_a_failed_load_says_why_and_the_old_one_answers_on(
    served: tuple[EmbeddedServer, Control, Path], look: Any
) -> None:
    server, control, directory = served
    source = (directory / "1" / "model.py").read_text()
    (directory / "1" / "model.py").write_text(source.replace("pass", "raise ValueError('weights are gone')", 1))
    with pytest.raises(LoadFailedError) as caught:
        control.load("double")
    assert caught.value.message.startswith("double: ValueError: weights are gone (double/1/model.py:")
    [cause] = caught.value.causes
    assert (cause.model, cause.kind) == ("double", "python")
    assert look.double(server.http_address, [3]) == [6]
    (directory / "config.pbtxt").write_text("nonsense")
    with pytest.raises(LoadFailedError, match=r"double: double/config.pbtxt:1:"):
        control.load("double")
    assert look.double(server.http_address, [3]) == [6]
    with pytest.raises(LoadFailedError, match="failed to load 'nobody'"):
        control.load("nobody")


def test_a_trial_leaves_nothing(served: tuple[EmbeddedServer, Control, Path], look: Any) -> None:
    server, control, directory = served
    config = text_format.Parse((directory / "config.pbtxt").read_text(), ModelConfig())
    config.instance_group[0].count = 3
    good = (directory / "1" / "model.py").read_bytes()
    bad = good.replace(b"pass", b"raise ValueError('weights are gone')", 1)
    before = control.index()
    assert try_model(control, config, {"1/model.py": bad, "2/model.py": good}, [2])
    assert look.eventually(control.ready)
    with pytest.raises(LoadFailedError) as caught:
        try_model(control, config, {"1/model.py": bad, "2/model.py": good}, [1, 2])
    assert caught.value.message.startswith("double: ValueError: weights are gone (double/1/model.py:")
    assert SUFFIX not in caught.value.message
    assert look.eventually(control.ready), "the failed one is forgotten"
    assert control.index() == before
    assert look.double(server.http_address, [3]) == [6]
    with pytest.raises(LoadFailedError, match=r"double: its 4/model.py is missing"):
        try_model(control, config, {"1/model.py": good}, [4])
    assert control.ready()


def test_what_is_no_server_of_ours(served: tuple[EmbeddedServer, Control, Path]) -> None:
    server, _, _ = served
    with Control(replace(server.record(), key="wrong")) as stranger, pytest.raises(UserError, match="refused: "):
        stranger.index()
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{deaf.getsockname()[1]}"
        record: ServerRecord = replace(server.record(), grpc_address=address)
        with Control(record) as nobody, pytest.raises(UserError, match=f"the server at {address} does not answer"):
            nobody.index()


@pytest.mark.parametrize("variable", ["http_proxy", "grpc_proxy"])
def test_no_proxy_sees_the_key(
    served: tuple[EmbeddedServer, Control, Path], monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    server, _, _ = served
    for name in ("no_proxy", "no_grpc_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, f"http://{server.metrics_address}")
    with Control(server.record()) as control:
        assert control.index() == {"double": {1: READY}}


def test_a_hang_whose_cause_is_not_yet_logged(
    served: tuple[EmbeddedServer, Control, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "log"

    class Future:
        def result(self, timeout: float) -> None:
            log.write_text("Failed to preinitialize Python stub\n")
            raise grpc.FutureTimeoutError

        def cancel(self) -> None:
            pass

    with Control(replace(served[0].record(), log_path=str(log))) as control:
        call = SimpleNamespace(future=lambda *_request, **_options: Future())
        monkeypatch.setattr(control, "_stub", SimpleNamespace(RepositoryModelLoad=call))
        with pytest.raises(LoadFailedError, match="the load of double does not end"):
            control.load("double")


def test_an_interrupted_trial_leaves_nothing(
    served: tuple[EmbeddedServer, Control, Path], tmp_path: Path, look: Any
) -> None:
    _, control, directory = served
    config = text_format.Parse((directory / "config.pbtxt").read_text(), ModelConfig())
    good, loading, door = (directory / "1" / "model.py").read_text(), tmp_path / "loading", tmp_path / "door"
    waits = (
        f"from pathlib import Path; Path({str(loading)!r}).touch()\n"
        f"        while not Path({str(door)!r}).exists(): time.sleep(0.01)"
    )
    said: list[str] = []

    def interrupt() -> None:
        if look.eventually(loading.exists):
            _thread.interrupt_main()
        look.eventually(lambda: said)
        door.touch()

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        try_model(control, config, {"1/model.py": good.replace("pass", waits, 1).encode()}, [1], said.append)
    thread.join(20)
    assert said == ["ending the trial of double: the server finishes that load first"]
    assert look.eventually(lambda: control.loaded() == ["double"])
    assert look.eventually(control.ready)


def test_what_a_killed_trial_left_is_unloaded_and_disturbs_no_other(
    served: tuple[EmbeddedServer, Control, Path], look: Any
) -> None:
    _, control, directory = served
    config = text_format.Parse((directory / "config.pbtxt").read_text(), ModelConfig())
    good = (directory / "1" / "model.py").read_bytes()
    names = [f"double{SUFFIX}", f"double{SUFFIX}-0123abcd"]
    for config.name in names:
        control.load(config.name, config=json_format.MessageToJson(config), files={"1/model.py": good})
    assert control.loaded() == ["double", *names]
    config.name = "double"
    with pytest.raises(LoadFailedError, match="weights are gone"):
        try_model(
            control, config, {"1/model.py": good.replace(b"pass", b"raise ValueError('weights are gone')")}, [1]
        )
    unload_left_over(control)
    assert look.eventually(lambda: control.loaded() == ["double"])
    assert look.eventually(control.ready)


def test_a_load_that_does_not_end(served: tuple[EmbeddedServer, Control, Path]) -> None:
    server, _, directory = served
    source = (directory / "1" / "model.py").read_text()
    (directory / "1" / "model.py").write_text(source.replace("pass", "time.sleep(60)", 1))
    with Control(server.record(), load_timeout_s=1.0) as control:
        with pytest.raises(LoadFailedError, match="the load of double did not answer within 1 s"):
            control.load("double")
        (directory / "2").mkdir()  # a version without its file, for which 2.51 waits for ever
        with pytest.raises(LoadFailedError):
            control.load("double")


def test_a_channel_that_does_not_close_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen after two interrupts in the midst of a load."""
    monkeypatch.setattr("deploy.embedded.control._CLOSE_TIMEOUT_S", 0.05)
    never = threading.Event()
    asked = threading.Event()

    class Stuck:
        def close(self) -> None:
            asked.set()
            never.wait()

    record = ServerRecord(1, 1, "127.0.0.1:1", "127.0.0.1:1", "127.0.0.1:1", (), "key", "embedded", "log", {}, True)
    control = Control(record)
    control._channel.close()
    control._channel = Stuck()
    with control:
        pass
    assert asked.is_set()
    never.set()
