"""The kernel of one recipe on one GPU: compiled, loaded, with its table, and a staging for every lane of a ring."""

from __future__ import annotations

import ctypes
import time
from contextlib import ExitStack
from typing import Protocol

from tritonkit_runtime.device import Kernels
from tritonkit_runtime.device.errors import CudaError
from tritonkit_runtime.device.held import Held
from tritonkit_runtime.preprocess import nvrtc
from tritonkit_runtime.preprocess.decoder import Decoder
from tritonkit_runtime.preprocess.errors import NotOnGpuError
from tritonkit_runtime.preprocess.recipe import Recipe
from tritonkit_runtime.preprocess.source import NAME, SOURCE
from tritonkit_runtime.preprocess.staging import Staging

# Without fused multiply-add, as OpenCV is compiled.
_OPTIONS = ("--fmad=false", "--std=c++17")


class Compile(Protocol):
    """`nvrtc.compiled`, or what stands for it."""

    def __call__(self, source: str, options: list[str], *, capability: str, cuda: str) -> bytes:
        """What the driver loads."""


class Kernel:
    """Fills the input of an engine from images; a Feeder. `input` is the engine's name of that tensor.

    `max_pixels` is the most that an image can have, `compiled` what stands for NVRTC; `decoder` decodes files on the
    GPU, and belongs to the kernel from then on. `apart`: images come from memory of other processes alone. Raises
    NotOnGpuError where the kernel cannot be compiled or loaded.
    """

    def __init__(
        self, device: Kernels, recipe: Recipe, name: str, max_pixels: int, *, compiled: Compile | None = None,
        decoder: Decoder | None = None, apart: bool = False,
    ) -> None:  # fmt: skip
        self.device, self.recipe, self.input, self.decoder = device, recipe, name, decoder
        self.max_pixels, self.apart = max_pixels, apart
        self.stagings: list[Staging] = []
        self._held = Held()
        start = time.perf_counter()
        facts = device.facts()
        options = [*_OPTIONS, *recipe.definitions(), *([] if decoder is None else ["-DTURNED=1"])]
        make: Compile = compiled or nvrtc.compiled
        image = make(SOURCE, options, capability=facts["compute_capability"], cuda=facts["cuda"])
        self.compiled_s = time.perf_counter() - start
        device.use()
        with self._held.or_nothing():
            if decoder is not None:
                self._held.add(decoder.close)
            try:
                module = self._held.handle(device.module(image), device.free_module)
                self.function = device.function(module, NAME)
            except CudaError as error:
                if error.lasting:
                    raise
                raise NotOnGpuError(f"the driver does not load the compiled kernel: {error}") from error
            self.table = self._held.handle(device.allocate(recipe.table.nbytes), device.free)
            self._upload()

    def _upload(self) -> None:
        device, size = self.device, self.recipe.table.nbytes
        with ExitStack() as freed:
            stream, host = device.stream(), device.pinned(size)
            freed.callback(device.free_pinned, host)
            freed.callback(device.free_stream, stream)
            ctypes.memmove(host, self.recipe.table.ctypes.data, size)
            device.copy_in(self.table, host, size, stream)
            device.wait(stream)

    def lane(self, address: int, largest: int, number: int) -> Staging:
        """The staging of one more lane of a ring, whose input is at `address`."""
        staging = Staging(self, address, largest, number)
        self.stagings.append(staging)
        return staging

    def close(self) -> None:
        """Gives module and table back; the lanes must be closed before."""
        self._held.close()
