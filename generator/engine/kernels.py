"""Which steps the runtime runs as one kernel on a GPU: asked for here, since no other part knows the runtime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def why_not(steps: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
    """What keeps the steps (name, parameters) from being one kernel, as part of a sentence; empty if nothing does."""
    # Later: a spec that asks for no kernel is checked without the runtime.
    from tritonkit_runtime.preprocess.pattern import why_not

    return why_not(steps)


_CHANNELS = {"gray": 1, "rgb": 3}  # of what `decode` gives
_FIRST_PIXELS = 208 * 272  # what each of a slot's decoded images has room for from the start: `nvimgcodec.probes`


def staging_bytes(
    steps: Sequence[tuple[str, Mapping[str, Any]]], image: Sequence[int], max_pixels: int, items: int, *,
    decoded: bool = False,
) -> int:  # fmt: skip
    """What a slot holds of pixels for the kernel, on the host and on the GPU: as `preprocess.staging` allocates it.

    `image` are the dims of what the steps take, where that is no encoded file. `decoded`: whether JPEG files are
    decoded on the GPU.
    """
    from tritonkit_runtime.preprocess.packing import item_bytes

    return table_bytes(items, decoded=decoded) + items * item_bytes(_item_shape(steps, image), max_pixels)


def table_bytes(items: int, *, decoded: bool) -> int:
    """What a slot holds of images alone, for the kernel: where they are."""
    from tritonkit_runtime.preprocess.staging import IMAGE, TURNED_IMAGE

    return _rounded(items * (TURNED_IMAGE if decoded else IMAGE).itemsize)


def parcel_bytes(
    steps: Sequence[tuple[str, Mapping[str, Any]]], image: Sequence[int], max_pixels: int, items: int
) -> int:  # fmt: skip
    """What an instance shares of images with the process that has the kernel: as `preprocess.parcel` has it."""
    from tritonkit_runtime.preprocess.parcel import parcel_bytes

    return parcel_bytes(_item_shape(steps, image), items, max_pixels)


def _item_shape(steps: Sequence[tuple[str, Mapping[str, Any]]], image: Sequence[int]) -> tuple[int, int, int]:
    """Of a resized image."""
    by_name = dict(steps)
    height, width = by_name["resize"]["size"]
    return height, width, _CHANNELS[by_name["decode"]["to"]] if "decode" in by_name else image[-1]


def decoded_bytes(steps: Sequence[tuple[str, Mapping[str, Any]]], max_pixels: int, items: int) -> int:
    """What the images of a slot take of the GPU at most that it has decoded: as `preprocess.nvimgcodec` bounds it.

    No image has more than `max_pixels`, so that where those are few the room is never used up.
    """
    from tritonkit_runtime.preprocess.decoder import DECODED_PIXELS

    pixels = max(_FIRST_PIXELS, min(max_pixels, DECODED_PIXELS))
    return items * _rounded(pixels * _CHANNELS[dict(steps)["decode"]["to"]])


def _rounded(size_bytes: int) -> int:
    """To whole 256 bytes, as kernels read."""
    return -(-size_bytes // 256) * 256
