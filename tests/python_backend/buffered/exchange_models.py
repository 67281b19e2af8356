"""Models whose tensors the server hands over by DLPack, loaded as the server loads them, on made-up devices."""

from __future__ import annotations

import ctypes
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_device import FakeDevice
from fake_engine import FakeEngine
from fake_server import Given, Request, Response, installed

from tritonkit_runtime.batch import Array
from tritonkit_runtime.buffered.shapes import Fixed
from tritonkit_runtime.device import dlpack

X = {"name": "x", "dtype": "FP32", "dims": [3]}
K = {"name": "k", "dtype": "INT64", "dims": []}
Y = {"name": "y", "dtype": "FP32", "dims": [3]}
TOTAL = {"name": "total", "dtype": "FP32", "dims": [1]}
KEEP_STEP = {"kind": "steps", "steps": [{"step": "cast", "to": "fp16"}]}


def engine(**buffers: Any) -> dict[str, Any]:
    told = {"buckets": [1, 2, 4, 8], "slots": 2, "copies": "auto", **buffers}
    return {"kind": "engine", "engine": "onnxruntime", "file": "net.onnx", "intra_op_threads": 1, "buffers": told}


def model(program: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {
        "format": 1, "pipeline": "p", "model": "m", "max_batch_size": 8, "inputs": [X, K], "outputs": [Y, TOTAL],
        "limits": {"max_bytes": 1, "max_pixels": 1}, "program": program, **fields,
    }  # fmt: skip


def stage(name: str, program: dict[str, Any], inputs: list[Any], outputs: list[Any], **names: Any) -> dict[str, Any]:
    return {
        "name": name, "program": program, "inputs": inputs, "outputs": outputs,
        "takes": names.get("takes", {t["name"]: t["name"] for t in inputs}),
        "gives": names.get("gives", {t["name"]: t["name"] for t in outputs}),
    }  # fmt: skip


def halved(**buffers: Any) -> dict[str, Any]:
    """The engine, then a step on the host that makes FP16 of its output."""
    half = {"name": "half", "dtype": "FP16", "dims": [3]}
    stages = [
        stage("engine", engine(**buffers), [X, K], [Y, TOTAL]),
        stage("after", KEEP_STEP, [Y], [half]),
    ]
    return model({"kind": "flow", "stages": stages}, outputs=[half, TOTAL])


@dataclass
class Loaded:
    """The server's model, and the device that it runs on."""

    model: Any
    device: FakeDevice

    def execute(self, *requests: Request) -> list[Response]:
        found: list[Response] = self.model.execute(list(requests))
        return found

    def free_lanes(self) -> int:
        runner = self.model._program._runner
        while not hasattr(runner, "_loaded"):
            runner = runner._runners[0]
        free: int = runner._loaded.ring.free
        return free


Load = Callable[..., Loaded]


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Load]:
    """Loads tritonkit.json as the server does; every GPU and engine is a made-up one."""
    adapter = installed(monkeypatch)
    devices: list[FakeDevice] = []

    def gpu(index: int) -> FakeDevice:
        devices.append(FakeDevice(seed=len(devices)))
        return devices[-1]

    def made(device: FakeDevice, path: Path, inputs: Any, outputs: Any, sizes: Any, **options: Any) -> Any:
        if inputs[0].dtype == "BF16":
            return Bits(device)
        return FakeEngine(device, batched=options["batched"])

    monkeypatch.setattr("tritonkit_runtime.buffered.loading._gpu", gpu)
    monkeypatch.setattr("tritonkit_runtime.buffered.onnxruntime.OnnxRuntime", made)

    def run(document: dict[str, Any], gpu: int = 0, *, says_no: bool = False) -> Loaded:
        folder = tmp_path / "m" / "1"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "net.onnx").write_bytes(b"")
        (folder / "tritonkit.json").write_text(json.dumps(document))
        config: dict[str, Any] = {"max_batch_size": document["max_batch_size"]}
        if says_no:
            config["parameters"] = {"FORCE_CPU_ONLY_INPUT_TENSORS": {"string_value": "no"}}
        for side in ("input", "output"):
            config[side] = [{**t, "data_type": f"TYPE_{t['dtype']}"} for t in document[f"{side}s"]]
        loaded = adapter.TritonPythonModel()
        loaded.initialize({
            "model_repository": str(tmp_path / "m"), "model_version": "1", "model_config": json.dumps(config),
            "model_instance_kind": "GPU", "model_instance_device_id": str(gpu),
        })  # fmt: skip
        return Loaded(loaded, devices[-1] if devices else FakeDevice())

    yield run
    assert dlpack.lent() == 0, "every capsule was let go of"
    del sys.modules["tritonkit_runtime.adapter"]


class Bits(FakeEngine):
    """BF16 in and out: the bits with the sign turned."""

    def __init__(self, device: FakeDevice) -> None:
        super().__init__(device)
        self.inputs, self.outputs = (Fixed("x", "BF16", (3,)),), (Fixed("y", "BF16", (3,)),)

    def session(self, stream: int) -> Any:
        session = super().session(stream)
        inside = session._addresses

        def compute(size: Any) -> None:
            count = size.items * 3
            x, y = ((ctypes.c_uint16 * count).from_address(session._addresses[name]) for name in ("x", "y"))
            for index in range(count):
                y[index] = x[index] ^ 0x8000

        assert inside == {}
        session._compute = compute
        return session


def of(items: int, seed: int) -> tuple[Array, Array]:
    lot = np.random.default_rng(seed)
    return lot.normal(size=(items, 3)).astype(np.float32), lot.integers(0, 9, items)


def right(x: Array, k: Array) -> Array:
    found: Array = 2 * x + k[:, None].astype(np.float32)
    return found


def request(loaded: Loaded, x: Array, k: Array, where: int) -> Request:
    """`where`: bit 1, x lies on the device; bit 2, k does."""
    return Request([
        Given("x", x, loaded.device if where & 1 else None), Given("k", k, loaded.device if where & 2 else None),
    ])  # fmt: skip
