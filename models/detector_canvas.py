"""Canvases for the detector: digits of several sizes at free places, and the boxes that they were pasted into."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

SIDE = 48  # pixels, of a canvas
MOST = 6  # digits on a canvas
MOST_LARGE = 2
SMALL, LARGE = (9, 13), (16, 21)  # sides of the two kinds of digit in pixels, from and below
TRIES = 200  # places tried for a digit before its canvas is begun anew
ABSENT = -1.0  # the class of a row of labels that is no digit

Pixels = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.float32]
Values = npt.NDArray[np.float64]
Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Canvases:
    """`image` uint8 [n, 48, 48]; `labels` FP32 [n, 6, 5]: x0, y0, x1, y1 in pixels and the class, or -1 for none.

    x1 and y1 are one past the last pixel. The digits of an item come first, in reading order.
    """

    image: Pixels
    labels: Labels


def enlarged(digit: Pixels, side: int) -> Pixels:
    """A digit uint8 [8, 8] as [side, side], linear between the centres of its pixels.

    Hundreds of values of a set lie half-way between two levels, so the last bit decides. A product of matrices has
    another last bit on each type of CPU; this is the arithmetic that made the committed sets, on all of them.
    """
    places = np.clip((np.arange(side) + 0.5) * 8 / side - 0.5, 0, 7)
    first = np.minimum(places.astype(np.int64), 6)
    second_weight = np.broadcast_to((places - first)[:, None], (side, 8))
    columns = _between(digit[first].astype(float), digit[first + 1].astype(float), second_weight)
    rows = _between(columns.T[first], columns.T[first + 1], np.broadcast_to((places - first)[:, None], (side, side)))
    return np.rint(rows.T).astype(np.uint8)


def _between(first: Values, second: Values, second_weight: Values) -> Values:
    """first * (1 - second_weight) + second * second_weight, of which the second product is not rounded.

    So a fused multiply-add does it. Without one: the errors of product and sum are exact, and added at the end
    (Dekker, "A floating-point technique for extending the available precision", 1971).
    """
    start = first * (1 - second_weight)
    product = second * second_weight
    (high, low), (weight_high, weight_low) = _halves(second), _halves(second_weight)
    lost = ((high * weight_high - product) + high * weight_low + low * weight_high) + low * weight_low
    total = product + start
    of_start = total - product
    return np.asarray(total + (((product - (total - of_start)) + (start - of_start)) + lost))


def _halves(values: Values) -> tuple[Values, Values]:
    """Two parts of at most 26 bits each, whose sum is the value: products of such parts are exact."""
    scaled = values * 134_217_729.0  # 2**27 + 1
    high = scaled - (scaled - values)
    return high, values - high


def _places(sides: Sequence[int], rng: np.random.Generator) -> list[Box] | None:
    """Boxes of these sides of which no two overlap; None where the tries did not do."""
    boxes: list[Box] = []
    for side in sides:
        for _ in range(TRIES):
            x, y = (int(value) for value in rng.integers(0, SIDE - side + 1, 2))
            if all(x + side <= x0 or x1 <= x or y + side <= y0 or y1 <= y for x0, y0, x1, y1 in boxes):
                boxes.append((x, y, x + side, y + side))
                break
        else:
            return None
    return boxes


def _one(digits: Pixels, classes: npt.NDArray[np.int64], rng: np.random.Generator) -> tuple[Pixels, Labels]:
    """One canvas with all of `digits` uint8 [m, 8, 8], and its labels FP32 [6, 5]."""
    large = int(rng.integers(0, min(MOST_LARGE, len(digits)) + 1))
    boxes = None
    while boxes is None:
        sides = [int(rng.integers(*(LARGE if i < large else SMALL))) for i in range(len(digits))]
        boxes = _places(sides, rng)
    image = np.zeros((SIDE, SIDE), np.uint8)
    rows = []
    for digit, label, (x0, y0, x1, y1) in zip(digits, classes.tolist(), boxes, strict=True):
        image[y0:y1, x0:x1] = enlarged(digit, x1 - x0)
        rows.append((y0, x0, x1, y1, label))
    labels = np.zeros((MOST, 5), np.float32)
    labels[:, 4] = ABSENT
    for place, (y0, x0, x1, y1, label) in enumerate(sorted(rows)):
        labels[place] = x0, y0, x1, y1, label
    return image, labels


def canvases(
    images: Pixels, classes: npt.NDArray[np.int64], groups: Sequence[npt.NDArray[np.int64]], rng: np.random.Generator
) -> Canvases:
    """A canvas for each group: the indices of the digits, of images uint8 [n, 8, 8], that it shows."""
    made = [_one(images[group], classes[group], rng) for group in groups]
    return Canvases(np.stack([image for image, _ in made]), np.stack([labels for _, labels in made]))


def each_once(digits: int, rng: np.random.Generator) -> list[npt.NDArray[np.int64]]:
    """All of so many digits, in groups of 0 to 6."""
    order = rng.permutation(digits)
    ends = [0]
    while ends[-1] < digits:
        ends.append(ends[-1] + int(rng.integers(0, MOST + 1)))
    return [order[start:end] for start, end in pairwise(ends)]


def drawn(digits: int, number: int, rng: np.random.Generator, least: int = 0) -> list[npt.NDArray[np.int64]]:
    """`number` groups of `least` to 6 of so many digits, each drawn from all."""
    return [rng.integers(0, digits, int(rng.integers(least, MOST + 1))) for _ in range(number)]
