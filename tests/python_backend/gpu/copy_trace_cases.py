"""What is served to be traced, and how a case is asked: pipelines of one plan, and tensors in every place."""

from __future__ import annotations

import base64
import ctypes
import json
import os
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
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
_PLACES = ("host", "device")
SIDE = 256  # of an image: a multiple of what the runtime aligns images to
# The kernel is told where its images lie: so many bytes for each of the largest batch, in front of the pixels.
TABLE_BYTES = 32 * MOST
PICTURES = "pictures"
# Three instances, and one process more that has the engine.
SHARED, SHARED_PICTURES, SHARED_PAIR = "shared", "shared_pictures", "pair_in_shared"
SHARING, _SHARING_INSTANCES = (SHARED, SHARED_PICTURES, SHARED_PAIR), 3
# Six, whose batches that process puts together (copy_trace_merged.py).
MERGED, MERGED_PAIR = "merged", "merged_pair"
IMAGES = (PICTURES, SHARED_PICTURES)  # they take encoded images
PAIRS = ("pair_in_host", "pair_in_device", SHARED_PAIR, MERGED_PAIR)  # two inputs, two outputs
# What the spec says of each one's buffers beside their sizes.
_BUFFERS = {
    **{f"{one}_to_{other}": f"inputs: {one}, outputs: {other}" for one in _PLACES for other in _PLACES},
    **{f"pair_in_{place}": f"inputs: {place}, outputs: {place}" for place in _PLACES},
    PICTURES: "preprocess: auto",
    **dict.fromkeys(SHARING, "process: shared"),
}
# The tensors of their plan, in its order: what goes in, and what comes out.
PAIR = (
    [TensorSpec("large", "FP32", (3, 64, 64)), TensorSpec("small", "FP32", (1024,))],
    [TensorSpec("twice", "FP32", (3, 64, 64)), TensorSpec("more", "FP32", (1024,))],
)
Sides = tuple[list[TensorSpec], list[TensorSpec]]

_ONNX_DTYPES = {
    "FP32": TensorProto.FLOAT, "FP16": TensorProto.FLOAT16, "INT32": TensorProto.INT32, "INT64": TensorProto.INT64,
    "UINT8": TensorProto.UINT8,
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """Requests of so many items, one at a time, to a model; with shared memory all tensors are in it."""

    model: str
    protocol: Protocol
    items: int

    def __str__(self) -> str:
        return f"{self.model}-{self.protocol}-{self.items}"


def _cases() -> list[Case]:
    """Each a bucket of its own: one item has its copies inside the recorded graph, four beside it (if it is large).
    With one request at a time no batches of several instances are put together.
    """
    protocols: tuple[Protocol, ...] = ("grpc", "system-shm", "cuda-shm")
    models = [f"{inputs}_to_{outputs}" for inputs in _PLACES for outputs in _PLACES]
    found = [Case(model, protocol, items) for model in models for protocol in protocols for items in (1, 4)]
    names = [model for model in PAIRS if model != MERGED_PAIR]
    pairs = [Case(model, protocol, items) for model in names for protocol in ("grpc", "cuda-shm") for items in (1, 4)]
    shared = [Case(SHARED, protocol, items) for protocol in protocols for items in (1, 4)]
    return [*found, *(Case(model, "grpc", items) for model in IMAGES for items in (1, 4)), *pairs, *shared]


CASES = _cases()


@dataclass(frozen=True)
class Served:
    """A rendered repository with the plans in it, what its server needs, the Plan of each model, and its tensors."""

    repository: Path
    needs: ServerNeeds
    plans: dict[str, Plan]
    sides: Mapping[str, Sides]

    def report(self, case: Case, instances: int = 1) -> Report:
        """What is to be seen of one request, or of one of each of so many instances, run as one batch."""
        lengths = {"image": len(picture(0)), self.sides[case.model][0][0].name: SIDE}
        sizes = Sizes(items=case.items, instances=instances, given=lengths)
        return copies_of(self.plans[case.model], case.protocol, sizes)


def make(folder: Path, plan: Path, given: TensorSpec, made: TensorSpec, pair: Path) -> Served:
    """Renders a pipeline for every place of inputs and outputs, those of images, of the plan `pair` and with an engine
    process, and puts the plans into each.
    """
    sides = {model: PAIR if model in PAIRS else ([given], [made]) for model in {case.model for case in CASES}}
    (folder / "models").mkdir(parents=True)
    write_onnx(folder / "models" / "net.onnx", *sides[PICTURES])
    write_onnx(folder / "models" / "pair.onnx", *PAIR)
    specs = {}
    for name in sorted(sides):
        specs[name] = spec_of(
            name, sides[name], "pair" if name in PAIRS else "net",
            f"buckets: [1, 4, {MOST}], slots: 2, {_BUFFERS[name]}",
            before=picture_steps(given) if name in IMAGES else "",
            instances=_SHARING_INSTANCES if name in SHARING else 1,
        )  # fmt: skip
    repository, names = rendered(folder, specs, lambda name: pair if name in PAIRS else plan)
    found = list({found.name: found for found in names.values()}.values())
    return Served(repository, replace(needs_of(found), restricted_apis=()), names, sides)


def picture_steps(given: TensorSpec) -> str:
    """What makes the engine's input of an encoded image, as a spec says it."""
    return (
        f"preprocess:\n  - decode: {{to: rgb}}\n  - resize: {{size: {list(given.dims[1:])}, method: linear}}\n"
        "  - normalize: {mean: 0, std: 255}\n  - channels_first\n"
    )


def spec_of(
    name: str, sides: Sides, onnx_file: str, buffers: str, *, before: str = "", instances: int = 1, more: str = "",
    most: int = MOST,
) -> str:  # fmt: skip
    """A fused pipeline of one engine, on GPU 0; with steps `before` it takes encoded images."""
    given, made = (
        ", ".join(f"{t.name}: {{type: {t.dtype.lower()}, dims: {list(t.dims)}}}" for t in tensors)
        for tensors in sides
    )
    return (
        f"name: {name}\ninputs: {{{'image: {type: bytes}' if before else given}}}\noutputs: {{{made}}}\n"
        f"model: {{onnx: models/{onnx_file}.onnx, buffers: {{{buffers}}}}}\n{before}layout: fused\n"
        f"batching: {{max_batch_size: {most}, max_queue_delay_us: 0, queue: null}}\n"
        f"instances: [{{kind: gpu, count: {instances}, gpus: [0]}}]\n{more}"
        'targets:\n  production: {server: "26.07", engine: tensorrt, precision: fp16, gpu: h200}\n'
    )


def rendered(
    folder: Path, specs: Mapping[str, str], plan_of: Callable[[str], Path]
) -> tuple[Path, dict[str, Plan]]:  # fmt: skip
    """The repository of the specs, with the plan of each engine in its place; and the Plan of each model."""
    (folder / "specs").mkdir(parents=True)
    for name, text in specs.items():
        (folder / "specs" / f"{name}.yaml").write_text(text)
    work = open_workspace(Project(folder), target="production")
    work.stop_on_errors()
    [tree] = render_trees(work)
    repository = folder / "repository"
    write(tree.files, repository, owner_of=tree.owners.__getitem__, prune=True, whole=True)
    [plans] = work.plans.values()
    names = {model.name: found for found in plans for model in found.models}
    for name in names:
        version = repository / name / "1"
        if not (version / "tritonkit.json").exists():
            continue
        for file in _engines(json.loads((version / "tritonkit.json").read_bytes())["program"]):
            (version / file).symlink_to(plan_of(name).resolve())
        # The server's Python has this one's packages, and need not have the runtime.
        model = version / "model.py"
        runtime = str(Path(tritonkit_runtime.__file__).parents[1])
        model.write_text(f"import sys\nsys.path.insert(0, {runtime!r})\n{model.read_text()}")
    return repository, names


def _engines(program: dict[str, Any]) -> list[str]:
    """The files of a program's engines."""
    programs = [stage["program"] for stage in program.get("stages", [])] or [program]
    return [found["file"] for found in programs if found["kind"] == "engine"]


def write_onnx(path: Path, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> None:
    """A graph with a plan's tensors, where each output is twice an input. A plan may stand in its place."""
    infos = [
        [helper.make_tensor_value_info(t.name, _ONNX_DTYPES[t.dtype], ["n", *t.dims]) for t in tensors]
        for tensors in (inputs, outputs)
    ]
    nodes = [
        helper.make_node("Add", [given.name, given.name], [made.name])
        for given, made in zip(inputs, outputs, strict=True)
    ]
    graph = helper.make_graph(nodes, "g", *infos)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def build_pair(folder: Path, most: int) -> Path:
    """A plan with two inputs and two outputs, built here for up to so many items."""
    from generator.engine.compile.base import Settings, ShapeRange
    from generator.engine.compile.tensorrt.compiler import TensorRT

    folder.mkdir(parents=True, exist_ok=True)
    write_onnx(folder / "pair.onnx", *PAIR)
    shapes = {t.name: ShapeRange((1, *t.dims), (4, *t.dims), (most, *t.dims)) for t in PAIR[0]}
    made = TensorRT(limit_s=120).compile((folder / "pair.onnx").read_bytes(), Settings("fp32", [shapes]), print)
    (folder / "pair.plan").write_bytes(made.data)
    return folder / "pair.plan"


def picture(seed: int) -> bytes:
    """A PNG file of SIDE x SIDE pixels without any pattern."""
    rows = np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE * 3), np.uint8)
    data = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows), 0)

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    head = struct.pack(">IIBBBBB", SIDE, SIDE, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def tensors_of(served: Served, case: Case, number: int = 0) -> list[tuple[str, str, Array]]:
    """What the client of this number sends, the same every time: names, types and values."""
    if case.model in IMAGES:
        return [("image", "BYTES", np.array([[picture(seed)] for seed in range(case.items)], np.object_))]
    found = []
    for tensor in served.sides[case.model][0]:
        values = np.random.default_rng([case.items, number]).standard_normal((case.items, *tensor.dims), np.float32)
        found.append((tensor.name, tensor.dtype, values.astype(NUMPY_DTYPES[tensor.dtype])))
    return found


@contextmanager
def asking(
    client: Any, device: Cuda, served: Served, case: Case, number: int = 0
) -> Iterator[Callable[[], Array]]:  # fmt: skip
    """A function that sends one request and gives its answers, one after the other as numbers; regions are there as
    long as the context.
    """
    import tritonclient.grpc as triton

    sent, made = tensors_of(served, case, number), served.sides[case.model][1]
    kinds = [NUMPY_DTYPES[tensor.dtype] for tensor in made]
    sizes = [int(np.prod((case.items, *t.dims))) * kind.itemsize for t, kind in zip(made, kinds, strict=True)]
    tensors = [triton.InferInput(name, list(values.shape), kind) for name, kind, values in sent]
    outputs = [triton.InferRequestedOutput(tensor.name) for tensor in made]
    in_region = b"" if case.model in IMAGES else b"".join(values.tobytes() for _, _, values in sent)
    region = f"{case}-{number}"
    with _region(client, device, case.protocol, region, in_region, sum(sizes)) as read:
        at = 0
        for tensor, (_, _, values) in zip(tensors, sent, strict=True):
            if read is None:
                tensor.set_data_from_numpy(values)
            else:
                tensor.set_shared_memory(region, values.nbytes, offset=at)
                at += values.nbytes
        for output, size in zip(outputs, sizes, strict=True) if read is not None else ():
            output.set_shared_memory(region, size, offset=at)
            at += size

        def ask() -> Array:
            answer = client.infer(case.model, tensors, outputs=outputs)
            if read is None:
                found = [answer.as_numpy(tensor.name) for tensor in made]
            else:
                data, ends = read(), np.cumsum(sizes)
                found = [
                    np.frombuffer(data[end - size : end], kind)
                    for end, size, kind in zip(ends, sizes, kinds, strict=True)
                ]
            return np.concatenate([values.astype(np.float64).ravel() for values in found])

        yield ask


@contextmanager
def _region(
    client: Any, device: Cuda, protocol: Protocol, name: str, values: bytes, answer_bytes: int
) -> Iterator[Callable[[], bytes] | None]:
    """A registered region that begins with the values; gives what reads the answers behind them."""
    import tritonclient.grpc as triton

    size = len(values) + answer_bytes
    if protocol == "system-shm":
        file = Path("/dev/shm") / f"tritonkit-test-{os.getpid()}-{name}"
        file.write_bytes(values + bytes(answer_bytes))
        try:
            client.register_system_shared_memory(name, f"/{file.name}", size)
            yield lambda: file.read_bytes()[len(values) :]
        finally:
            with suppress(triton.InferenceServerException):  # of a server that is gone
                client.unregister_system_shared_memory(name)
            file.unlink()
    elif protocol == "cuda-shm":
        device.use()
        pool = Pool(device)
        pointer = pool.take(size)
        handle = (ctypes.c_ubyte * 64)()
        try:
            pool.fill(pointer, values + bytes(answer_bytes))
            assert device._lib.cuIpcGetMemHandle(ctypes.byref(handle), ctypes.c_void_p(pointer)) == 0
            client.register_cuda_shared_memory(name, base64.b64encode(bytes(handle)), 0, size)
            yield lambda: pool.read(pointer + len(values), answer_bytes)
        finally:
            with suppress(triton.InferenceServerException):
                client.unregister_cuda_shared_memory(name)
            pool.close()
    else:
        yield None
