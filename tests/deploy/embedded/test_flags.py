from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from deploy.embedded.flags import KNOWN_APIS, ServerFlags, ServerNeeds, grpc_headers, http_headers
from deploy.embedded.installation import Installation
from deploy.embedded.ports import Ports

EVERYTHING = ServerNeeds(
    python_instances=6,
    most_instances_of_a_model=4,
    shm_default_bytes=4 << 20,
    shm_growth_bytes=2 << 20,
    http_threads=4,
    grpc_infer_pool=32,
    gpus=(0, 1),
    cuda_memory_pool_bytes=1 << 28,
    pinned_pool_bytes=1 << 26,
    response_cache_bytes=1 << 20,
    longest_request_ms=2500,
    control_mode="explicit",
    load_models=("a", "b"),
)


def arguments(needs: ServerNeeds) -> list[str]:
    repositories = (Path("/srv/one"), Path("/srv/two"))
    places = (Path("/srv/backends"), Path("/srv/caches"))
    return ServerFlags(needs, repositories, *places, Ports(1001, 1002, 1003), "tritonkit-ab-", "k3y").arguments()


def test_every_flag_exists_in_this_server() -> None:
    installation = Installation.find()
    answer = subprocess.run(
        [installation.binary, "--help"], env=installation.variables(), capture_output=True, text=True, check=False
    )
    known = set(re.findall(r"--[a-z0-9-]+", answer.stdout + answer.stderr))
    used = {argument.partition("=")[0] for argument in arguments(EVERYTHING)}
    assert len(known) > 80
    assert used <= known


def test_only_loopback_and_nothing_changes_the_models() -> None:
    said = arguments(ServerNeeds())
    addresses = [argument for argument in said if "-address=" in argument]
    assert addresses == ["--http-address=127.0.0.1", "--grpc-address=127.0.0.1", "--metrics-address=127.0.0.1"]
    assert "--model-control-mode=none" in said
    assert "--disable-auto-complete-config" in said
    assert not any("cuda-memory-pool" in argument or "cache-config" in argument for argument in said)
    assert "--allow-gpu-metrics=false" in said


def test_sizes_reach_the_command_line() -> None:
    said = arguments(EVERYTHING)
    assert {
        "--backend-config=python,shm-region-prefix-name=tritonkit-ab-",
        "--backend-config=python,shm-default-byte-size=4194304",
        "--backend-config=python,shm-growth-byte-size=2097152",
        "--cuda-memory-pool-byte-size=0:268435456",
        "--cuda-memory-pool-byte-size=1:268435456",
        "--cache-config=local,size=1048576",
        "--model-repository=/srv/one",
        "--model-repository=/srv/two",
        "--load-model=a",
        "--allow-gpu-metrics=true",
    } <= set(said)
    assert EVERYTHING.shm_bytes == 6 * (4 << 20)


def test_restricted_apis_on_both_protocols() -> None:
    said = arguments(ServerNeeds(restricted_apis=("trace", "logging")))
    assert "--http-restricted-api=trace,logging:tritonkit-key=k3y" in said
    assert "--grpc-restricted-protocol=trace,logging:tritonkit-key=k3y" in said
    assert not any("restricted" in argument for argument in arguments(ServerNeeds(restricted_apis=())))
    assert http_headers("k") == {"tritonkit-key": "k"}
    assert grpc_headers("k") == {"triton-grpc-protocol-tritonkit-key": "k"}


@pytest.mark.parametrize(
    ("needs", "timeout_s"),
    [
        (ServerNeeds(longest_request_ms=1), 4),  # 1 + one instance's 1.2 + 1
        (ServerNeeds(longest_request_ms=2500, python_instances=5), 10),  # 3 + 6 + 1
        (EVERYTHING, 9),  # 3 + 4.8 + 1
    ],
)
def test_exit_timeout_covers_requests_and_unloading(needs: ServerNeeds, timeout_s: int) -> None:
    assert needs.exit_timeout_s == timeout_s
    assert f"--exit-timeout-secs={timeout_s}" in arguments(needs)


def test_needs_that_the_server_would_refuse() -> None:
    with pytest.raises(ValueError, match="shm_default_bytes is 1000, the server wants at least 1048576"):
        ServerNeeds(shm_default_bytes=1000)
    with pytest.raises(ValueError, match="unknown API 'bogus'.*" + KNOWN_APIS[-1]):
        ServerNeeds(restricted_apis=("bogus",))
    with pytest.raises(ValueError, match="load_models needs control_mode 'explicit'"):
        ServerNeeds(load_models=("a",))
