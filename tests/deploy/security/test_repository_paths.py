"""Who may make the server load what: nobody without its key, and with it nothing that lies elsewhere."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

pytestmark = pytest.mark.server

NAMES = ["../outside", "..%2foutside", "%2e%2e%2foutside", "..", "echo/../../outside", "echo%2f..%2f..%2foutside"]
CONFIG = {
    "name": "made", "backend": "python", "max_batch_size": 0,
    "input": [{"name": "data", "data_type": "TYPE_STRING", "dims": [1]}],
    "output": [{"name": "text", "data_type": "TYPE_STRING", "dims": [1]}],
}  # fmt: skip
ESCAPES = ["file:../../escaped.txt", "file:1/../../../escaped.txt", "file:../escaped/x.txt"]


def _overriding(path: str) -> bytes:
    files = {path: base64.b64encode(b"x").decode(), "file:1/model.py": base64.b64encode(b"import sys").decode()}
    return json.dumps({"parameters": {"config": json.dumps(CONFIG), **files}}).encode()


@pytest.mark.parametrize("name", ["echo", *NAMES])
def test_a_server_that_loads_once_loads_nothing_more_even_with_the_key(guarded: Any, name: str) -> None:
    status, body = guarded.ask("POST", f"/v2/repository/models/{name}/load", b"{}", guarded.server.http_headers)
    assert status >= 400, body
    client = triton.InferenceServerClient(guarded.server.grpc_address)
    with pytest.raises(InferenceServerException, match="not allowed"):
        client.load_model(name, headers=guarded.server.grpc_headers)
    client.close()
    assert guarded.serves()


@pytest.mark.parametrize("name", ["echo", *NAMES])
def test_without_the_key_nothing_is_loaded(updatable: Any, name: str) -> None:
    assert updatable.ask("POST", f"/v2/repository/models/{name}/load", b"{}")[0] in (403, 404)
    client = triton.InferenceServerClient(updatable.server.grpc_address)
    with pytest.raises(InferenceServerException, match="This protocol is restricted"):
        client.load_model(name)
    client.close()


@pytest.mark.parametrize("name", NAMES)
def test_over_http_a_name_does_not_leave_the_repository(updatable: Any, name: str) -> None:
    status, body = updatable.ask("POST", f"/v2/repository/models/{name}/load", b"{}", updatable.server.http_headers)
    assert status >= 400, body
    assert updatable.serves()


def test_over_grpc_whoever_has_the_key_can_load_from_elsewhere(updatable: Any) -> None:
    """Triton 2.51 does not look at the name. The key lets its owner run code anyway: a model is code."""
    client = triton.InferenceServerClient(updatable.server.grpc_address)
    client.load_model("../outside", headers=updatable.server.grpc_headers)
    client.unload_model("../outside", headers=updatable.server.grpc_headers)
    client.close()
    assert updatable.serves()


@pytest.mark.parametrize("path", ESCAPES)
def test_a_file_that_comes_with_a_model_does_not_leave_its_folder(updatable: Any, path: str) -> None:
    status, body = updatable.ask(
        "POST", "/v2/repository/models/made/load", _overriding(path), updatable.server.http_headers
    )
    assert status >= 400, body
    assert list(updatable.folder.rglob("escaped*")) == []
    assert [each for place in ("/", "/tmp") for each in Path(place).glob("escaped*")] == []
    assert updatable.serves()
