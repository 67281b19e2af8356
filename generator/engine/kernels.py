"""Which steps the runtime runs as one kernel on a GPU: asked for here, since no other part knows the runtime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def why_not(steps: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
    """What keeps the steps (name, parameters) from being one kernel, as part of a sentence; empty if nothing does."""
    # Later: a spec that asks for no kernel is checked without the runtime.
    from tritonkit_runtime.preprocess.pattern import why_not

    return why_not(steps)


def staging_bytes(
    steps: Sequence[tuple[str, Mapping[str, Any]]], image: Sequence[int], max_pixels: int, items: int
) -> int:
    """What a slot holds of pixels for the kernel, on the host and on the GPU: as `preprocess.staging` allocates it.

    `image` are the dims of what the steps take, where that is no encoded file.
    """
    from tritonkit_runtime.preprocess.kernel import STAGED_PIXELS
    from tritonkit_runtime.preprocess.staging import IMAGE

    by_name = dict(steps)
    height, width = by_name["resize"]["size"]
    decoded = {"gray": 1, "rgb": 3}
    channels = decoded[by_name["decode"]["to"]] if "decode" in by_name else image[-1]
    pixels = max(min(max_pixels, STAGED_PIXELS), height * width)
    return _rounded(items * IMAGE.itemsize) + items * _rounded(pixels * channels)


def _rounded(size_bytes: int) -> int:
    """To whole 256 bytes, as kernels read."""
    return -(-size_bytes // 256) * 256
