"""The settings that the page on rollouts gives to other gRPC clients do what it says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as triton
from misbehaving_servers import Refusing, grpc_server
from tritonclient.utils import InferenceServerException

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "clients-that-survive-a-rollout.md"
ADDRESS = "dns:digits-triton-grpc.prod.svc.cluster.local:8001"


def client_of_the_page(address: str) -> Any:
    """What its second block of Python makes, for another address."""
    _, block = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert block.count(ADDRESS) == 1
    names: dict[str, Any] = {}
    exec(block.replace(ADDRESS, address), names)
    return names["client"]


def test_it_balances_and_tries_again() -> None:
    servers = [Refusing("busy", bad=1), Refusing("busy", bad=1)]
    item = triton.InferInput("data", [1], "FP32").set_data_from_numpy(np.array([1.0], np.float32))
    with grpc_server(servers[0]) as first, grpc_server(servers[1]) as second:
        client = client_of_the_page(f"ipv4:{first},{second}")
        for _ in range(20):
            assert client.infer("echo", [item], client_timeout=20).as_numpy("text").tolist() == [7.0]
        client.close()
    assert min(server.seen for server in servers) >= 5
    assert sum(server.seen for server in servers) == 22, "two were refused, and sent again"


def test_without_them_the_refusal_is_the_answer() -> None:
    item = triton.InferInput("data", [1], "FP32").set_data_from_numpy(np.array([1.0], np.float32))
    with grpc_server(Refusing("busy", bad=1)) as address:
        client = triton.InferenceServerClient(address, channel_args=[("grpc.use_local_subchannel_pool", 1)])
        with pytest.raises(InferenceServerException, match="Exceeds maximum queue size"):
            client.infer("echo", [item], client_timeout=20)
        client.close()
