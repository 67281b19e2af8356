"""What a kernel before an engine is wanted for: a model's parameters say it, and the engine's process is told."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from tritonkit_runtime.device import Kernels
from tritonkit_runtime.parameters import Limits, ParameterError, Preprocess, StepSpec, TensorSpec
from tritonkit_runtime.preprocess import recipe as recipes
from tritonkit_runtime.preprocess.decoder import Decoder
from tritonkit_runtime.preprocess.errors import NotOnGpuError
from tritonkit_runtime.preprocess.kernel import Kernel
from tritonkit_runtime.preprocess.nvimgcodec import THREADS, NvImageCodec


@dataclass(frozen=True)
class Wanted:
    """The `steps` of a stage, on what it is `given`, make the engine's `input`; `decode`: where JPEG files are."""

    stage: str
    steps: tuple[StepSpec, ...]
    given: TensorSpec
    input: str
    limits: Limits
    decode: Preprocess

    def recipe(self) -> recipes.Recipe:
        """The steps as the kernel takes them. NotOnGpuError, ParameterError."""
        return recipes.read(self.steps, self.given, self.limits)

    def kernel(self, device: Kernels, gpu: int, told: Callable[[str], None], *, apart: bool = False) -> Kernel:
        """On the GPU of this number; `told` is who decodes. `apart` as in Kernel. NotOnGpuError, ParameterError."""
        recipe = self.recipe()
        # One decoder for all instances has all cores, where the GPU leaves the work to them.
        threads = len(os.sched_getaffinity(0)) if apart else THREADS
        decoder = self._decoder(recipe, device, gpu, told, threads=threads)
        return Kernel(device, recipe, self.input, self.limits.max_pixels, decoder=decoder, apart=apart)

    def _decoder(
        self, recipe: recipes.Recipe, device: Kernels, gpu: int, told: Callable[[str], None], *, threads: int
    ) -> Decoder | None:  # fmt: skip
        """What decodes JPEG files on the GPU, if that was asked for. ParameterError, where it must."""
        if self.decode == "cpu" or recipe.decode is None:
            return None
        try:
            found = NvImageCodec(device, gpu, recipe.channels, told, threads=threads)
        except NotOnGpuError as error:
            if self.decode == "gpu":
                raise ParameterError(
                    f"JPEG files cannot be decoded on the GPU: {error}; `decode: auto` would decode them on the CPU"
                ) from error
            told(f"JPEG files cannot be decoded on the GPU: {error}. They are decoded on the CPU.")
            return None
        told(f"JPEG files are decoded by {found.about}; all other files by the CPU.")
        return found

    def shown(self) -> dict[str, Any]:
        """As JSON holds it."""
        steps = [{"name": step.name, "arguments": dict(step.arguments)} for step in self.steps]
        return {**asdict(self), "steps": steps}

    @classmethod
    def of(cls, fields: dict[str, Any]) -> Wanted:
        """From JSON."""
        given, steps = fields["given"], [StepSpec(one["name"], one["arguments"]) for one in fields["steps"]]
        given = TensorSpec(given["name"], given["dtype"], tuple(given["dims"]), given["optional"])
        return cls(**{**fields, "steps": tuple(steps), "given": given, "limits": Limits(**fields["limits"])})
