"""What is served to be traced, and how a case is asked: pipelines of one plan, and tensors in every place."""

from __future__ import annotations

import base64
import ctypes
import json
import os
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from device_memory import Pool
from onnx import TensorProto, helper

import tritonkit_runtime
from deploy.embedded.flags import ServerNeeds
from deploy.embedded.needs import needs_of
from generator.copies import Protocol, Report, Sizes, copies_of
from generator.plan import Plan
from generator.project import Project
from generator.workspace import open_workspace, render_trees
from generator.write import write
from tritonkit_runtime.batch import Array
from tritonkit_runtime.device.cuda import Cuda
from tritonkit_runtime.dtypes import NUMPY_DTYPES
from tritonkit_runtime.parameters import TensorSpec

MOST = 16
SIDE = 256  # of an image: a multiple of what the runtime aligns images to
# The kernel is told where its images lie: so many bytes for each of the largest batch, in front of the pixels.
TABLE_BYTES = 32 * MOST
PICTURES = "pictures"

_ONNX_DTYPES = {
    "FP32": TensorProto.FLOAT, "FP16": TensorProto.FLOAT16, "INT32": TensorProto.INT32, "INT64": TensorProto.INT64,
    "UINT8": TensorProto.UINT8,
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """Requests of so many items, one at a time, to a model; with shared memory both tensors are in it."""

    model: str
    protocol: Protocol
    items: int

    def __str__(self) -> str:
        return f"{self.model}-{self.protocol}-{self.items}"


def _cases() -> list[Case]:
    """Each a bucket of its own: one item has its copies inside the recorded graph, four beside it (if it is large)."""
    protocols: tuple[Protocol, ...] = ("grpc", "system-shm", "cuda-shm")
    models = [f"{inputs}_to_{outputs}" for inputs in ("host", "device") for outputs in ("host", "device")]
    found = [Case(model, protocol, items) for model in models for protocol in protocols for items in (1, 4)]
    return [*found, Case(PICTURES, "grpc", 1), Case(PICTURES, "grpc", 4)]


CASES = _cases()


@dataclass(frozen=True)
class Served:
    """A rendered repository with the plan in it, what its server needs, and the Plan of each model."""

    repository: Path
    needs: ServerNeeds
    plans: dict[str, Plan]
    given: TensorSpec
    made: TensorSpec

    def report(self, case: Case) -> Report:
        """What is to be seen of one request."""
        lengths = {"image": len(picture(0)), self.given.name: SIDE}
        return copies_of(self.plans[case.model], case.protocol, Sizes(items=case.items, given=lengths))


def make(folder: Path, plan: Path, given: TensorSpec, made: TensorSpec) -> Served:
    """Renders a pipeline for every place of inputs and outputs, and one of images, and puts the plan into each."""
    (folder / "specs").mkdir(parents=True)
    (folder / "models").mkdir()
    _write_onnx(folder / "models" / "net.onnx", given, made)
    tensor = f"inputs: {{{given.name}: {{type: {given.dtype.lower()}, dims: {list(given.dims)}}}}}\n"
    for name in sorted({case.model for case in CASES}):
        before, buffers = "", f"buckets: [1, 4, {MOST}], slots: 2"
        if name == PICTURES:
            tensors, buffers = "inputs: {image: {type: bytes}}\n", f"{buffers}, preprocess: auto"
            before = (
                f"preprocess:\n  - decode: {{to: rgb}}\n  - resize: {{size: {list(given.dims[1:])}, method: linear}}\n"
                "  - normalize: {mean: 0, std: 255}\n  - channels_first\n"
            )
        else:
            inputs, outputs = name.split("_to_")
            tensors, buffers = tensor, f"{buffers}, inputs: {inputs}, outputs: {outputs}"
        (folder / "specs" / f"{name}.yaml").write_text(
            f"name: {name}\n{tensors}"
            f"outputs: {{{made.name}: {{type: {made.dtype.lower()}, dims: {list(made.dims)}}}}}\n"
            f"model: {{onnx: models/net.onnx, buffers: {{{buffers}}}}}\n{before}layout: fused\n"
            f"batching: {{max_batch_size: {MOST}, max_queue_delay_us: 0, queue: null}}\n"
            "instances: [{kind: gpu, count: 1, gpus: [0]}]\n"
            'targets:\n  production: {server: "26.07", engine: tensorrt, precision: fp16, gpu: h200}\n'
        )
    work = open_workspace(Project(folder), target="production")
    work.stop_on_errors()
    [tree] = render_trees(work)
    repository = folder / "repository"
    write(tree.files, repository, owner_of=tree.owners.__getitem__, prune=True, whole=True)
    [plans] = work.plans.values()
    names = {model.name: found for found in plans for model in found.models}
    for name in names:
        version = repository / name / "1"
        [file] = _engines(json.loads((version / "tritonkit.json").read_bytes())["program"])
        (version / file).symlink_to(plan.resolve())
        # The server's Python has this one's packages, and need not have the runtime.
        model = version / "model.py"
        runtime = str(Path(tritonkit_runtime.__file__).parents[1])
        model.write_text(f"import sys\nsys.path.insert(0, {runtime!r})\n{model.read_text()}")
    return Served(repository, replace(needs_of(plans), restricted_apis=()), names, given, made)


def _engines(program: dict[str, Any]) -> list[str]:
    """The files of a program's engines."""
    programs = [stage["program"] for stage in program.get("stages", [])] or [program]
    return [found["file"] for found in programs if found["kind"] == "engine"]


def _write_onnx(path: Path, given: TensorSpec, made: TensorSpec) -> None:
    """A graph with the plan's tensors. It is never run: the plan stands in its engine's place."""
    infos = [
        helper.make_tensor_value_info(tensor.name, _ONNX_DTYPES[tensor.dtype], ["n", *tensor.dims])
        for tensor in (given, made)
    ]
    graph = helper.make_graph([helper.make_node("Identity", [given.name], [made.name])], "g", infos[:1], infos[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def picture(seed: int) -> bytes:
    """A PNG file of SIDE x SIDE pixels without any pattern."""
    rows = np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE * 3), np.uint8)
    data = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows), 0)

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    head = struct.pack(">IIBBBBB", SIDE, SIDE, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def tensor_of(served: Served, case: Case) -> Array:
    """What a client sends, the same every time."""
    if case.model == PICTURES:
        return np.array([[picture(seed)] for seed in range(case.items)], np.object_)
    shape = (case.items, *served.given.dims)
    values = np.random.default_rng(case.items).standard_normal(shape, np.float32)
    return values.astype(NUMPY_DTYPES[served.given.dtype])


@contextmanager
def asking(client: Any, device: Cuda, served: Served, case: Case) -> Iterator[Callable[[], Array]]:
    """A function that sends one request and gives its answer; regions are there as long as the context."""
    import tritonclient.grpc as triton

    values = tensor_of(served, case)
    shape, dtype = (case.items, *served.made.dims), NUMPY_DTYPES[served.made.dtype]
    answer_bytes = int(np.prod(shape)) * dtype.itemsize
    name, kind = ("image", "BYTES") if case.model == PICTURES else (served.given.name, served.given.dtype)
    tensor, output = triton.InferInput(name, list(values.shape), kind), triton.InferRequestedOutput(served.made.name)
    with _region(client, device, case, values, answer_bytes) as read:
        if read is None:
            tensor.set_data_from_numpy(values)
        else:
            tensor.set_shared_memory(str(case), values.nbytes)
            output.set_shared_memory(str(case), answer_bytes, offset=values.nbytes)

        def ask() -> Array:
            answer = client.infer(case.model, [tensor], outputs=[output])
            if read is None:
                found: Array = answer.as_numpy(served.made.name)
                return found
            return np.frombuffer(read(), dtype).reshape(shape)

        yield ask


@contextmanager
def _region(
    client: Any, device: Cuda, case: Case, values: Array, answer_bytes: int
) -> Iterator[Callable[[], bytes] | None]:
    """A registered region that begins with the values; gives what reads the answer behind them."""
    import tritonclient.grpc as triton

    name, size = str(case), values.nbytes + answer_bytes
    if case.protocol == "system-shm":
        file = Path("/dev/shm") / f"tritonkit-test-{os.getpid()}-{name}"
        file.write_bytes(values.tobytes() + bytes(answer_bytes))
        try:
            client.register_system_shared_memory(name, f"/{file.name}", size)
            yield lambda: file.read_bytes()[values.nbytes :]
        finally:
            with suppress(triton.InferenceServerException):  # of a server that is gone
                client.unregister_system_shared_memory(name)
            file.unlink()
    elif case.protocol == "cuda-shm":
        device.use()
        pool = Pool(device)
        pointer = pool.take(size)
        handle = (ctypes.c_ubyte * 64)()
        try:
            pool.fill(pointer, values.tobytes() + bytes(answer_bytes))
            assert device._lib.cuIpcGetMemHandle(ctypes.byref(handle), ctypes.c_void_p(pointer)) == 0
            client.register_cuda_shared_memory(name, base64.b64encode(bytes(handle)), 0, size)
            yield lambda: pool.read(pointer + values.nbytes, answer_bytes)
        finally:
            with suppress(triton.InferenceServerException):
                client.unregister_cuda_shared_memory(name)
            pool.close()
    else:
        yield None
