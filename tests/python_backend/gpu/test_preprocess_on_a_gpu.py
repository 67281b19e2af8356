"""The kernel of the steps before an engine on a real GPU: its pixels, its place in a ring, and in a program."""

from __future__ import annotations

import json
import shutil
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tritonkit_runtime import parameters
from tritonkit_runtime.batch import Array, Batch, concatenate
from tritonkit_runtime.buffered.lane import Lane
from tritonkit_runtime.buffered.ring import Ring
from tritonkit_runtime.buffered.shapes import Fixed, Size
from tritonkit_runtime.device.cuda import Cuda
from tritonkit_runtime.device.held import Held
from tritonkit_runtime.parameters import Copies, Limits, StepSpec, TensorSpec
from tritonkit_runtime.preprocess import nvrtc
from tritonkit_runtime.preprocess.errors import NotOnGpuError
from tritonkit_runtime.preprocess.kernel import Kernel
from tritonkit_runtime.preprocess.recipe import Recipe, read
from tritonkit_runtime.programs import Program
from tritonkit_runtime.steps import Chain
from tritonkit_runtime.steps.base import Images

pytestmark = pytest.mark.gpu

MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]
SIZES = (1, 4, 16)
Specs = tuple[list[TensorSpec], list[TensorSpec]]


def steps(size: list[int], method: str, *after: tuple[str, dict[str, Any]]) -> list[StepSpec]:
    found = [("resize", {"size": size, "method": method}), *after]
    return [StepSpec(name, arguments) for name, arguments in found]


NORMAL = ("normalize", {"mean": MEAN, "std": STD})
HALF = ("cast", {"to": "fp16"})
FIRST: tuple[str, dict[str, Any]] = ("channels_first", {})


def recipe_of(specs: list[StepSpec], channels: int = 3) -> Recipe:
    return read(specs, TensorSpec("images", "UINT8", (-1, -1, channels)), Limits())


def on_cpu(specs: list[StepSpec], images: list[Array]) -> Array:
    channels = images[0].shape[2]
    found: Array = Chain(specs, "images", Limits())(Batch({}, (len(images),)), Images(images, channels))
    return found


@pytest.fixture(scope="module")
def loaded() -> Cuda:
    """The first GPU, after a kernel has been there once: what the driver keeps for good is there."""
    cuda = Cuda()
    Kernel(cuda, recipe_of(steps([4, 4], "linear")), "pixels", 100).close()
    return cuda


@pytest.fixture
def cuda(loaded: Cuda) -> Iterator[Cuda]:
    """The first GPU, whose memory has its level again afterwards."""
    free = loaded.memory()[0]
    yield loaded
    assert loaded.memory()[0] >= free - (32 << 20)


ECHO = r"""
extern "C" __global__ void echo(const unsigned char* given, unsigned char* made) {
    unsigned long long at = (unsigned long long)blockIdx.x * blockDim.x + threadIdx.x;
    made[at] = given[at];
}
"""


class Echo:
    """A BufferedEngine that gives what it is given, with a kernel of its own: no TensorRT is needed for the ring."""

    def __init__(self, device: Cuda, recipe: Recipe) -> None:
        self.recordable, self.batched, self.about = True, True, "the echo"
        shape, dtype = recipe.made
        triton = {"float32": "FP32", "float16": "FP16", "uint8": "UINT8"}[dtype.name]
        self.inputs: tuple[Fixed, ...] = (Fixed("pixels", triton, shape),)
        self.outputs: tuple[Fixed, ...] = (Fixed("echo", triton, shape),)
        self._held = Held()
        facts = device.facts()
        image = nvrtc.compiled(ECHO, [], capability=facts["compute_capability"], cuda=facts["cuda"])
        module = self._held.handle(device.module(image), device.free_module)
        self.device, self.function = device, device.function(module, "echo")

    def session(self, stream: int) -> EchoSession:
        return EchoSession(self)

    def close(self) -> None:
        self._held.close()


class EchoSession:
    """A Session."""

    def __init__(self, engine: Echo) -> None:
        self._engine = engine
        self._pointers: tuple[int, ...] = ()

    def warm(self, size: Size, addresses: Mapping[str, int], stream: int) -> None:
        self._pointers = (addresses["pixels"], addresses["echo"])
        self.run(size, stream)

    def run(self, size: Size, stream: int) -> None:
        engine = self._engine
        blocks, rest = divmod(engine.inputs[0].bytes_of(*size), 32)
        assert not rest
        engine.device.run(engine.function, (blocks, 1, 1), (32, 1, 1), self._pointers, stream)

    def shape(self, name: str) -> tuple[int, ...]:
        raise KeyError(name)

    def close(self) -> None:
        pass


class Served:
    """A ring around the echo whose input the kernel fills."""

    def __init__(self, cuda: Cuda, specs: list[StepSpec], channels: int = 3, **options: Any) -> None:
        self.specs, recipe = specs, recipe_of(specs, channels)
        self.kernel = Kernel(cuda, recipe, "pixels", options.pop("max_pixels", 1 << 20))
        self.engine = Echo(cuda, recipe)
        self.ring = Ring(cuda, self.engine, SIZES, feeder=self.kernel, **options)

    def begin(self, images: list[Array]) -> Lane:
        lane = self.ring.take()
        staging = self.kernel.stagings[lane.number]
        staging.clear()
        for index, image in enumerate(images):
            passing = image.copy()
            staging.add(passing, len(images) - index - 1)
            passing[...] = 0xA5
        self.ring.start(lane, len(images))
        return lane

    def end(self, lane: Lane) -> Array:
        found = self.ring.finish(lane)["echo"].copy()
        self.ring.give_back(lane)
        return found

    def run(self, images: list[Array]) -> Array:
        return self.end(self.begin(images))

    def close(self) -> None:
        self.ring.close()
        self.kernel.close()
        self.engine.close()


def some(seed: int, count: int, channels: int = 3, most: int = 900) -> list[Array]:
    lot = np.random.default_rng(seed)
    return [lot.integers(0, 256, (int(h), int(w), channels), np.uint8) for h, w in lot.integers(1, most, (count, 2))]


@pytest.mark.parametrize("method", ["nearest", "linear", "area"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_pixels_are_those_of_the_cpu(cuda: Cuda, method: str, channels: int) -> None:
    served = Served(cuda, steps([224, 160], method), channels, slots=2)
    lot = np.random.default_rng(1)
    sides = [(1, 1), (224, 160), (448, 320), (672, 480), (448, 480), (1, 900), (900, 1), (375, 500), (1080, 1920)]
    odd = [lot.integers(0, 256, (*side, channels), np.uint8) for side in sides]
    for images in (odd, *(some(seed, 16, channels) for seed in range(3))):
        found, expected = served.run(images), on_cpu(served.specs, images)
        assert np.abs(found.astype(int) - expected).max() <= 1
        if method != "area":  # whole numbers, and the same fractions to the bit
            np.testing.assert_array_equal(found, expected)
    served.close()


@pytest.mark.parametrize("after", [(NORMAL, FIRST), (NORMAL, FIRST, HALF), (NORMAL,)], ids=["fp32", "fp16", "last"])
def test_what_comes_after_is_the_steps_own_to_the_bit(cuda: Cuda, after: tuple[Any, ...]) -> None:
    served = Served(cuda, steps([96, 64], "linear", *after), slots=2)
    images = some(5, 11)
    assert served.run(images).tobytes() == on_cpu(served.specs, images).tobytes()
    served.close()


@pytest.mark.parametrize("copies", ["inside", "beside"])
@pytest.mark.parametrize("graphs", [True, False])
def test_batches_in_flight_do_not_touch_each_other(cuda: Cuda, copies: Copies, graphs: bool) -> None:
    served = Served(cuda, steps([64, 96], "linear", NORMAL, FIRST), slots=3, copies=copies, graphs=graphs)
    under_way = deque[tuple[Lane, list[Array]]]()
    for number, count in enumerate(np.random.default_rng(2).integers(1, 17, 40).tolist()):
        if not served.ring.free:
            lane, images = under_way.popleft()
            np.testing.assert_array_equal(served.end(lane), on_cpu(served.specs, images))
        images = some(number, count, most=300)
        under_way.append((served.begin(images), images))
    for lane, images in under_way:
        np.testing.assert_array_equal(served.end(lane), on_cpu(served.specs, images))
    served.close()


def test_nothing_is_allocated_while_it_runs(cuda: Cuda) -> None:
    served = Served(cuda, steps([64, 96], "linear", NORMAL, FIRST), slots=2)
    images = some(0, 16, most=200)
    served.run(images)
    before = cuda.memory()[0]
    for count in np.random.default_rng(0).integers(1, 17, 200):
        served.run(images[:count])
    assert cuda.memory()[0] == before
    served.close()


def test_images_without_room_are_the_same(cuda: Cuda) -> None:
    served = Served(cuda, steps([64, 96], "linear", NORMAL, FIRST), slots=2, max_pixels=7000)
    images = some(4, 16, most=400)
    np.testing.assert_array_equal(served.run(images), on_cpu(served.specs, images))
    assert sum(staging.shrunk for staging in served.kernel.stagings) > 0
    served.close()


def test_code_that_the_driver_does_not_take(cuda: Cuda) -> None:
    with pytest.raises(NotOnGpuError, match="the driver does not load the compiled kernel: cuModuleLoadData failed"):
        Kernel(cuda, recipe_of(steps([4, 4], "linear")), "pixels", 100, compiled=lambda *_, **__: b"no code\0")


def test_what_nvrtc_does_not_compile(cuda: Cuda) -> None:
    facts = cuda.facts()
    with pytest.raises(NotOnGpuError, match=r"does not compile the kernel: tritonkit\.cu\(1\): error: "):
        nvrtc.compiled("nonsense;", [], capability=facts["compute_capability"], cuda=facts["cuda"])


def flow(plan: Path, specs: Specs, folder: Path, preprocess: str) -> Program:
    """Images of PNG files to the plan's only input: in colour where it has three channels, else any shape in gray."""
    shutil.copy(plan, folder / "model.plan")
    [given], outputs = specs
    sides = [[{"name": t.name, "dtype": t.dtype, "dims": list(t.dims)} for t in tensors] for tensors in specs]
    dims = list(given.dims)
    if len(dims) == 3 and dims[0] == 3:
        made = [{"step": "decode", "to": "rgb"}, {"step": "resize", "size": dims[1:], "method": "linear"},
                {"step": "normalize", "mean": MEAN, "std": STD}, {"step": "channels_first"}]  # fmt: skip
    else:
        flat = [dims[0], int(np.prod(dims[1:]))]
        made = [{"step": "decode", "to": "gray"}, {"step": "resize", "size": flat, "method": "linear"},
                {"step": "normalize", "mean": 127.5, "std": 64.0}, {"step": "reshape", "dims": dims}]  # fmt: skip
    image = {"name": "image", "dtype": "STRING", "dims": [1]}
    document = {
        "format": 1, "pipeline": "p", "model": "m", "max_batch_size": 16, "inputs": [image], "outputs": sides[1],
        "limits": {"max_bytes": 10_000_000, "max_pixels": 10_000_000},
        "program": {"kind": "flow", "stages": [
            {"name": "steps", "inputs": [image], "outputs": sides[0], "takes": {"image": "image"},
             "gives": {given.name: "between"}, "program": {"kind": "steps", "steps": made}},
            {"name": "engine", "inputs": sides[0], "outputs": sides[1], "takes": {given.name: "between"},
             "gives": {t.name: t.name for t in outputs}, "program": {
                 "kind": "engine", "engine": "tensorrt", "file": "model.plan", "intra_op_threads": 1,
                 "buffers": {"buckets": list(SIZES), "slots": 2, "copies": "auto", "preprocess": preprocess}}},
        ]},
    }  # fmt: skip
    return Program(parameters.parse(json.loads(json.dumps(document))), folder, print, 0)


def test_a_program_answers_as_with_steps_on_the_cpu(
    device: Cuda, plan: Path, specs: Specs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    on_gpu, usual = (flow(plan, specs, tmp_path, preprocess) for preprocess in ("gpu", "cpu"))
    assert device.facts()["gpu"]
    lot = np.random.default_rng(1)
    for count in (1, 3, 4, 11, 16):
        images = [cv2.imencode(".png", image)[1].tobytes() for image in some(count, count, most=400)]
        if count == 11:
            images[int(lot.integers(count))] = b"no image"
        tensors = {"image": np.array(images, object)[:, np.newaxis]}
        batches = [concatenate([{"image": tensors["image"][i : i + 1]} for i in range(count)]) for _ in range(2)]
        answers = [program.run(batch) for program, batch in zip((on_gpu, usual), batches, strict=True)]
        assert batches[0].errors() == batches[1].errors()
        for name, expected in answers[1].items():
            # The same input to the bit, in the same bucket of the same plan.
            np.testing.assert_array_equal(answers[0][name], expected)
    assert not capsys.readouterr().out, "nothing fell back to the CPU"
    on_gpu.close()
    usual.close()
