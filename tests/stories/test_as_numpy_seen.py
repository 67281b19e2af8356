"""Where a Python model's tensor lies: by `as_numpy` in a copy of the process's own, by DLPack in the shared memory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as triton

from deploy.embedded.flags import ServerNeeds
from deploy.embedded.server import EmbeddedServer

pytestmark = pytest.mark.server

BYTES = 1 << 20
MODEL = """
import ctypes
import json

import numpy as np
import triton_python_backend_utils as pb_utils


def lies_in_shm(array):
    address = array.__array_interface__["data"][0]
    for line in open("/proc/self/maps"):
        first, last = (int(end, 16) for end in line.split()[0].split("-"))
        if first <= address < last:
            return "/dev/shm" in line


class TritonPythonModel:
    def execute(self, requests):
        [tensor] = requests[0].inputs()
        shared = np.from_dlpack(tensor)
        ctypes.memset(shared.__array_interface__["data"][0], 7, 1)  # before anybody asks for an array
        first = tensor.as_numpy()
        first[0, 1] = 9
        found = {
            "as_numpy": lies_in_shm(first), "from_dlpack": lies_in_shm(shared), "writable": shared.flags.writeable,
            "twice": np.shares_memory(first, tensor.as_numpy()), "both": np.shares_memory(first, shared),
            "first": [int(value) for value in first[0, :3]], "shared": [int(value) for value in shared[0, :3]],
        }
        return [pb_utils.InferenceResponse([pb_utils.Tensor("found", np.array([[json.dumps(found)]], object))])]
"""
CONFIG = f"""
name: "looks" backend: "python" max_batch_size: 1
input {{ name: "x" data_type: TYPE_UINT8 dims: {BYTES} }}
output {{ name: "found" data_type: TYPE_STRING dims: 1 }}
instance_group {{ kind: KIND_CPU count: 1 }}
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What such a model sees of an input of 1 MiB, in its third request."""
    root = tmp_path_factory.mktemp("looks")
    version = root / "repository" / "looks" / "1"
    version.mkdir(parents=True)
    (version / "model.py").write_text(MODEL)
    (version.parent / "config.pbtxt").write_text(CONFIG)
    server = EmbeddedServer(Path(root / "repository"), ServerNeeds(), log_path=root / "log")
    try:
        server.start()
        with triton.InferenceServerClient(server.grpc_address) as client:
            tensor = triton.InferInput("x", [1, BYTES], "UINT8")
            tensor.set_data_from_numpy(np.full((1, BYTES), 5, np.uint8))
            answers = [client.infer("looks", [tensor]).as_numpy("found")[0, 0] for _ in range(3)]
    finally:
        server.stop(grace_s=0)
    return json.loads(answers[-1])


def test_an_array_is_a_copy_that_was_made_before_it_is_asked_for(found: Any) -> None:
    """What is written to the shared memory before `as_numpy` is called is not in its array."""
    assert (found["as_numpy"], found["twice"]) == (False, True)
    assert found["first"] == [5, 9, 5]


def test_dlpack_is_the_shared_memory_itself(found: Any) -> None:
    assert (found["from_dlpack"], found["both"], found["writable"]) == (True, False, False)
    assert found["shared"] == [7, 5, 5], "nor is what is written to the array in the shared memory"
