"""The real server and a model whose tensors lie on its GPU: in regions that a client shares, mixed with other requests."""

from __future__ import annotations

import base64
import ctypes
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from device_memory import Pool

from deploy.embedded.flags import ServerNeeds
from deploy.embedded.server import EmbeddedServer
from tritonkit_runtime.batch import Array
from tritonkit_runtime.device.cuda import Cuda
from tritonkit_runtime.dtypes import NUMPY_DTYPES
from tritonkit_runtime.parameters import TensorSpec
from tritonkit_runtime.self_contained import sources

pytestmark = pytest.mark.gpu

MOST = 16
Specs = tuple[list[TensorSpec], list[TensorSpec]]


def put(repository: Path, name: str, plan: Path, specs: Specs, outputs: str) -> None:
    """A model of the plan alone, as it would be rendered with the runtime beside it."""
    folder = repository / name / "1"
    folder.mkdir(parents=True)
    sides = [[{"name": t.name, "dtype": t.dtype, "dims": list(t.dims)} for t in tensors] for tensors in specs]
    document = {
        "format": 1, "pipeline": name, "model": name, "max_batch_size": MOST, "inputs": sides[0],
        "outputs": sides[1], "limits": {"max_bytes": 1, "max_pixels": 1},
        "program": {
            "kind": "engine", "engine": "tensorrt", "file": "model.plan", "intra_op_threads": 1,
            "buffers": {"buckets": [1, 4, MOST], "slots": 2, "copies": "auto", "inputs": "device", "outputs": outputs},
        },
    }  # fmt: skip
    (folder / "tritonkit.json").write_text(json.dumps(document))
    (folder / "model.plan").symlink_to(plan)
    for path, content in sources((), {"tensorrt"}).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    (folder / "model.py").write_text(
        "import os, sys\nsys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))\n"
        "from tritonkit_runtime.adapter import TritonPythonModel\n"
    )
    tensors = "\n".join(
        f'{side} {{ name: "{tensor["name"]}" data_type: TYPE_{tensor["dtype"]} dims: {tensor["dims"]} }}'
        for side, group in zip(("input", "output"), sides, strict=True)
        for tensor in group
    )
    (folder.parent / "config.pbtxt").write_text(
        f'name: "{name}"\nbackend: "python"\nmax_batch_size: {MOST}\n{tensors}\n'
        "instance_group { kind: KIND_GPU count: 1 gpus: 0 }\ndynamic_batching { max_queue_delay_microseconds: 2000 }\n"
        'parameters { key: "FORCE_CPU_ONLY_INPUT_TENSORS" value { string_value: "no" } }\n'
    )


@pytest.fixture(scope="module")
def server(plan: Path, specs: Specs, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    root = tmp_path_factory.mktemp("served")
    for name in ("host", "device"):
        put(root / "repository", f"to_{name}", plan, specs, name)
    found = EmbeddedServer(
        root / "repository", ServerNeeds(restricted_apis=()), log_path=root / "log", ready_timeout_s=120
    )
    try:
        found.start()
        yield found
    finally:
        found.stop(grace_s=0)


@pytest.fixture(scope="module")
def cases(plan: Path, specs: Specs) -> list[tuple[Array, Array]]:
    """Values of the only input, and what the plan by itself answers."""
    from generator.engine.compile.tensorrt.runner import loaded

    [given], outputs = specs
    found = []
    with loaded(plan.read_bytes()) as runner:
        for seed in range(8):
            shape = (seed % 4 + 1, *given.dims)
            values = np.random.default_rng(seed).standard_normal(shape, np.float32).astype(NUMPY_DTYPES[given.dtype])
            found.append((values, runner.run({given.name: values})[outputs[0].name]))
    return found


@dataclass
class Region:
    """Memory of this process on the GPU, which the server has mapped."""

    name: str
    pointer: int
    size: int


@pytest.fixture
def regions(warmed: Cuda, server: EmbeddedServer, cases: list[tuple[Array, Array]]) -> Iterator[list[Region]]:
    """One for each case: room for its input, then for its answer."""
    import tritonclient.grpc as triton

    device, found = warmed, []
    with triton.InferenceServerClient(server.grpc_address) as client:
        for number, (values, expected) in enumerate(cases):
            size = values.nbytes + expected.nbytes
            region = Region(f"case {number}", device.allocate(size), size)
            handle = (ctypes.c_ubyte * 64)()
            assert device._lib.cuIpcGetMemHandle(ctypes.byref(handle), ctypes.c_void_p(region.pointer)) == 0
            client.register_cuda_shared_memory(region.name, base64.b64encode(bytes(handle)), 0, size)
            found.append(region)
        yield found
        client.unregister_cuda_shared_memory()
    device.use()
    for region in found:
        device.free(region.pointer)


@pytest.mark.parametrize("model", ["to_host", "to_device"])
def test_requests_from_the_gpu_and_from_the_host_in_the_same_batches(
    warmed: Cuda, server: EmbeddedServer, specs: Specs, cases: list[tuple[Array, Array]], regions: list[Region],
    model: str,
) -> None:  # fmt: skip
    import tritonclient.grpc as triton

    [given], outputs = specs
    pool = Pool(warmed)

    def ask(number: int) -> str:
        """Wrong answers of one client, which sends from the GPU and from the host in turn."""
        values, expected = cases[number]
        region = regions[number]
        wrong = []
        with triton.InferenceServerClient(server.grpc_address) as client:
            for turn in range(12):
                tensor: Any = triton.InferInput(given.name, list(values.shape), given.dtype)
                output: Any = triton.InferRequestedOutput(outputs[0].name)
                if on_gpu := (turn + number) % 3 != 0:
                    pool.fill(region.pointer, values.tobytes() + bytes(expected.nbytes))
                    tensor.set_shared_memory(region.name, values.nbytes)
                else:
                    tensor.set_data_from_numpy(values)
                if back := turn % 2 == 0:
                    pool.fill(region.pointer + values.nbytes, bytes(expected.nbytes))
                    output.set_shared_memory(region.name, expected.nbytes, offset=values.nbytes)
                answer = client.infer(model, [tensor], outputs=[output])
                if back:
                    data = pool.read(region.pointer + values.nbytes, expected.nbytes)
                    found = np.frombuffer(data, expected.dtype).reshape(expected.shape)
                else:
                    found = answer.as_numpy(outputs[0].name)
                if np.abs(found.astype(np.float64) - expected).max() / np.ptp(expected) >= 0.01:
                    wrong.append(f"turn {turn}, on the GPU {on_gpu}, back to it {back}")
        return "; ".join(wrong)

    with ThreadPoolExecutor(len(cases)) as clients:
        assert list(clients.map(ask, range(len(cases)))) == [""] * len(cases)
    with triton.InferenceServerClient(server.grpc_address) as client:
        (statistics,) = client.get_inference_statistics(model).model_stats
    assert statistics.execution_count < 12 * len(cases), "requests were to meet in batches"
    pool.close()


def test_a_region_that_is_smaller_than_the_tensor_costs_its_request_alone(
    server: EmbeddedServer, specs: Specs, cases: list[tuple[Array, Array]], regions: list[Region]
) -> None:
    import tritonclient.grpc as triton

    [given], outputs = specs
    values, expected = cases[3]
    with triton.InferenceServerClient(server.grpc_address) as client:
        tensor = triton.InferInput(given.name, list(values.shape), given.dtype)
        tensor.set_shared_memory(regions[3].name, regions[3].size + 4)
        with pytest.raises(triton.InferenceServerException, match=r"shared memory|byte size"):
            client.infer("to_host", [tensor])
        tensor.set_data_from_numpy(values)
        found = client.infer("to_host", [tensor]).as_numpy(outputs[0].name)
    assert np.abs(found.astype(np.float64) - expected).max() / np.ptp(expected) < 0.01
