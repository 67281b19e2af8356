"""Which files nvImageCodec gets, what of its pixels is believed, and how much memory its images may take."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Iterator

import cv2
import numpy as np
import pytest
from fake_codec import HARDWARE, HYBRID, FakeCodec
from fake_device import FakeDevice

from generator.engine.kernels import decoded_bytes
from tritonkit_runtime.batch import Array
from tritonkit_runtime.device.errors import CudaError
from tritonkit_runtime.parameters import Limits
from tritonkit_runtime.preprocess import decoder, nvimgcodec
from tritonkit_runtime.preprocess.decoder import Decoded
from tritonkit_runtime.preprocess.errors import NotOnGpuError
from tritonkit_runtime.preprocess.nvimgcodec import ImageRoom, NvImageCodec, probes
from tritonkit_runtime.steps.decode import Decode
from tritonkit_runtime.steps.header import Header

STEPS = (("decode", {"to": "rgb"}), ("resize", {"size": [6, 40]}))
SIX = "4:4:4, 4:2:2, 4:2:0, 4:4:0, 4:1:1, gray"


def made(device: FakeDevice, codec: FakeCodec, channels: int = 3) -> tuple[NvImageCodec, list[str]]:
    log: list[str] = []
    return NvImageCodec(device, 0, channels, log.append, codec=codec), log


def header(height: int, width: int, seed: int = 0) -> Header:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    return Decode(to="rgb", limits=Limits()).checked(cv2.imencode(".jpg", pixels)[1].tobytes())


def pixels_of(device: FakeDevice, image: Decoded | None, stream: int, channels: int = 3) -> Array:
    assert image is not None
    device.wait(stream)
    raw = (ctypes.c_ubyte * (image.height * image.row_bytes)).from_address(image.pointer)
    rows = np.ctypeslib.as_array(raw).reshape(image.height, image.row_bytes)
    return rows[:, : image.width * channels].reshape(image.height, image.width, channels).copy()


@pytest.fixture
def device() -> Iterator[FakeDevice]:
    found = FakeDevice()
    yield found
    assert found.held() == (0, 0, 0, 0), "memory or streams were not given back"


@pytest.fixture
def stream(device: FakeDevice) -> Iterator[int]:
    found = device.stream()
    yield found
    device.wait(found)
    device.free_stream(found)


def test_the_engines_come_first(device: FakeDevice) -> None:
    codec, log = made(device, FakeCodec(device, {HARDWARE: 1, HYBRID: 0}))
    assert codec.about == f"the GPU's JPEG engines (nvImageCodec 0.9.0, {SIX})"
    assert len(codec.kinds) == 6
    assert not log


def test_without_engines_the_cores(device: FakeDevice) -> None:
    fake = FakeCodec(device, {HYBRID: 3})
    fake.takes = lambda kind: True
    codec, _ = made(device, fake)
    progressive = ", ".join(f"progressive {name}" for name in SIX.split(", "))
    assert codec.about == f"the GPU's and the host's cores (nvImageCodec 0.9.0, {SIX}, {progressive})"
    assert len(codec.kinds) == 12


def test_engines_whose_pixels_are_further_apart_than_was_measured(device: FakeDevice) -> None:
    codec, _ = made(device, FakeCodec(device, {HARDWARE: 4, HYBRID: 3}))
    assert codec.about.startswith("the GPU's and the host's cores")
    with pytest.raises(
        NotOnGpuError,
        match=r"nvImageCodec 0\.9\.0 decodes nothing here \(HW_GPU_ONLY: no kind of JPEG has the pixels that the CPU "
        r"gives it; HYBRID_CPU_GPU: Internal error - Could not create decoder\. Code: 7\)",
    ):
        made(device, FakeCodec(device, {HARDWARE: 4}))


def test_a_kind_that_is_refused_is_not_asked_for_again(device: FakeDevice) -> None:
    fake = FakeCodec(device)
    fake.takes = lambda kind: kind.marker == 0xC0 and kind.sampling[:1] != b"\x41"
    codec, _ = made(device, fake)
    assert "4:1:1" not in codec.about
    assert len(codec.kinds) == 5


@pytest.mark.parametrize("channels", [1, 3])
def test_pixels_lie_where_it_says(device: FakeDevice, stream: int, channels: int) -> None:
    codec, _ = made(device, FakeCodec(device), channels)
    room = codec.room(4, stream)
    decode = Decode(to="gray" if channels == 1 else "rgb", limits=Limits())
    for seed in range(3):
        files = [header(20 + seed, 30, seed), header(50, 9, seed), header(3, 3, seed)]
        for file, image in zip(files, room.decode(files, stream), strict=True):
            np.testing.assert_array_equal(pixels_of(device, image, stream, channels), decode.pixels(file))
    room.close()
    codec.close()


def test_memory_is_used_again_and_never_more_than_its_bound(
    device: FakeDevice, stream: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (decoder, nvimgcodec):
        monkeypatch.setattr(module, "DECODED_PIXELS", 300 * 300)
    codec, _ = made(device, FakeCodec(device))
    room = codec.room(4, stream)
    lot = np.random.default_rng(5)
    most = 0
    for seed in range(60):
        sides = lot.integers(10, 500, (int(lot.integers(1, 5)), 2)).tolist()
        files = [header(height, width, seed) for height, width in sides]
        room.decode(files, stream)
        device.wait(stream)
        most = max(most, sum(block.size for block in device.live.values()))
    # The fake's rows have gaps, which nvImageCodec's do not have.
    assert 300 * 300 * 3 < most <= room.room_bytes + 4 * 5 * 500
    device.counts.clear()
    for seed in range(5):
        assert None not in room.decode([header(40, 40, seed) for _ in range(4)], stream)
    assert not device.counts["allocate"], "what is smaller than before needs no memory"
    room.close()


def test_what_has_no_room_is_left_to_the_cpu(
    device: FakeDevice, stream: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (decoder, nvimgcodec):
        monkeypatch.setattr(module, "DECODED_PIXELS", 400 * 400)
    codec, _ = made(device, FakeCodec(device))
    room = codec.room(2, stream)
    assert [image is None for image in room.decode([header(520, 520), header(600, 600)], stream)] == [True, True]
    assert [image is None for image in room.decode([header(500, 500), header(100, 100)], stream)] == [False, False]
    assert [image is None for image in room.decode([header(300, 400), header(500, 500)], stream)] == [True, False]
    room.close()


def test_what_is_refused_and_what_fails_is_left_to_the_cpu_and_told_once(device: FakeDevice, stream: int) -> None:
    fake = FakeCodec(device)
    codec, log = made(device, fake)
    room = codec.room(3, stream)
    files = [header(20, 20, seed) for seed in range(3)]
    fake.refuse = lambda data: data == files[1].data
    assert [image is None for image in room.decode(files, stream)] == [False, True, False]
    for _ in range(2):
        fake.fails = 1
        assert room.decode(files, stream) == [None, None, None]
    assert log == ["nvImageCodec failed for 3 files, which the CPU decodes: made up"]
    assert room.decode(files, stream)[0] is not None
    room.close()


def test_a_room_that_could_not_begin_begins_later(device: FakeDevice, stream: int) -> None:
    fake = FakeCodec(device)
    codec, _ = made(device, fake)
    fake.fails = 2
    room = ImageRoom(codec, 2, stream)
    assert room.decode([header(9, 9)], stream) == [None]
    assert room.decode([header(9, 9)], stream) != [None]
    room.close()


def test_a_lost_device_is_no_reason_to_try_the_next(device: FakeDevice) -> None:
    device.fail("copy_out", 700)
    with pytest.raises(CudaError, match="copy_out failed with 700"):
        made(device, FakeCodec(device))
    # On a lost device nothing can be given back.
    device.lost = 0
    gc.collect()  # images that the error's traceback still has
    for stream in list(device.streams):
        device.wait(stream)
        device.free_stream(stream)
    for pointer in list(device.live):
        device.free_pinned(pointer)


def test_the_package_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError(f"No module named '{name}'", name=name)

    monkeypatch.setattr("importlib.import_module", missing)
    told = r"nvImageCodec is not here \(No module named 'nvidia.nvimgcodec'\): install `nvidia-nvimgcodec-cu13\[nvjpeg\]`"
    with pytest.raises(NotOnGpuError, match=told):
        nvimgcodec.package()


def test_the_memory_plan_counts_what_a_slot_holds(device: FakeDevice, stream: int) -> None:
    codec, _ = made(device, FakeCodec(device))
    room = codec.room(8, stream)
    for most in (1 << 21, 50_000_000):
        assert room.room_bytes == decoded_bytes(STEPS, most, 8)
    room.close()


@pytest.mark.parametrize("most", [1, 208 * 272, 300 * 311])
def test_and_less_where_no_image_is_so_large(device: FakeDevice, stream: int, most: int) -> None:
    codec, _ = made(device, FakeCodec(device))
    other = sum(block.size for block in device.live.values())
    room = codec.room(4, stream)
    planned = decoded_bytes(STEPS, most, 4)
    assert planned < room.room_bytes
    height = most // 311 or 1
    for _ in range(2):  # the images are used again
        assert None not in room.decode([header(height, most // height, seed) for seed in range(4)], stream)
        device.wait(stream)
    held = sum(block.size for block in device.live.values()) - other
    gaps = 4 * 5 * max(300, 208)  # of the fake's rows; nvImageCodec's have none
    assert planned - 4 * 256 <= held <= planned + gaps
    room.close()


def test_what_is_tried_is_every_kind_once() -> None:
    names = [name for name, _ in probes()]
    assert names == [*SIX.split(", "), *(f"progressive {name}" for name in SIX.split(", "))]
    kinds = {nvimgcodec.kind_of(Decode(to="rgb", limits=Limits()).checked(data)) for _, data in probes()}
    assert len(kinds) == 12
    assert None not in kinds
