"""Whether samples fit the model that they shall calibrate; everything that does not, at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from generator.engine.errors import Finding
from generator.engine.runner import Samples

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

METHODS = ("entropy", "minmax", "percentile")


@dataclass(frozen=True)
class Input:
    """An input of the graph: NumPy's name of its type, and its axes; None is an axis of any length."""

    name: str
    dtype: str
    shape: tuple[int | None, ...]


def method_findings(method: str, percentile: float) -> list[Finding]:
    """What is wrong with the way to calibrate."""
    if method not in METHODS:
        return [_finding("TK946", f"`{method}` is no way to calibrate; there are {', '.join(METHODS)}")]
    if method == "percentile" and not 50 < percentile <= 100:
        return [_finding("TK946", f"percentile {percentile} is out of range; it is above 50 and at most 100")]
    return []


def sample_findings(inputs: Sequence[Input], samples: Samples) -> list[Finding]:
    """Each mistake of each input once, with the first batch that makes it."""
    if not samples.batches or samples.items == 0:
        return [_finding("TK940", "there are no calibration samples", "100 to 1000 are usual")]
    found: dict[tuple[str, str], Finding] = {}
    for number, batch in enumerate(samples.batches):
        for key, finding in _batch_findings({i.name: i for i in inputs}, batch, number).items():
            found.setdefault(key, finding)
    return list(found.values())


def _batch_findings(
    inputs: Mapping[str, Input], batch: Mapping[str, Array], number: int
) -> dict[tuple[str, str], Finding]:
    found: dict[tuple[str, str], Finding] = {}

    def say(code: str, name: str, text: str, hint: str = "") -> None:
        found[code, name] = _finding(code, f"calibration batch {number}: {text}", hint)

    for name in sorted(inputs.keys() - batch.keys()):
        say("TK941", name, f"the model's input `{name}` is missing; given are {_names(batch)}")
    for name in sorted(batch.keys() - inputs.keys()):
        say("TK941", name, f"the model has no input `{name}`; it has {_names(inputs)}")
    for name in sorted(inputs.keys() & batch.keys()):
        wanted, array = inputs[name], batch[name]
        if array.dtype.name != wanted.dtype:
            say("TK942", name, f"`{name}` is {array.dtype.name}, and the model takes {wanted.dtype}")
        if not fits(array.shape, wanted.shape):
            say("TK943", name, f"`{name}` is {list(array.shape)}, and the model takes {_shape(wanted.shape)}")
        elif array.size == 0:
            say("TK943", name, f"`{name}` is {list(array.shape)}, which holds nothing")
        if bad := _not_finite(array):
            say("TK944", name, f"`{name}` holds {bad} values that are NaN or infinite", "leave these items out")
    return found


def fits(shape: Sequence[int], wanted: Sequence[int | None]) -> bool:
    """Whether an array of `shape` can be given where `wanted` is asked for."""
    return len(shape) == len(wanted) and all(w is None or w == s for s, w in zip(shape, wanted, strict=True))


def _not_finite(array: Array) -> int:
    import numpy as np

    return int(np.count_nonzero(~np.isfinite(array))) if array.dtype.kind == "f" else 0


def _names(things: Mapping[str, Any]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(things)) or "none"


def _shape(shape: Sequence[int | None]) -> str:
    return "[" + ", ".join("any" if axis is None else str(axis) for axis in shape) + "]"


def _finding(code: str, message: str, hint: str = "") -> Finding:
    return Finding(code, message, hint, "build.calibration")
