"""BF16 through the real server: taken from the stub by DLPack, and given to it so, for numpy has no such type."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tritonkit_runtime.self_contained import sources

pytestmark = pytest.mark.server

MODEL = """
import os, sys
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from tritonkit_runtime import adapter
from tritonkit_runtime.device import dlpack


class TritonPythonModel(adapter.TritonPythonModel):
    def execute(self, requests):
        # What was lent in the execution before has come back.
        assert dlpack.lent() == 0, dlpack.lent()
        return super().execute(requests)
"""
CONFIG = """
name: "same" backend: "python" max_batch_size: 8
input { name: "x" data_type: TYPE_BF16 dims: 4 }
output { name: "y" data_type: TYPE_BF16 dims: 4 }
instance_group { kind: KIND_CPU count: 1 }
dynamic_batching { max_queue_delay_microseconds: 2000 }
"""


@pytest.fixture(scope="module")
def server(serve: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A model whose engine runs in plain memory and gives what it was given."""
    repository = tmp_path_factory.mktemp("repository")
    folder = repository / "same" / "1"
    for path, content in sources((), {"onnxruntime"}).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    (folder / "model.py").write_text(MODEL)
    (folder.parent / "config.pbtxt").write_text(CONFIG)
    sides = [helper.make_tensor_value_info(name, TensorProto.BFLOAT16, ["n", 4]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", sides[:1], sides[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, folder / "same.onnx")
    tensors = [{"name": name, "dtype": "BF16", "dims": [4]} for name in "xy"]
    document = {
        "format": 1, "pipeline": "same", "model": "same", "max_batch_size": 8,
        "inputs": tensors[:1], "outputs": tensors[1:], "limits": {"max_bytes": 1, "max_pixels": 1},
        "program": {
            "kind": "engine", "engine": "onnxruntime", "file": "same.onnx", "intra_op_threads": 1,
            "buffers": {"buckets": [1, 2, 4, 8], "slots": 2, "copies": "auto"},
        },
    }  # fmt: skip
    (folder / "tritonkit.json").write_text(json.dumps(document))
    with serve(repository) as running:
        yield running


def test_many_batches_come_back_bit_for_bit_and_nothing_stays_lent(server: Any) -> None:
    import tritonclient.grpc as triton

    def ask(seed: int) -> bool:
        lot = np.random.default_rng(seed)
        with triton.InferenceServerClient(server.grpc) as client:
            for items in lot.integers(1, 9, size=50).tolist():
                bits = lot.integers(0, 1 << 16, (items, 4)).astype(np.uint16)
                tensor = triton.InferInput("x", [items, 4], "BF16")
                tensor._raw_content = bits.tobytes()  # the library takes FP32 and rounds it
                answer = client.infer("same", [tensor]).get_response().raw_output_contents[0]
                if answer != bits.tobytes():
                    return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(ask, range(4)))
