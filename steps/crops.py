"""A step of a user's own: cut the detector's boxes out of the canvas, so that a classifier can look at each.

A flow names it as `python: steps/crops.py:Crops`. The class needs a constructor that takes the spec's parameters
and a `run`; it knows neither the server nor the rest of the flow, and can be called from a test or a notebook.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Tensors = dict[str, npt.NDArray[Any]]


class Crops:
    """`canvas` FP32 [N, 1, H, W] and `boxes` FP32 [N, K, 4] -> `crops` FP32 [N, K, 1, size, size].

    A box is x0, y0, x1, y1 in whole pixels; x1 and y1 are one past the last. Parameter `size` (8) is the side in
    pixels that every box must have, because the crops of an item are one tensor.
    """

    def __init__(self, parameters: dict[str, Any]) -> None:
        """Take the parameters of the spec. Raises ValueError for an unknown one or a size that is none."""
        unknown = sorted(set(parameters) - {"size"})
        if unknown:
            raise ValueError(f"Crops has no parameter {', '.join(unknown)}; valid: size")
        size = parameters.get("size", 8)
        if not isinstance(size, int) or isinstance(size, bool) or size < 1:
            raise ValueError(f"Crops has size {size!r}; valid: a whole number of pixels, 1 or more")
        self._size = size

    def run(self, tensors: Tensors, fail: Callable[[int, str], None]) -> Tensors:
        """Cut all boxes of all items at once.

        An item with a box that is not `size` pixels square, or not wholly on the canvas, fails alone; its crops
        are the canvas's corner, which nobody gets to see.
        """
        canvas, boxes = tensors["canvas"], tensors["boxes"]
        height, width = canvas.shape[2:]
        good = self._valid(boxes, height, width)
        for index in np.flatnonzero(~good.all(axis=1)):
            number = int(np.argmin(good[index]))
            corners = ", ".join(f"{edge:g}" for edge in boxes[index, number])
            fail(
                int(index),
                f"box {number} is ({corners}); valid: x0, y0, x1, y1 in whole pixels, {self._size} apart, "
                f"within the canvas of {width} x {height}",
            )
        # A NaN or an edge far outside cannot be an index, so what failed is replaced before the cut.
        start = np.where(good[..., None], boxes[..., :2], 0).astype(np.int64)
        along = np.arange(self._size)
        columns = start[:, :, 0, None, None] + along
        rows = start[:, :, 1, None, None] + along[:, None]
        items = np.arange(len(canvas))[:, None, None, None]
        crops = canvas[items, 0, rows, columns]
        return {"crops": crops[:, :, None]}

    def _valid(self, boxes: npt.NDArray[Any], height: int, width: int) -> npt.NDArray[np.bool_]:
        """Return which boxes can be cut, [N, K]; every comparison with NaN is false."""
        x0, y0, x1, y1 = np.moveaxis(boxes, -1, 0)
        whole = (np.floor(boxes) == boxes).all(axis=-1)
        inside = (x0 >= 0) & (y0 >= 0) & (x1 <= width) & (y1 <= height)
        # Written as sums: the difference of two infinities would be NaN, with a warning.
        square = (x0 + self._size == x1) & (y0 + self._size == y1)
        valid: npt.NDArray[np.bool_] = whole & inside & square
        return valid
