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


def staging_bytes(
    steps: Sequence[tuple[str, Mapping[str, Any]]], image: Sequence[int], max_pixels: int, items: int, *,
    decoded: bool = False,
) -> int:  # fmt: skip
    """What a slot holds of pixels for the kernel, on the host and on the GPU: as `preprocess.staging` allocates it.

    `image` are the dims of what the steps take, where that is no encoded file. `decoded`: whether JPEG files are
    decoded on the GPU.
    """
    from tritonkit_runtime.preprocess.kernel import STAGED_PIXELS
    from tritonkit_runtime.preprocess.staging import IMAGE, TURNED_IMAGE

    by_name = dict(steps)
    height, width = by_name["resize"]["size"]
    channels = _CHANNELS[by_name["decode"]["to"]] if "decode" in by_name else image[-1]
    pixels = max(min(max_pixels, STAGED_PIXELS), height * width)
    row = TURNED_IMAGE if decoded else IMAGE
    return _rounded(items * row.itemsize) + items * _rounded(pixels * channels)


def decoded_bytes(steps: Sequence[tuple[str, Mapping[str, Any]]], items: int) -> int:
    """What the images of a slot take of the GPU at most that it has decoded: as `preprocess.nvimgcodec` bounds it."""
    from tritonkit_runtime.preprocess.decoder import DECODED_PIXELS

    return items * DECODED_PIXELS * _CHANNELS[dict(steps)["decode"]["to"]]


def _rounded(size_bytes: int) -> int:
    """To whole 256 bytes, as kernels read."""
    return -(-size_bytes // 256) * 256
