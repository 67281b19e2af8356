"""Load goes to the server that it was checked for, whatever the environment or the server says."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from sender_tools import orders, payloads, schedule, send, small_server

from loadtest.samples.record import Outcome
from loadtest.sender.regions import Region
from loadtest.server_statistics import model_statistics


def anybody_came(listener: socket.socket) -> bool:
    listener.setblocking(False)
    try:
        listener.accept()[0].close()
    except BlockingIOError:
        return False
    return True


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """Where the environment says that everything has to go."""
    for name in ("no_proxy", "NO_PROXY", "no_grpc_proxy"):
        monkeypatch.delenv(name, raising=False)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        for name in ("http_proxy", "https_proxy", "grpc_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
            monkeypatch.setenv(name, address)
        yield listener


@pytest.mark.parametrize("client", ["http-raw", "grpc-raw", "grpc-tritonclient", "http-tritonclient"])
def test_no_load_leaves_through_a_proxy(proxy: socket.socket, tmp_path: Path, client: str) -> None:
    with small_server(client.partition("-")[0]) as server:
        samples, report = send(orders(server.address, client), schedule([0] * 5, 100), payloads(b"slow"), tmp_path)
    assert set(samples["outcome"]) == {Outcome.OK}, report.errors
    assert not anybody_came(proxy)


def test_no_region_is_told_to_a_proxy(proxy: socket.socket) -> None:
    with small_server("grpc") as server, Region(orders(server.address, "grpc-raw"), 0)._client() as client:
        assert client.is_server_live(client_timeout=20)
    assert not anybody_came(proxy)


def test_statistics_are_of_the_server_itself(proxy: socket.socket) -> None:
    """Not of one that it points to."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        goal = f"http://127.0.0.1:{other.getsockname()[1]}/v2/models/stats"

        class Points(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(302)
                self.send_header("Location", goal)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Quietly."""

        with HTTPServer(("127.0.0.1", 0), Points) as server:
            threading.Thread(target=server.handle_request, daemon=True).start()
            with pytest.raises(OSError, match="302"):
                model_statistics(f"127.0.0.1:{server.server_port}")
        assert not anybody_came(other)
    assert not anybody_came(proxy)


@pytest.mark.parametrize("client", ["grpc-raw", "grpc-tritonclient"])
def test_what_the_server_cancels_is_refused(tmp_path: Path, client: str) -> None:
    with small_server("grpc") as server:
        samples, report = send(orders(server.address, client), schedule([0] * 5, 100), payloads(b"cancel"), tmp_path)
    assert set(samples["outcome"]) == {Outcome.REFUSED}
    assert set(samples["status"]) == {1}
    assert report.errors == {"the server would rather not": 5}
