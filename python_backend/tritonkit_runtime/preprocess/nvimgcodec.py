"""JPEG files decoded by NVIDIA's nvImageCodec: by the GPU's own JPEG engines, or by its cores and the host's."""

from __future__ import annotations

import ctypes
import importlib
import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

import cv2
import numpy as np

from tritonkit_runtime.batch import Array
from tritonkit_runtime.device import Device
from tritonkit_runtime.device.errors import CudaError
from tritonkit_runtime.parameters import Limits
from tritonkit_runtime.preprocess.decoder import DECODED_PIXELS, Decoded
from tritonkit_runtime.preprocess.errors import NotOnGpuError
from tritonkit_runtime.preprocess.jpeg import Kind, kind_of
from tritonkit_runtime.steps.decode import CHANNELS, Decode
from tritonkit_runtime.steps.image_file import Header
from tritonkit_runtime.steps.quiet import Quiet

# Its backends, the best first: what they are, and by how many levels of 255 pixels of photographs were apart from the
# CPU's at most (benchmarks/gpu.md).
BACKENDS = {
    "HW_GPU_ONLY": ("the GPU's JPEG engines", 1),
    "HYBRID_CPU_GPU": ("the GPU's and the host's cores", 3),
}
# A kind of file whose pixels come out further apart than this at start stays with the CPU. What is tried has harder
# edges than photographs: chroma that is repeated and not interpolated is 34 levels apart there, and 1.6 in the mean,
# a coarser transform 5 and 1.0. Of photographs the two backends were 0.0002 and 0.04 apart in the mean.
_MORE_LEVELS, _MEAN_LEVELS = 2, 0.25
# Of the host. With the JPEG engines they read headers; without, they decode, in an instance that is one of several.
THREADS = 4
_ALIGNMENT_BYTES = 256
# OpenCV's number of this setting of its encoder, which older versions do not name, and what it takes.
_SAMPLING = 7
_SAMPLINGS = {0x111111: "4:4:4", 0x211111: "4:2:2", 0x221111: "4:2:0", 0x121111: "4:4:0", 0x411111: "4:1:1"}


def package() -> Any:
    """nvImageCodec. NotOnGpuError where it, or what it needs, is missing."""
    # It writes a line for each file that it refuses, which is asked for only once it is loaded.
    os.environ.setdefault("PYNVIMGCODEC_VERBOSITY", "0")
    try:
        with Quiet():
            return importlib.import_module("nvidia.nvimgcodec")
    except ImportError as error:
        raise NotOnGpuError(
            f"nvImageCodec is not here ({error}): install `nvidia-nvimgcodec-cu13[nvjpeg]`, or "
            "`nvidia-nvimgcodec-cu12[nvjpeg]` with CUDA 12"
        ) from error


class NvImageCodec:
    """A Decoder on the GPU of this `index`, of images with so many `channels`.

    At start it decodes a made-up photograph of every kind that the CPU's encoder writes, and compares: `kinds` are
    those whose pixels are as close as they have to be. `about` says which backend it is and what it takes. `threads`
    of the host decode where the GPU has no such engines. Raises NotOnGpuError where nothing comes out as it should.
    """

    def __init__(
        self, device: Device, index: int, channels: int, log: Callable[[str], None], *, codec: Any = None,
        threads: int = THREADS,
    ) -> None:  # fmt: skip
        self.codec = codec or package()
        self.device, self.channels, self._index, self._told = device, channels, index, log
        spec = self.codec.ColorSpec.GRAY if channels == 1 else self.codec.ColorSpec.SRGB
        # What EXIF says is done while the pixels are read (`decoder.turned`).
        self._params = self.codec.DecodeParams(apply_exif_orientation=False, color_spec=spec)
        self._threads = threads
        self._refused = False
        self.probe: Header
        reasons = []
        for name in BACKENDS:
            try:
                self._begin(name)
            except (NotOnGpuError, RuntimeError) as error:
                if isinstance(error, CudaError) and error.lasting:
                    raise
                reasons.append(f"{name}: {error}")
                continue
            return
        raise NotOnGpuError(f"nvImageCodec {self.codec.__version__} decodes nothing here ({'; '.join(reasons)})")

    def _begin(self, backend: str) -> None:
        what, levels = BACKENDS[backend]
        kinds = [self.codec.Backend(getattr(self.codec.BackendKind, backend))]
        threads = self._threads if backend == "HYBRID_CPU_GPU" else THREADS
        with Quiet():
            self.decoder = self.codec.Decoder(device_id=self._index, max_num_cpu_threads=threads, backends=kinds)
        found = self._tried(levels)
        self.kinds = frozenset(found)
        names = ", ".join(dict.fromkeys(found.values()))
        if not found:
            raise NotOnGpuError("no kind of JPEG has the pixels that the CPU gives it")
        self.about = f"{what} (nvImageCodec {self.codec.__version__}, {names})"

    def _tried(self, levels: int) -> dict[Kind, str]:
        """The kinds that come out near enough to the CPU's pixels, with their names."""
        word = next(word for word, channels in CHANNELS.items() if channels == self.channels)
        decode = Decode(to=word, limits=Limits())
        stream = self.device.stream()
        try:
            found: dict[Kind, str] = {}
            for name, data in probes():
                header = decode.checked(data)
                kind, (most, mean) = kind_of(header), self._apart(header, decode.pixels(header), stream)
                if kind is not None and most <= levels + _MORE_LEVELS and mean <= _MEAN_LEVELS:
                    found[kind] = name
                    self.probe = header
            return found
        finally:
            with suppress(CudaError):  # what made them fail is the error that counts
                self.device.wait(stream)
                self.device.free_stream(stream)

    def _apart(self, header: Header, expected: Array, stream: int) -> tuple[float, float]:
        """By how many levels at most and in the mean; infinite where the file is refused."""
        [image] = self.images([header], stream)
        if (made := self.read(image, header)) is None:
            return math.inf, math.inf
        levels = np.abs(self._fetched(made, stream).astype(np.int16) - expected)
        return float(levels.max()), float(levels.mean())

    def _fetched(self, image: Decoded, stream: int) -> Array:
        size = image.height * image.row_bytes
        host = self.device.pinned(size)
        try:
            self.device.copy_out(host, image.pointer, size, stream)
            self.device.wait(stream)
            rows = np.frombuffer(ctypes.string_at(host, size), np.uint8).reshape(image.height, image.row_bytes)
            return rows[:, : image.width * self.channels].reshape(image.height, image.width, self.channels)
        finally:
            with suppress(CudaError):
                self.device.free_pinned(host)

    def images(
        self, files: Sequence[Header], stream: int, into: Sequence[Any] = (), reading: list[Any] | None = None
    ) -> list[Any]:
        """nvImageCodec's own images, new ones or `into` those; None of what it refuses.

        `reading` then holds what has to stay until the stream has got there.
        """
        if not files:
            return []
        try:
            streams = [self.codec.CodeStream(header.data) for header in files]
            if reading is not None:
                reading[:] = streams
            more = {"images": list(into)} if into else {}
            return list(self.decoder.decode(streams, params=self._params, cuda_stream=stream, **more))
        except (RuntimeError, ValueError, TypeError) as error:
            if not self._refused:
                self._refused = True
                self._told(f"nvImageCodec failed for {len(files)} files, which the CPU decodes: {error}")
            return [None] * len(files)

    def read(self, image: Any, header: Header) -> Decoded | None:
        """Where an image is, as long as it lives; None where it is not what its file's header says."""
        if image is None or image.buffer_kind != self.codec.ImageBufferKind.STRIDED_DEVICE:
            return None
        told = image.__cuda_array_interface__
        row = int((told.get("strides") or (header.width * self.channels,))[0])
        if tuple(told["shape"]) != (header.height, header.width, self.channels):
            return None
        return Decoded(int(told["data"][0]), header.height, header.width, row)

    def room(self, largest: int, stream: int) -> ImageRoom:
        """Images that are decoded into again and again."""
        return ImageRoom(self, largest, stream)

    def close(self) -> None:
        """Ends the decoder."""
        self.decoder = None


class ImageRoom:
    """A Room: as many of nvImageCodec's images as the largest batch has, each with memory for the largest it had.

    The largest file of a batch goes into the first one, and so on, so that little memory is used twice. All together
    never hold more than `room_bytes`: before they would, they are given back and begun anew.
    """

    def __init__(self, codec: NvImageCodec, largest: int, stream: int) -> None:
        self._codec, self._largest = codec, largest
        self.room_bytes = largest * DECODED_PIXELS * codec.channels
        self._least = _rounded(codec.probe.width * codec.probe.height * codec.channels)
        self._kept: list[Any] = []
        self._reading: list[Any] = []
        self._begin(stream)

    def _begin(self, stream: int) -> None:
        """Small images; those there were are given back first."""
        self._kept = []
        self._kept = self._codec.images([self._codec.probe] * self._largest, stream, (), self._reading)

    def decode(self, files: Sequence[Header], stream: int) -> list[Decoded | None]:
        """The images, once the stream has got there; None of those that are refused, or have no room."""
        found: list[Decoded | None] = [None] * len(files)
        pixels = [header.width * header.height for header in files]
        order, sizes, left = [], [], self.room_bytes - self._largest * self._least
        for index in sorted(range(len(files)), key=pixels.__getitem__, reverse=True):
            size = max(self._least, _rounded(pixels[index] * self._codec.channels))
            if size - self._least <= left:
                order.append(index)
                sizes.append(size)
                left -= size - self._least
        if None in self._kept or self._held(sizes) > self.room_bytes:
            self._begin(stream)
            if None in self._kept:
                return found
        into = self._kept[: len(order)]
        made = self._codec.images([files[index] for index in order], stream, into, self._reading)
        for index, image in zip(order, made, strict=True):
            found[index] = self._codec.read(image, files[index])
        return found

    def _held(self, sizes: Sequence[int]) -> int:
        """Bytes of all images once these are in the first of them."""
        held = [_rounded(int(image.capacity)) for image in self._kept]
        grown = [max(size, now) for size, now in zip(sizes, held, strict=False)]
        return sum(grown) + sum(held[len(sizes) :])

    def close(self) -> None:
        """Gives the images back, in their stream."""
        self._kept, self._reading = [], []


def probes() -> Iterator[tuple[str, bytes]]:
    """Made-up photographs by the name of their kind, as JPEG files: small, with edges, smooth parts and noise."""
    y, x = np.mgrid[0:208, 0:272].astype(np.float32)
    waves = [np.sin(x / 19 + c) * np.cos(y / (23 - 4 * c)) * 90 + 128 for c in range(3)]
    noise = np.random.default_rng(7).normal(0, 6, (208, 272, 3))
    stripes = np.array([90, -60, 20]) * ((x + y) % 97 < 20)[..., np.newaxis]
    photo = np.clip(np.stack(waves, axis=2) + noise + stripes, 0, 255).astype(np.uint8)
    for word, progressive in (("", 0), ("progressive ", 1)):
        more = [cv2.IMWRITE_JPEG_QUALITY, 90, cv2.IMWRITE_JPEG_PROGRESSIVE, progressive]
        for value, name in _SAMPLINGS.items():
            yield f"{word}{name}", cv2.imencode(".jpg", photo, [*more, _SAMPLING, value])[1].tobytes()
        yield f"{word}gray", cv2.imencode(".jpg", photo[..., 1], more)[1].tobytes()


def _rounded(size_bytes: int) -> int:
    return -(-size_bytes // _ALIGNMENT_BYTES) * _ALIGNMENT_BYTES
