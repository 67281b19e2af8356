"""JPEG files decoded on a real GPU by nvImageCodec: their pixels, their memory, their place in a ring and in a program."""

from __future__ import annotations

import ctypes
import json
import shutil
import struct
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from test_preprocess_on_a_gpu import FIRST, NORMAL, SIZES, Echo, on_cpu, recipe_of, steps

from tritonkit_runtime import parameters
from tritonkit_runtime.batch import Array, Batch, concatenate
from tritonkit_runtime.buffered.lane import Lane
from tritonkit_runtime.buffered.ring import Ring
from tritonkit_runtime.device.cuda import Cuda
from tritonkit_runtime.parameters import Limits, TensorSpec
from tritonkit_runtime.preprocess.decoder import Decoded
from tritonkit_runtime.preprocess.filling import from_files
from tritonkit_runtime.preprocess.jpeg import kind_of
from tritonkit_runtime.preprocess.kernel import Kernel
from tritonkit_runtime.preprocess.nvimgcodec import BACKENDS, NvImageCodec
from tritonkit_runtime.programs import Program
from tritonkit_runtime.steps.decode import Decode
from tritonkit_runtime.steps.header import Header

pytestmark = pytest.mark.gpu

Specs = tuple[list[TensorSpec], list[TensorSpec]]
RGB, GRAY = (Decode(to=to, limits=Limits()) for to in ("rgb", "gray"))
SAMPLINGS = {"444": 0x111111, "422": 0x211111, "420": 0x221111, "440": 0x121111, "411": 0x411111}
KEPT_BYTES = 64 << 20  # by the driver, of what an asynchronous allocation gave back, and by the decoder


def photo(height: int, width: int, seed: int) -> Array:
    """Smooth, with edges and a little noise, as photographs are."""
    lot = np.random.default_rng(seed)
    small = lot.integers(0, 256, (max(2, height // 24), max(2, width // 24), 3), np.uint8)
    large = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
    noisy = large.astype(np.float32) + lot.normal(0, 4, large.shape)
    noisy[: height // 3, : width // 4] = (250, 20, 30)
    found: Array = np.clip(noisy, 0, 255).astype(np.uint8)
    return found


def jpeg(height: int, width: int, seed: int, sampling: str = "420", *more: int, quality: int = 90) -> bytes:
    settings = [cv2.IMWRITE_JPEG_QUALITY, quality, 7, SAMPLINGS[sampling], *more]
    data: bytes = cv2.imencode(".jpg", photo(height, width, seed), settings)[1].tobytes()
    return data


def turned(data: bytes, orientation: int) -> bytes:
    exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0" + struct.pack("<HHIHH", 0x112, 3, 1, orientation, 0) + bytes(4)
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:]


def levels_of(codec: NvImageCodec) -> int:
    """By how many levels of 255 its pixels may be apart."""
    return next(levels for what, levels in BACKENDS.values() if codec.about.startswith(what))


class Decoding:
    """A decoder with a stream and a room."""

    def __init__(self, cuda: Cuda, channels: int = 3, largest: int = 16) -> None:
        self.log: list[str] = []
        self.cuda, self.channels = cuda, channels
        self.codec = NvImageCodec(cuda, 0, channels, self.log.append)
        self.stream = cuda.stream()
        self.room = self.codec.room(largest, self.stream)

    def pixels(self, files: list[Header]) -> list[Array | None]:
        """As they are stored, before EXIF."""
        found = [self._fetched(image) if image else None for image in self.room.decode(files, self.stream)]
        self.cuda.wait(self.stream)
        return found

    def _fetched(self, image: Decoded) -> Array:
        size = image.height * image.row_bytes
        host = self.cuda.pinned(size)
        self.cuda.copy_out(host, image.pointer, size, self.stream)
        self.cuda.wait(self.stream)
        rows = np.frombuffer(ctypes.string_at(host, size), np.uint8).reshape(image.height, image.row_bytes)
        self.cuda.free_pinned(host)
        return rows[:, : image.width * self.channels].reshape(image.height, image.width, self.channels)

    def close(self) -> None:
        self.cuda.wait(self.stream)
        self.room.close()
        self.cuda.wait(self.stream)
        self.cuda.free_stream(self.stream)
        self.codec.close()


@pytest.fixture(scope="module")
def loaded() -> Cuda:
    """The first GPU, after a decoder and a kernel have been there once: what the driver keeps for good is there."""
    cuda = Cuda()
    Kernel(cuda, recipe_of(steps([4, 4], "linear")), "pixels", 100).close()
    decoding = Decoding(cuda)
    decoding.pixels([RGB.checked(jpeg(375, 500, 0))] * 16)
    decoding.close()
    return cuda


@pytest.fixture
def cuda(loaded: Cuda) -> Iterator[Cuda]:
    """The first GPU, whose memory has its level again afterwards."""
    free = loaded.memory()[0]
    yield loaded
    assert loaded.memory()[0] >= free - KEPT_BYTES


def test_it_says_what_decodes(cuda: Cuda) -> None:
    decoding = Decoding(cuda)
    print(decoding.codec.about)
    assert "4:2:0" in decoding.codec.about
    assert "4:4:4" in decoding.codec.about
    if cuda.facts()["gpu"].startswith(("NVIDIA A100", "NVIDIA H100", "NVIDIA H200")):
        assert decoding.codec.about.startswith("the GPU's JPEG engines")
    decoding.close()


@pytest.mark.parametrize("channels", [3, 1])
def test_pixels_are_those_of_the_cpu_but_for_a_level(cuda: Cuda, channels: int) -> None:
    decoding, decode = Decoding(cuda, channels), RGB if channels == 3 else GRAY
    levels, worst = levels_of(decoding.codec), dict[str, int]()
    for sampling in SAMPLINGS:
        for quality in (30, 75, 95, 100):
            sides = [(375, 500), (500, 375), (129, 333), (64, 64), (1, 1), (7, 9), (17, 640), (1080, 1920)]
            files = [decode.checked(jpeg(*side, 1, sampling, quality=quality)) for side in sides]
            files = [file for file in files if kind_of(file) in decoding.codec.kinds]
            for file, pixels in zip(files, decoding.pixels(files), strict=True):
                if pixels is not None:  # else the CPU decodes it
                    name = f"{sampling}, quality {quality}, {file.width}x{file.height}"
                    worst[name] = int(np.abs(pixels.astype(int) - decode.pixels(file)).max())
    assert len(worst) >= 2 * 4 * 4, f"photographs of 4:4:4 and 4:2:0 are decoded there; these are: {worst}"
    assert max(worst.values()) <= levels, worst
    assert not decoding.log
    decoding.close()


def test_gray_files(cuda: Cuda) -> None:
    for channels, decode in ((1, GRAY), (3, RGB)):
        decoding = Decoding(cuda, channels)
        files = [decode.checked(cv2.imencode(".jpg", photo(200 + n, 300, n)[..., 0])[1].tobytes()) for n in range(4)]
        for file, pixels in zip(files, decoding.pixels(files), strict=True):
            if pixels is not None:
                assert np.abs(pixels.astype(int) - decode.pixels(file)).max() <= levels_of(decoding.codec)
        decoding.close()


def test_a_thousand_batches_take_no_more_memory(cuda: Cuda) -> None:
    decoding, lot = Decoding(cuda), np.random.default_rng(3)
    files = [RGB.checked(jpeg(int(h), int(w), n)) for n, (h, w) in enumerate(lot.integers(80, 900, (40, 2)))]

    def batch() -> None:
        chosen = [files[int(i)] for i in lot.integers(0, len(files), lot.integers(1, 17))]
        decoding.room.decode(chosen, decoding.stream)

    for _ in range(200):
        batch()
    cuda.wait(decoding.stream)
    before = cuda.memory()[0]
    for _ in range(1000):
        batch()
    cuda.wait(decoding.stream)
    assert cuda.memory()[0] >= before - KEPT_BYTES
    decoding.close()


class Served:
    """A ring around the echo, whose input is made of files."""

    def __init__(self, cuda: Cuda, **options: Any) -> None:
        self.specs = steps([96, 64], "linear", NORMAL, FIRST)
        recipe = recipe_of(self.specs)
        self.decoder = NvImageCodec(cuda, 0, 3, print)
        self.kernel = Kernel(cuda, recipe, "pixels", 1 << 20, decoder=self.decoder)
        self.engine = Echo(cuda, recipe)
        self.ring = Ring(cuda, self.engine, SIZES, feeder=self.kernel, **options)

    def begin(self, files: list[bytes]) -> Lane:
        batch, value = Batch({}, (len(files),)), np.array(files, object)[:, np.newaxis]
        lane = self.ring.take()
        staging = self.kernel.stagings[lane.number]
        staging.clear()
        good = from_files(staging, batch, RGB.headers(batch, value), RGB, self.decoder.kinds)
        assert len(good) == len(files)
        self.ring.start(lane, len(files))
        return lane

    def end(self, lane: Lane) -> Array:
        found = self.ring.finish(lane)["echo"].copy()
        self.ring.give_back(lane)
        return found

    def close(self) -> None:
        self.ring.close()
        self.kernel.close()
        self.engine.close()


def by_cpu(served: Served, files: list[bytes]) -> Array:
    return np.concatenate([on_cpu(served.specs, [RGB.decode(file)]) for file in files])


def near(served: Served, found: Array, files: list[bytes]) -> None:
    """Within the decoder's levels, and one for what `resize` rounds, after `normalize`, whose least std is 57.12."""
    apart = np.abs(found - by_cpu(served, files)).max(axis=(1, 2, 3))
    assert apart.max() <= (levels_of(served.decoder) + 1.01) / 57.12, apart


@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_are_turned_as_the_cpu_turns_them(cuda: Cuda, orientation: int) -> None:
    served = Served(cuda, slots=2)
    files = [turned(jpeg(240, 330 + n, n), orientation) for n in range(3)]
    near(served, served.end(served.begin(files)), files)
    served.close()


@pytest.mark.parametrize("copies", ["inside", "beside"])
def test_batches_in_flight_do_not_touch_each_other(cuda: Cuda, copies: str) -> None:
    served, lot = Served(cuda, slots=3, copies=copies), np.random.default_rng(8)
    files = [jpeg(int(h), int(w), n) for n, (h, w) in enumerate(lot.integers(70, 700, (24, 2)))]
    files += [cv2.imencode(".png", photo(90, 60 + n, n))[1].tobytes() for n in range(4)]
    files += [jpeg(200, 300, n, "420", cv2.IMWRITE_JPEG_PROGRESSIVE, 1) for n in range(4)]
    under_way = deque[tuple[Lane, list[bytes]]]()
    for _ in range(60):
        if not served.ring.free:
            lane, sent = under_way.popleft()
            near(served, served.end(lane), sent)
        sent = [files[int(i)] for i in lot.integers(0, len(files), lot.integers(1, 17))]
        under_way.append((served.begin(sent), sent))
    for lane, sent in under_way:
        near(served, served.end(lane), sent)
    served.close()


def flow(plan: Path, specs: Specs, folder: Path, decode: str, log: list[str], **more: Any) -> Program:
    """JPEG files to the plan's only input, images in colour of three planes or any shape in gray; `more` of buffers."""
    if not (folder / "model.plan").exists():
        shutil.copy(plan, folder / "model.plan")
    [given], outputs = specs
    sides = [[{"name": t.name, "dtype": t.dtype, "dims": list(t.dims)} for t in tensors] for tensors in specs]
    dims = list(given.dims)
    if len(dims) == 3 and dims[0] == 3:
        made = [{"step": "decode", "to": "rgb"}, {"step": "resize", "size": dims[1:], "method": "linear"},
                {"step": "normalize", **NORMAL[1]}, {"step": "channels_first"}]  # fmt: skip
    else:
        flat = [dims[0], int(np.prod(dims[1:]))]
        made = [{"step": "decode", "to": "gray"}, {"step": "resize", "size": flat, "method": "linear"},
                {"step": "normalize", "mean": 127.5, "std": 64.0}, {"step": "reshape", "dims": dims}]  # fmt: skip
    image = {"name": "image", "dtype": "STRING", "dims": [1]}
    buffers = {"buckets": list(SIZES), "slots": 2, "copies": "auto", "preprocess": "gpu", "decode": decode}
    buffers |= more
    document = {
        "format": 1, "pipeline": "p", "model": "m", "max_batch_size": 16, "inputs": [image], "outputs": sides[1],
        "limits": {"max_bytes": 1_000_000, "max_pixels": 1_000_000},
        "program": {"kind": "flow", "stages": [
            {"name": "steps", "inputs": [image], "outputs": sides[0], "takes": {"image": "image"},
             "gives": {given.name: "between"}, "program": {"kind": "steps", "steps": made}},
            {"name": "engine", "inputs": sides[0], "outputs": sides[1], "takes": {given.name: "between"},
             "gives": {t.name: t.name for t in outputs}, "program": {
                 "kind": "engine", "engine": "tensorrt", "file": "model.plan", "intra_op_threads": 1,
                 "buffers": buffers}},
        ]},
    }  # fmt: skip
    return Program(parameters.parse(json.loads(json.dumps(document))), folder, log.append, 0)


@pytest.mark.usefixtures("loaded")
def test_a_program_answers_and_fails_as_with_the_cpus_decoder(
    device: Cuda, plan: Path, specs: Specs, tmp_path: Path
) -> None:
    log: list[str] = []
    on_gpu, usual = flow(plan, specs, tmp_path, "gpu", log), flow(plan, specs, tmp_path, "cpu", [])
    assert device.facts()["gpu"]
    assert len(log) == 1
    assert "JPEG files are decoded by " in log[0]
    png = cv2.imencode(".png", photo(200, 100, 1))[1].tobytes()
    bad = [b"no image", b"", jpeg(375, 500, 1)[:9000], jpeg(1200, 1000, 2), jpeg(300, 400, 3) + bytes(1_000_000)]
    for count in (1, 4, 11, 16):
        files = [jpeg(300 + seed, 400, seed) for seed in range(count)]
        if count > 4:
            files[3:8] = bad
            files[9] = png
            files[8] = jpeg(200, 300, 5, "420", cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
        batches = [concatenate([{"image": np.array([[file]], object)} for file in files]) for _ in range(2)]
        answers = [program.run(batch) for program, batch in zip((on_gpu, usual), batches, strict=True)]
        assert batches[0].errors() == batches[1].errors()
        assert len(batches[0].errors()) == (5 if count > 4 else 0)
        for name, expected in answers[1].items():
            apart = np.abs(answers[0][name].astype(np.float64) - expected).max() / max(np.ptp(expected), 1e-9)
            assert apart < 0.05, f"{name}: {apart}"
    on_gpu.close()
    usual.close()
    assert len(log) == 1, "nothing failed on the GPU"


def test_damaged_files_hurt_no_other(cuda: Cuda) -> None:
    """What a decoder makes of damage in a file's pixel data is not compared: the CPU's own repairs it somehow."""
    decoding = Decoding(cuda)
    good = [jpeg(375, 500, seed) for seed in range(3)]
    lot = np.random.default_rng(0)
    for _ in range(60):
        broken = bytearray(good[0])
        for at in lot.integers(len(broken) // 3, len(broken) - 2, 20):
            broken[at] = lot.integers(0, 255)
        files = [RGB.checked(good[1]), Header(500, 375, data=bytes(broken)), RGB.checked(good[2])]
        found = decoding.pixels(files)
        for number in (0, 2):
            if (pixels := found[number]) is not None:
                expected = RGB.pixels(files[number])
                assert np.abs(pixels.astype(int) - expected).max() <= levels_of(decoding.codec)
    again = decoding.pixels([RGB.checked(data) for data in good])
    assert None not in [None if pixels is None else 1 for pixels in again], "it still decodes"
    decoding.close()
