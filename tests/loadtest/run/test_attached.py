"""Where load may go: to this machine, and to another one when it is named."""

from __future__ import annotations

import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from load_tools import codes_of

from generator.problems import ProblemsError
from loadtest.run.attach import attach, checked, is_loopback, split
from loadtest.run.preflight import check


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.9.1", "::1", "::ffff:127.0.0.1"])
def test_this_machine(address: str) -> None:
    assert is_loopback(address)


@pytest.mark.parametrize("address", ["10.0.0.1", "128.0.0.1", "0.0.0.0", "::", "fe80::1", "::ffff:10.0.0.1", "2001:db8::1"])  # fmt: skip
def test_another_machine(address: str) -> None:
    assert not is_loopback(address)


@pytest.mark.parametrize(("text", "found"), [
    ("localhost:8000", ("localhost", 8000)), ("http://127.0.0.1:80/", ("127.0.0.1", 80)), ("[::1]:8001", ("::1", 8001)),
    ("grpc://a.b:1", ("a.b", 1)),
])  # fmt: skip
def test_addresses(text: str, found: tuple[str, int]) -> None:
    assert split(text, "--url") == found


@pytest.mark.parametrize("text", ["", "localhost", "localhost:", ":80", "a:0", "a:65536", "a:b", "https://a:1", "a@b:1", "::1:80", "a b:1"])  # fmt: skip
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ProblemsError, match="no address of a server") as raised:
        split(text, "--url")
    assert codes_of(raised) == ["TK872"]


def resolving(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> list[str]:
    """Every name has these addresses; which names were asked for."""
    asked: list[str] = []

    def getaddrinfo(host: str, port: int, **_: Any) -> list[Any]:
        asked.append(host)
        return [
            (socket.AF_INET6 if ":" in a else socket.AF_INET, socket.SOCK_STREAM, 6, "", (a, port)) for a in addresses
        ]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return asked


def test_a_name_of_this_machine_becomes_the_address_that_was_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = resolving(monkeypatch, "::1", "127.0.0.1")
    assert checked("here", 8000) == "127.0.0.1:8000"
    assert asked == ["here"]
    resolving(monkeypatch, "::1")
    assert checked("here", 8000) == "[::1]:8000"


def test_one_foreign_address_of_a_name_is_enough_to_refuse_it(monkeypatch: pytest.MonkeyPatch) -> None:
    resolving(monkeypatch, "127.0.0.1", "10.1.2.3")
    with pytest.raises(
        ProblemsError, match=r"`there` is 10\.1\.2\.3, which is not this machine; nothing was sent"
    ) as raised:
        checked("there", 8000)
    assert codes_of(raised) == ["TK874"]
    assert "--allow-remote there" in raised.value.problems[0].hint


def test_only_the_named_host_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    resolving(monkeypatch, "10.1.2.3")
    assert checked("There", 8000, ["there"]) == "10.1.2.3:8000"
    assert checked("10.1.2.3", 8000, ["10.1.2.3"]) == "10.1.2.3:8000"
    for allowed in (["elsewhere"], ["there.example"], [""], []):
        with pytest.raises(ProblemsError):
            checked("there", 8000, allowed)


def test_a_name_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fails)
    with pytest.raises(ProblemsError, match="cannot be resolved") as raised:
        checked("nowhere.invalid", 8000)
    assert codes_of(raised) == ["TK872"]


def test_both_protocols_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    serving = attach((), Path(), "127.0.0.1:8000", target="embedded")
    assert (serving.http_address, serving.grpc_address) == ("127.0.0.1:8000", "127.0.0.1:8001")
    serving = attach((), Path(), "[::1]:8000", grpc="localhost:9000", target="embedded")
    assert serving.http_address == "[::1]:8000"
    assert serving.grpc_address in {"127.0.0.1:9000", "[::1]:9000"}
    with pytest.raises(ProblemsError, match="nothing was sent"):
        attach((), Path(), "127.0.0.1:8000", grpc="192.0.2.1:8001", target="embedded")


def test_a_name_is_looked_up_once_for_both_protocols(monkeypatch: pytest.MonkeyPatch) -> None:
    for address, host in (("127.0.0.1", "127.0.0.1"), ("::1", "[::1]")):
        asked = resolving(monkeypatch, address)
        serving = attach((), Path(), "here:8000", target="embedded")
        assert (serving.http_address, serving.grpc_address) == (f"{host}:8000", f"{host}:8001")
        assert asked == ["here"]
    assert attach((), Path(), "here:65535", target="embedded").grpc_address == "[::1]:65535"


def test_no_connection_is_opened_to_find_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def connects(*_: Any, **__: Any) -> Any:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", connects)
    monkeypatch.setattr(socket.socket, "connect_ex", connects)
    monkeypatch.setattr(socket, "create_connection", connects)
    with pytest.raises(ProblemsError):
        attach((), Path(), "192.0.2.1:8000", target="embedded")


@pytest.mark.parametrize("host", ["2001:db8::1", "fe80::7"])
def test_an_address_of_ipv6_has_its_brackets_wherever_it_is_told(host: str) -> None:
    with pytest.raises(ProblemsError) as raised:
        attach((), Path(), f"[{host}]:8000", target="embedded")
    [problem] = raised.value.problems
    assert (problem.code, problem.place.file) == ("TK874", f"[{host}]:8000")
    assert attach((), Path(), f"[{host}]:8000", target="embedded", allowed=[host]).http_address == f"[{host}]:8000"
    assert (
        attach((), Path(), f"[{host}]:8000", target="embedded", allowed=[f"[{host}]"]).grpc_address
        == f"[{host}]:8001"
    )


@pytest.mark.parametrize(("data", "what"), [
    (bytes.fromhex("15030300020250"), "TLS"), (b"SSH-2.0-OpenSSH_9.2\r\n", "no HTTP"), (b"HTTP/1.1 abc\r\n\r\n", "no HTTP"),
])  # fmt: skip
def test_what_answers_and_speaks_no_http(data: bytes, what: str) -> None:
    """In the words that a run has for it."""

    def answer(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(1 << 16)
            connection.sendall(data)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=answer, args=(listener,))
        thread.start()
        with pytest.raises(ProblemsError) as raised:
            check(attach((), Path(), f"127.0.0.1:{listener.getsockname()[1]}", target="embedded"), {}, lambda _: None)
        thread.join()
    [problem] = raised.value.problems
    assert problem.code == "TK872"
    assert problem.message == f"what answers there is not Triton: {what}, which cannot be read"


@pytest.mark.parametrize(("body", "said"), [
    (b"<html>hello</html>", "what answers there is not Triton: no JSON, <html>hello</html>"),
    (b"[1, 2]", "what answers there is not Triton: it says nothing of itself"),
    (b"[" * 50_000, "what answers there is not Triton: no JSON, [[["),
])  # fmt: skip
def test_what_answers_and_is_no_triton(body: bytes, said: str) -> None:
    class Answering(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with HTTPServer(("127.0.0.1", 0), Answering) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            with pytest.raises(ProblemsError) as raised:
                check(attach((), Path(), f"127.0.0.1:{server.server_port}", target="embedded"), {}, lambda _: None)
        finally:
            server.shutdown()
            thread.join()
    [problem] = raised.value.problems
    assert problem.code == "TK872"
    assert problem.message.startswith(said)
