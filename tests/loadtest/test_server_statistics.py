"""A server that is none of Triton's, asked for its statistics."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from loadtest.server_statistics import model_statistics


@contextmanager
def answering(body: bytes) -> Iterator[str]:
    """Its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize("body", [b"{}", b"[1, 2]", b'{"model_stats": 3}', b'{"model_stats": [{}]}', b"<html>", b""])
def test_other_answers_are_said_to_be_so(body: bytes) -> None:
    with answering(body) as address, pytest.raises(ValueError, match=r"not as Triton does|Expecting value"):
        model_statistics(address)


def test_its_own_answer() -> None:
    with answering(b'{"model_stats": [{"name": "digits"}]}') as address:
        assert model_statistics(address) == [{"name": "digits"}]
