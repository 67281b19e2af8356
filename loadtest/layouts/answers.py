"""Whether all layouts answer alike: bit for bit, or floats within a tolerance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from generator.problems import UserError

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]
    Answer = Mapping[str, Array]

TOLERANCE = 1e-5


class AnswersDifferError(UserError):
    """Two layouts answer differently; the message names the first item in which they do."""


@dataclass(frozen=True)
class Agreement:
    """Of `items` answers. `largest_difference` is, by output, between two floats, absolute; 0 of other types."""

    items: int
    tolerance: float
    allowed: Mapping[str, float]
    largest_difference: Mapping[str, float]

    @property
    def bit_for_bit(self) -> bool:
        """Whether all outputs are equal."""
        return not any(self.largest_difference.values())

    def in_words(self) -> str:
        """A sentence on it."""
        if self.bit_for_bit:
            return "all outputs are equal bit for bit"
        far = self.largest_difference
        name = max(far, key=lambda n: far[n] / (self.allowed[n] or 1.0))
        return (
            f"outputs are equal but for floats, which differ by {far[name]:.2g} at most "
            f"(`{name}`; allowed {self.allowed[name]:.2g})"
        )


def allowed_differences(reference: Sequence[Answer], tolerance: float) -> dict[str, float]:
    """By output: so far may two floats be apart. `tolerance` is a share of its largest value, or absolute below 1."""
    import numpy as np

    allowed = {}
    for name, value in reference[0].items():
        largest = 0.0
        if value.dtype.kind == "f":
            for answer in reference:
                values = np.abs(answer[name].astype(np.float64))
                largest = max(largest, float(values[np.isfinite(values)].max(initial=0.0)))
        allowed[name] = tolerance * max(1.0, largest) if value.dtype.kind == "f" else 0.0
    return allowed


def agree(answers: Mapping[str, Sequence[Answer]], tolerance: float = TOLERANCE) -> Agreement:
    """Layout → one answer an item (output → array): each compared with the first layout's.

    Raises AnswersDifferError at the first item in which any differs by more.
    """
    (first, reference), *others = answers.items()
    allowed = allowed_differences(reference, tolerance)
    largest = dict.fromkeys(allowed, 0.0)
    for item, wanted in enumerate(reference):
        for layout, given in others:
            for name, far in differences((first, wanted), (layout, given[item]), allowed, f"item {item}").items():
                largest[name] = max(largest[name], far)
    return Agreement(len(reference), tolerance, allowed, largest)


def differences(
    one: tuple[str, Answer], other: tuple[str, Answer], allowed: Mapping[str, float], what: str
) -> dict[str, float]:
    """By output: how far `other` is from `one`, each a name and an answer. `what` was asked.

    Raises AnswersDifferError when one differs by more than is allowed, in shape or in type.
    """
    found = {}
    for name in dict.fromkeys([*one[1], *other[1]]):
        if name not in one[1] or name not in other[1]:
            has, lacks = (one[0], other[0]) if name in one[1] else (other[0], one[0])
            raise AnswersDifferError(f"{what}: {has} answers with `{name}`, {lacks} does not")
        a, b = one[1][name], other[1][name]
        if a.shape != b.shape or a.dtype != b.dtype:
            shapes = [f"{x.dtype} {list(x.shape)}" for x in (a, b)]
            raise AnswersDifferError(f"{what}, output `{name}`: {shapes[0]} in {one[0]}, {shapes[1]} in {other[0]}")
        found[name], place = _apart(a, b, allowed[name])
        if place is not None:
            index = f"[{', '.join(map(str, place))}]" if place else ""
            limit = f"; allowed is a difference of {allowed[name]:.2g}" if a.dtype.kind == "f" else ""
            raise AnswersDifferError(
                f"{what}, output `{name}`{index}: {_shown(a[place])} in {one[0]}, {_shown(b[place])} in {other[0]}"
                + limit,
                "a layout must not change what a pipeline answers; no figure is given",
            )
    return found


def _apart(a: Array, b: Array, allowed: float) -> tuple[float, tuple[int, ...] | None]:
    """The largest difference, and the place of the first that is too large. NaN equals NaN, and nothing else."""
    import numpy as np

    if a.dtype.kind != "f":
        wrong = a != b
        far = 0.0
    else:
        x, y = a.astype(np.float64), b.astype(np.float64)
        with np.errstate(invalid="ignore"):
            off = np.where((x == y) | (np.isnan(x) & np.isnan(y)), 0.0, np.abs(x - y))
        off = np.where(np.isnan(off), np.inf, off)
        wrong = off > allowed
        far = float(off.max(initial=0.0))
    places = np.argwhere(wrong)
    return far, tuple(int(i) for i in places[0]) if len(places) else None


def _shown(value: Any) -> str:
    if isinstance(value, bytes):
        return repr(value.decode("utf-8", "replace"))
    return f"{value:.7g}" if hasattr(value, "dtype") and value.dtype.kind == "f" else str(value)
