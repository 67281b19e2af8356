"""Steps as the kernel takes them: a size, a method, an order of axes, and a table of what each byte becomes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tritonkit_runtime.batch import Array, Batch
from tritonkit_runtime.parameters import Limits, ParameterError, StepSpec, TensorSpec
from tritonkit_runtime.preprocess.errors import NotOnGpuError
from tritonkit_runtime.preprocess.pattern import why_not
from tritonkit_runtime.preprocess.source import METHODS
from tritonkit_runtime.steps import Chain, StepError
from tritonkit_runtime.steps.arithmetic import Cast, Normalize
from tritonkit_runtime.steps.base import Images, Step
from tritonkit_runtime.steps.decode import Decode
from tritonkit_runtime.steps.image_file import Header
from tritonkit_runtime.steps.layout import ChannelsFirst
from tritonkit_runtime.steps.resize import Resize

# The kernel copies values without looking at them.
_VALUES = {1: "unsigned char", 2: "unsigned short", 4: "unsigned int", 8: "unsigned long long"}


@dataclass(frozen=True)
class Recipe:
    """What the kernel is compiled for, and what the CPU still does.

    `table` [256, channels] is what a resized byte becomes, in the engine's type; `planar`: channels come first.
    `made` is the shape and type of an item that the kernel makes. `resize` is also what shrinks an image on the CPU
    that has no room in the staging; `decode` is None where images come as arrays. `where` names the two steps for
    messages.
    """

    decode: Decode | None
    resize: Resize
    table: Array
    planar: bool
    made: tuple[tuple[int, ...], np.dtype[Any]]
    where: tuple[str, str]

    @property
    def channels(self) -> int:
        """Of the images."""
        return int(self.table.shape[1])

    @property
    def item_shape(self) -> tuple[int, int, int]:
        """Of a resized image: height, width, channels."""
        return self.resize.height, self.resize.width, self.channels

    def definitions(self) -> list[str]:
        """What the kernel's source is compiled with."""
        height, width, channels = self.item_shape
        named = {
            "HEIGHT": height, "WIDTH": width, "CHANNELS": channels, "METHOD": METHODS[self.resize.name],
            "PLANAR": int(self.planar), "VALUE": _VALUES[self.table.dtype.itemsize],
        }  # fmt: skip
        return [f"-D{name}={value}" for name, value in named.items()]

    def images(self, batch: Batch, value: Array) -> Images:
        """The batch's images, decoded while they are taken; those of failed items are None.

        StepError for what the steps would not take either.
        """
        if self.decode is None:
            if value.ndim != 4 or value.dtype != np.uint8 or value.shape[3] != self.channels:
                shape = ", ".join(map(str, value.shape))
                raise StepError(
                    f"{self.where[1]}: takes UINT8 [N, H, W, {self.channels}], found {value.dtype} [{shape}]"
                )
            if 0 in value.shape:
                raise StepError(f"{self.where[1]}: takes images, found some without pixels: {list(value.shape)}")
            return Images(value, self.channels)
        try:
            return self.decode(batch, value)
        except ValueError as error:
            raise StepError(f"{self.where[0]}: {error}") from error

    def headers(self, batch: Batch, value: Array) -> list[Header | None]:
        """Of the batch's files; those of failed items are None. StepError as above, and where there are no files."""
        try:
            if self.decode is None:
                raise ValueError("takes files, and images come as arrays")
            return self.decode.headers(batch, value)
        except ValueError as error:
            raise StepError(f"{self.where[0]}: {error}") from error


def read(specs: Sequence[StepSpec], given: TensorSpec, limits: Limits, folder: Path = Path()) -> Recipe:
    """The recipe of a chain whose input is `given`. NotOnGpuError; ParameterError as of `Chain`."""
    if why := why_not([(spec.name, spec.arguments) for spec in specs]):
        raise NotOnGpuError(why)
    steps = Chain(specs, "bytes" if given.dtype == "STRING" else "array", limits, folder).steps
    decode = next((step for _, step in steps if isinstance(step, Decode)), None)
    resize = next(step for _, step in steps if isinstance(step, Resize))
    channels = given.dims[-1] if decode is None else decode.channels
    if channels < 1:
        raise NotOnGpuError(f"the channels of {given} are not known before it comes")
    values: Array = np.repeat(np.arange(256, dtype=np.uint8), channels).reshape(1, 256, 1, channels)
    made = _made(steps, resize, channels)
    for _, step in steps:
        if isinstance(step, Normalize | Cast):
            values = step(Batch({}, (1,)), values)
    planar = any(isinstance(step, ChannelsFirst) for _, step in steps)
    names = (steps[0][0], next(where for where, step in steps if step is resize))
    table = np.ascontiguousarray(values.reshape(256, channels))
    return Recipe(decode, resize, table, planar, made, names)


def _made(steps: Sequence[tuple[str, Step]], resize: Resize, channels: int) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """What the steps from `resize` on make of an image: its shape and type."""
    value: Array = np.zeros((1, resize.height, resize.width, channels), np.uint8)
    for where, step in steps:
        try:
            value = value if isinstance(step, Decode) else step(Batch({}, (1,)), value)
        except ValueError as error:
            raise ParameterError(f"{where}: {error}") from error
    return value.shape[1:], value.dtype
