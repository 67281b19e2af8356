"""Commands that talk to a server, with none there."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import numpy as np
import pytest
from cli_session import At, Session

from deploy.embedded.state import ServerRecord
from generator.project import Project
from tritonkit.cli.servers import Address, naming_the_known
from tritonkit.client.errors import UnknownPipelineError


def test_no_server_runs(session: Session) -> None:
    session.run("infer", "small", "x.png")
    session.run("status")
    session.run("snippet", "small")
    session.matches("no_server")


def test_outside_of_a_project_no_server_is_found(at: At, tmp_path: Path) -> None:
    for command in ("infer small x.png", "status", "snippet small"):
        ended = at(tmp_path).quietly(*command.split())
        assert (ended.status, ended.out) == (1, "")
        assert ended.err == (
            f"error: {tmp_path} is in no project, so a server cannot be found by itself\n\n"
            "hint: run this inside the project (where `specs/` is), or give --address\n"
        )


def test_nothing_listens(session: Session, project: Project, deaf_port: int) -> None:
    session.hide(str(deaf_port), "PORT")
    session.quietly("render", "--target", "embedded")
    (project.root / "x.png").write_bytes(b"x")
    address = f"127.0.0.1:{deaf_port}"
    for protocol in ("grpc", "http"):
        session.run("infer", "small", "x.png", "--address", address, "--protocol", protocol)
    session.run("infer", "small", "x.png", "--address", address, "--json")
    session.run("status", "--address", address)
    session.run("snippet", "small", "--address", address, "--curl")
    session.run("snippet", "small", "--address", f"http://{address}/", "--python")
    session.matches("nothing_listens")


@pytest.mark.parametrize(
    "command", ["infer small x.png --protocol http", "infer small x.png", "snippet small", "status"]
)
@pytest.mark.parametrize(
    "address", ["", "localhost", "localhost:", ":8001", "localhost:0", "localhost:65536", "localhost:８００１", "a b:1", "a:b@c:1", "http://", "\x1b[31mx", "x/y:1"]
)  # fmt: skip
def test_what_is_no_address(session: Session, command: str, address: str) -> None:
    ended = session.quietly(*command.split(), "--address", address)
    assert (ended.status, ended.out) == (1, "")
    assert ended.err.startswith("error: `")
    assert "is no address of a server\n\nhint: give host:port, such as localhost:800" in ended.err
    assert "\x1b" not in ended.err


def test_status_without_a_repository(session: Session, project: Project, deaf_port: int) -> None:
    session.run("status", "--address", f"127.0.0.1:{deaf_port}", "--target", "laptop")
    session.note("a configuration that cannot be parsed")
    session.quietly("render", "--target", "embedded")
    (project.repository("embedded") / "small" / "config.pbtxt").write_text("name: [")
    session.run("status", "--address", f"127.0.0.1:{deaf_port}")
    session.hide(str(deaf_port), "PORT")
    session.matches("status_repository")


def test_demonstrations_that_cannot_be(session: Session, project: Project) -> None:
    (project.root / "empty").mkdir()
    session.run("demo")
    session.run("demo", "specs/small.yaml")
    session.run("demo", "empty")
    spec = project.specs / "small.yaml"
    spec.write_text(spec.read_text().replace("net.onnx}", "net.onnx, accuracy: {data: data/gate.npz, floor: 0.9}}"))
    session.run("demo", "specs/small.yaml")
    (project.root / "data" / "gate.npz").write_bytes(b"not an archive")
    session.run("demo", "specs/small.yaml")
    np.savez(project.root / "data" / "gate.npz", picture=np.zeros((2, 8, 8), np.uint8), labels=np.zeros(2))
    session.run("demo", "specs/small.yaml")
    np.savez(project.root / "data" / "gate.npz", image=np.zeros((3, 8, 8), np.uint8), labels=np.zeros(2))
    session.run("demo", "specs/small.yaml")
    session.matches("demo_refused")


def test_what_the_embedded_server_cannot_serve(session: Session, project: Project) -> None:
    (project.root / "empty").mkdir()
    session.run("serve", "--target", "production")
    session.run("serve", "--target", "producton")
    session.run("serve", "--repository", "empty")
    session.run("serve", "--repository", "empty", "--updatable")
    session.run("serve", "--http-port", "70000", "--grpc-port", "0", "--metrics-port", "0")
    session.run("serve", "--http-port", "0", "--grpc-port", "-1", "--metrics-port", "0")
    session.run("serve", "--http-port", "80", "--grpc-port", "80", "--metrics-port", "0")
    session.matches("serve_refused")


@pytest.mark.parametrize(
    "reply",
    [b"", b"\x00\x00\x18\x04\x00\x00", b"SSH-2.0-x\r\n", b"HTTP/1.1 200 OK\r\n\r\n<html>", b"HTTP/1.1 200 OK\r\n\r\n[1]",
     b"HTTP/1.1 999 \r\n\r\n", b"HTTP/1.1 403 Forbidden\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}",
     b"HTTP/1.1 200 OK\r\n\r\n{}", b"HTTP/1.1 404 Not Found\r\n\r\n", b"HTTP/1.1 400 Bad\r\n\r\n"],
)  # fmt: skip
def test_status_of_what_is_no_triton_server(session: Session, reply: bytes) -> None:
    """Such as its own gRPC port, or another service."""
    session.quietly("render", "--target", "embedded")
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(reply)

        answering = threading.Thread(target=answer)
        answering.start()
        address = f"127.0.0.1:{listening.getsockname()[1]}"
        ended = session.quietly("status", "--address", address)
        answering.join()
    assert (ended.status, ended.out) == (1, "")
    assert ended.err.startswith(("error: no Triton server answers at ", "error: the server at "))
    assert address in ended.err


@pytest.mark.parametrize(
    ("pipeline", "updatable", "hint"),
    [
        ("house", False, "`house` is rendered, but not served: the server was started before. Start `tritonkit serve` again"),
        ("house", True, "`house` is rendered, but not served: the server was started before. `tritonkit update` serves it"),
        ("huose", False, "did you mean `house`?"), ("x", False, "it has house, small"),
    ],
)  # fmt: skip
def test_what_a_server_of_ours_has_not(tmp_path: Path, pipeline: str, updatable: bool, hint: str) -> None:
    for name in ("house", "small"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.pbtxt").write_text("")
    record = ServerRecord(
        pid=1, start_ticks=1, http_address="", grpc_address="", metrics_address="", repositories=(str(tmp_path),),
        key="", target="embedded", log_path="", updatable=updatable,
    )  # fmt: skip
    with pytest.raises(UnknownPipelineError) as raised, naming_the_known(Address("x:1", record), pipeline):
        raise UnknownPipelineError("no model")
    assert raised.value.hint == hint
