"""What the server really does when its CUDA pool is too small, and whether the pool that is derived is enough.

    python3.11 benchmarks/gpu_pool.py --out FILE

On a machine with a GPU. An ensemble of two Python models passes a tensor of 602 kB on the GPU from one to the other;
the second gives its least and greatest number, which are both the number that the client sent, unless something else
was read. For each size of pool and number of requests in flight: how many answers were right, wrong with status 200,
and refused, and what the log says of it. `refusal` is what is said of a server that is to start with less than is
needed.
"""

from __future__ import annotations

import argparse
import http.client
import json
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "python_backend"))

from deploy.embedded.flags import ServerNeeds
from deploy.embedded.pools import PoolError
from deploy.embedded.server import EmbeddedServer

ROOT = Path(__file__).resolve().parents[1]
DIMS = (3, 224, 224)
ITEM_BYTES = 4 * DIMS[0] * DIMS[1] * DIMS[2]
POOLS_MIB = (1, 16, 64, 256)
IN_FLIGHT, REQUESTS = (4, 64), 256
_MIB = 1 << 20
_WORDS = (
    "failed to copy",
    "Failed to allocate",
    "unable to allocate",
    "invalid argument",
    "CUDA memory pool",
    "error",
)

_FIRST = f'''
import sys
sys.path.insert(0, {str(ROOT / "python_backend")!r})
import numpy as np
import triton_python_backend_utils as pb_utils
from tritonkit_runtime.device.cuda import Cuda
from tritonkit_runtime.device.dlpack import Lent


class Held:
    """Memory of the GPU as long as somebody reads it."""

    def __init__(self, cuda, size):
        self.cuda, self.pointer = cuda, cuda.allocate(size)

    def __del__(self):
        self.cuda.use()
        self.cuda.free(self.pointer)


class TritonPythonModel:
    def initialize(self, args):
        self.cuda = Cuda()
        self.stream = self.cuda.stream()

    def execute(self, requests):
        answers = []
        for request in requests:
            [[value]] = pb_utils.get_input_tensor_by_name(request, "x").as_numpy()
            array = np.full((1, *{DIMS}), value, np.float32)
            held = Held(self.cuda, array.nbytes)
            self.cuda.to_device(held.pointer, array, self.stream)
            self.cuda.wait(self.stream)
            tensor = pb_utils.Tensor.from_dlpack("y", Lent(held.pointer, array.shape, array.dtype, held))
            answers.append(pb_utils.InferenceResponse([tensor]))
        return answers
'''
_SECOND = f"""
import ctypes, sys
sys.path.insert(0, {str(ROOT / "python_backend")!r})
import numpy as np
import triton_python_backend_utils as pb_utils
from tritonkit_runtime.device.cuda import Cuda

pointer_of = ctypes.pythonapi.PyCapsule_GetPointer
pointer_of.restype, pointer_of.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)


class TritonPythonModel:
    def initialize(self, args):
        self.cuda = Cuda()
        self.stream = self.cuda.stream()

    def execute(self, requests):
        answers = []
        for request in requests:
            tensor = pb_utils.get_input_tensor_by_name(request, "y")
            if tensor.is_cpu():
                array = tensor.as_numpy()
            else:
                capsule = tensor.to_dlpack()
                array = np.empty((1, *{DIMS}), np.float32)
                place = ctypes.cast(pointer_of(capsule, b"dltensor"), ctypes.POINTER(ctypes.c_void_p))[0]
                self.cuda.to_host(array, place, self.stream)
                self.cuda.wait(self.stream)
            seen = np.array([[array.min(), array.max(), float(tensor.is_cpu())]], np.float32)
            answers.append(pb_utils.InferenceResponse([pb_utils.Tensor("seen", seen)]))
        return answers
"""
_PYTHON = """name: "{name}"
backend: "python"
max_batch_size: 1
input [ {{ name: "{input}" data_type: TYPE_FP32 dims: [ {input_dims} ] }} ]
output [ {{ name: "{output}" data_type: TYPE_FP32 dims: [ {output_dims} ] }} ]
instance_group [ {{ kind: KIND_GPU count: 1 gpus: [ 0 ] }} ]
parameters {{ key: "FORCE_CPU_ONLY_INPUT_TENSORS" value {{ string_value: "no" }} }}
"""
_ENSEMBLE = """name: "flow"
platform: "ensemble"
max_batch_size: 1
input [ { name: "x" data_type: TYPE_FP32 dims: [ 1 ] } ]
output [ { name: "seen" data_type: TYPE_FP32 dims: [ 3 ] } ]
ensemble_scheduling {
  step {
    model_name: "first" model_version: -1
    input_map { key: "x" value: "x" } output_map { key: "y" value: "between" }
  }
  step {
    model_name: "second" model_version: -1
    input_map { key: "y" value: "between" } output_map { key: "seen" value: "seen" }
  }
}
"""


def write_repository(root: Path) -> Path:
    """The three models, below `root`."""
    shape = ", ".join(map(str, DIMS))
    for name, code, tensors in (
        ("first", _FIRST, {"input": "x", "input_dims": "1", "output": "y", "output_dims": shape}),
        ("second", _SECOND, {"input": "y", "input_dims": shape, "output": "seen", "output_dims": "3"}),
    ):
        (root / name / "1").mkdir(parents=True)
        (root / name / "1" / "model.py").write_text(code, encoding="utf-8")
        (root / name / "config.pbtxt").write_text(_PYTHON.format(name=name, **tensors), encoding="utf-8")
    (root / "flow" / "1").mkdir(parents=True)
    (root / "flow" / "config.pbtxt").write_text(_ENSEMBLE, encoding="utf-8")
    return root


def needs(pool_bytes: int, needed_bytes: int = 0) -> ServerNeeds:
    """Of a server with such a pool; `needed_bytes` is what it is held to (0: the check is off)."""
    return ServerNeeds(
        python_instances=2, shm_default_bytes=8 * _MIB, shm_growth_bytes=8 * _MIB, restricted_apis=(), gpus=(0,),
        cuda_memory_pool_bytes=pool_bytes, pinned_pool_bytes=256 * _MIB, cuda_pool_needed_bytes=needed_bytes,
    )  # fmt: skip


def asked(address: str, value: int, pipeline: str = "flow") -> str:
    """`right`, `wrong` or `refused`; of a right one `right on the host` where the tensor was not on the GPU."""
    host, _, port = address.rpartition(":")
    body = json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [value]}]})
    connection = http.client.HTTPConnection(host, int(port), timeout=60)
    try:
        connection.request("POST", f"/v2/models/{pipeline}/infer", body)
        answer = connection.getresponse()
        said = json.loads(answer.read())
        if answer.status != 200:
            return f"refused: {str(said.get('error'))[:200]}"
        least, greatest, on_host = said["outputs"][0]["data"]
    finally:
        connection.close()
    if (least, greatest) != (value, value):
        return "wrong with status 200"
    return "right on the host" if on_host else "right"


def turn(repository: Path, pool_mib: int, in_flight: int, log: Path) -> dict[str, Any]:
    """One server with one size of pool: what became of REQUESTS requests."""
    server = EmbeddedServer(repository, needs(pool_mib * _MIB), log_path=log)
    server.start()
    try:
        start = time.perf_counter()
        with ThreadPoolExecutor(in_flight) as threads:
            found = Counter(threads.map(lambda value: asked(server.http_address, value), range(1, REQUESTS + 1)))
        seconds = time.perf_counter() - start
        alive = asked(server.http_address, 7) if server.failure is None else "the server has ended"
    finally:
        server.stop(grace_s=0)
    lines = Counter(
        line[line.find("]") + 2 :][:200]
        for line in log.read_text(encoding="utf-8", errors="replace").splitlines()
        if any(word in line for word in _WORDS)
    )
    return {
        "pool_mib": pool_mib, "in_flight": in_flight, "item_bytes": ITEM_BYTES, "requests": REQUESTS,
        "seconds": seconds, "answers": dict(found), "afterwards": alive, "log": dict(lines.most_common(8)),
    }  # fmt: skip


def refusal(repository: Path) -> str:
    """What is said to a server whose pool is one byte smaller than is needed; empty if nothing is."""
    needed = 4 * ITEM_BYTES
    server = EmbeddedServer(repository, needs(needed - 1, needed))
    try:
        server.start()
    except PoolError as error:
        return f"{error} ({error.hint})"
    finally:
        server.stop(grace_s=0)
    return ""


def main() -> None:
    """Writes FILE after each turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--budget", type=float, default=60, help="seconds after which no turn begins")
    options = parser.parse_args()
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="tritonkit-pool-") as made:
        repository = write_repository(Path(made) / "models")
        result: dict[str, Any] = {"format": 1, "refusal": refusal(repository), "turns": []}
        for in_flight in reversed(IN_FLIGHT):
            for pool_mib in POOLS_MIB:
                if time.monotonic() - begun > options.budget:
                    break
                log = Path(made) / f"{pool_mib}-{in_flight}.log"
                try:
                    result["turns"].append(turn(repository, pool_mib, in_flight, log))
                except Exception as error:  # noqa: BLE001  (a server that ends is a result too)
                    failed = {
                        "pool_mib": pool_mib,
                        "in_flight": in_flight,
                        "failed": f"{type(error).__name__}: {error}",
                    }
                    result["turns"].append(failed)
                print(json.dumps(result["turns"][-1]), flush=True)
                options.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
