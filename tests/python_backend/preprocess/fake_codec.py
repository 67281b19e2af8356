"""nvImageCodec's Python module as far as the runtime uses it, on the fake device: what it is asked for runs late.

Names and arguments are those of nvImageCodec 0.9. Its images' memory is taken and given back in their stream.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
from fake_device import FakeDevice

from tritonkit_runtime.preprocess.jpeg import Kind, kind_of
from tritonkit_runtime.steps.header import read_header

GAP_BYTES = 5  # behind each row
HARDWARE, HYBRID = "HW_GPU_ONLY", "HYBRID_CPU_GPU"


class FakeImage:
    """An Image in the device's memory."""

    buffer_kind = "device"

    def __init__(self, device: FakeDevice, stream: int) -> None:
        self._device, self._stream = device, stream
        self.capacity, self._pointer = 0, 0
        self.shape = (0, 0, 0)

    def _drop(self) -> None:
        device, pointer = self._device, self._pointer
        if pointer:
            device.kernel(self._stream, lambda: device._drop(pointer))

    def take(self, shape: tuple[int, int, int]) -> None:
        size = shape[0] * (shape[1] * shape[2] + GAP_BYTES)
        self.shape = shape
        if size > self.capacity:
            self._drop()
            self.capacity, self._pointer = size, self._device.allocate(size)

    def __del__(self) -> None:
        self._drop()

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        row = self.shape[1] * self.shape[2] + GAP_BYTES
        return {"shape": self.shape, "strides": (row, self.shape[2], 1), "data": (self._pointer, False)}


class FakeCodec:
    """The module. `backends`: those that are there, with how many levels some pixels are off; `takes`: kinds of file.

    `refuse` says of a file's bytes whether it is refused, `fails` makes the next call raise, `files` are those that
    were decoded, batch by batch.
    """

    __version__ = "0.9.0"
    ImageBufferKind = SimpleNamespace(STRIDED_DEVICE="device")
    ColorSpec = SimpleNamespace(SRGB="rgb", GRAY="gray")
    BackendKind = SimpleNamespace(**{name: name for name in (HARDWARE, HYBRID)})

    def __init__(self, device: FakeDevice, backends: dict[str, int] | None = None) -> None:
        self.device = device
        self.backends = {HARDWARE: 0} if backends is None else backends
        self.takes: Callable[[Kind], bool] = lambda kind: kind.marker == 0xC0
        self.refuse: Callable[[bytes], bool] = lambda data: False
        self.fails = 0
        self.files: list[list[bytes]] = []
        self.threads = 0

    def Backend(self, kind: str) -> str:  # noqa: N802 — as nvImageCodec names it
        return kind

    def CodeStream(self, data: bytes) -> bytes:  # noqa: N802
        assert type(data) is bytes
        return data

    def DecodeParams(self, *, apply_exif_orientation: bool, color_spec: str) -> str:  # noqa: N802
        assert not apply_exif_orientation
        return color_spec

    def Decoder(self, *, device_id: int, max_num_cpu_threads: int, backends: list[str]) -> FakeDecoder:  # noqa: N802
        assert (device_id, max_num_cpu_threads > 0, len(backends)) == (0, True, 1)
        self.threads = max_num_cpu_threads
        if backends[0] not in self.backends:
            raise RuntimeError("Internal error - Could not create decoder. Code: 7")
        return FakeDecoder(self, self.backends[backends[0]])


class FakeDecoder:
    """A Decoder."""

    def __init__(self, codec: FakeCodec, levels: int) -> None:
        self._codec, self._levels = codec, levels

    def decode(
        self, streams: Sequence[bytes], *, params: str, cuda_stream: int, images: Sequence[FakeImage] | None = None
    ) -> list[FakeImage | None]:
        codec = self._codec
        codec.files.append(list(streams))
        if codec.fails:
            codec.fails -= 1
            raise RuntimeError("made up")
        assert images is None or len(images) == len(streams)
        found: list[FakeImage | None] = []
        for number, data in enumerate(streams):
            kind = kind_of(read_header(data))
            if kind is None or not codec.takes(kind) or codec.refuse(data):
                found.append(None)
                continue
            image = FakeImage(codec.device, cuda_stream) if images is None else images[number]
            flag = cv2.IMREAD_GRAYSCALE if params == "gray" else cv2.IMREAD_COLOR_RGB
            pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flag | cv2.IMREAD_IGNORE_ORIENTATION)
            pixels = pixels.reshape(*pixels.shape[:2], -1)
            every = np.arange(pixels.size).reshape(pixels.shape) % 13 == 0
            off = np.where(pixels > 127, pixels - self._levels * every, pixels + self._levels * every).astype(
                np.uint8
            )
            image.take(off.shape)
            rows = np.full((off.shape[0], off.shape[1] * off.shape[2] + GAP_BYTES), 0xEE, np.uint8)
            rows[:, :-GAP_BYTES] = off.reshape(off.shape[0], -1)
            told = image.__cuda_array_interface__

            def write(pointer: int = told["data"][0], rows: Any = rows) -> None:
                codec.device._within(pointer, rows.nbytes, pinned=False)
                ctypes.memmove(pointer, rows.ctypes.data, rows.nbytes)

            codec.device.kernel(cuda_stream, write)
            found.append(image)
        return found
