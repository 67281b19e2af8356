"""The outputs of two engines for the same items, side by side."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from generator.engine.errors import Finding, StageError
from generator.engine.validate import numbers
from generator.engine.validate.ranked import rankings, ties_in_order

if TYPE_CHECKING:
    from generator.engine.runner import Array, Tensors


# How far apart two scores may be that these numbers make equal, as a share of the scores' range: one step of theirs.
NEAR: Mapping[str, float] = {
    "fp32": 0.0, "tf32": 2**-11, "fp16": 2**-11, "bf16": 2**-8, "int8": 1 / 127, "fp8": 2**-4,
}  # fmt: skip


@dataclass(frozen=True)
class OutputComparison:
    """One output of the candidate against the reference's. Arrays are [items], of float64 or int64.

    `largest_error` is absolute, `range` the reference's largest absolute value over all items. Of an output that is
    no float only `equal` and `top1` say anything; the others are those of a perfect agreement.
    """

    name: str
    is_float: bool
    cosine: Array
    signal: Array
    noise: Array
    largest_error: Array
    top1: Array
    equal: Array
    not_finite: Array
    reference_not_finite: Array
    range: float

    @property
    def snr_db(self) -> float:
        """Of all items together."""
        return float(numbers.decibels(self.signal.sum(), self.noise.sum()))

    @property
    def relative_error(self) -> float:
        """The largest absolute error as a share of the output's range."""
        worst = float(self.largest_error.max(initial=0.0))
        return worst / self.range if self.range else worst

    def facts(self) -> dict[str, Any]:
        """For the manifest."""
        if not self.is_float:
            return {"equal": float(self.equal.mean()), "top1_agreement": float(self.top1.mean())}
        return {
            "cosine_least": float(self.cosine.min(initial=1.0)),
            "cosine_mean": float(self.cosine.mean()),
            "snr_db": self.snr_db,
            "snr_db_least": float(numbers.decibels(self.signal, self.noise).min(initial=numbers.MOST_DB)),
            "top1_agreement": float(self.top1.mean()),
            "largest_error": float(self.largest_error.max(initial=0.0)),
            "relative_error": self.relative_error,
            "not_finite": int(self.not_finite.sum()),
        }


@dataclass(frozen=True)
class Comparison:
    """All outputs of both, by name; `items` of each."""

    outputs: dict[str, OutputComparison]
    items: int

    @property
    def floats(self) -> list[OutputComparison]:
        """The outputs of a float type."""
        return [output for output in self.outputs.values() if output.is_float]

    def facts(self) -> dict[str, Any]:
        """For the manifest."""
        return {"items": self.items, "outputs": {name: output.facts() for name, output in self.outputs.items()}}


def compare(reference: Sequence[Tensors], candidate: Sequence[Tensors], near: float = 0.0) -> Comparison:
    """Both are what Runner.run gave for the same batches: output name → [items, …]; float types may differ.

    Values that are not finite are counted, and taken out of all else. Rows to which the reference gives equal scores,
    as behind NMS, may have changed places; so may those that are at most `near` of the range apart, where the
    candidate has equal ones.

    Raises StageError (TK979) when outputs, shapes or kinds of type differ, and when there is nothing to compare.
    """
    if not reference or len(reference) != len(candidate):
        raise StageError(
            Finding("TK979", f"there are {len(candidate)} batches of answers to compare with FP32's {len(reference)}")
        )
    import numpy as np

    findings = [f for a, b in zip(reference, candidate, strict=True) for f in _unlike(a, b)]
    if findings:
        raise StageError(dict.fromkeys(findings))
    ranks = rankings(reference)
    candidate = [ties_in_order(a, b, ranks, near) for a, b in zip(reference, candidate, strict=True)]
    outputs = {}
    for name in reference[0]:
        parts = [_one(name, a[name], b[name]) for a, b in zip(reference, candidate, strict=True)]
        columns = {
            field: np.concatenate([getattr(part, field) for part in parts])
            for field in ("cosine", "signal", "noise", "largest_error", "top1", "equal", "not_finite",
                          "reference_not_finite")
        }  # fmt: skip
        outputs[name] = OutputComparison(
            name=name, is_float=parts[0].is_float, range=max(part.range for part in parts), **columns
        )
    return Comparison(outputs, len(next(iter(outputs.values())).equal))


def _unlike(reference: Tensors, candidate: Tensors) -> list[Finding]:
    """Why two answers to one batch cannot be compared."""
    if set(reference) != set(candidate):
        return [Finding("TK979", f"the engine has outputs {_names(candidate)}, the FP32 graph {_names(reference)}")]
    found = []
    for name, a in reference.items():
        b = candidate[name]
        if a.shape != b.shape:
            found.append(
                Finding(
                    "TK979", f"output `{name}` has shape {list(b.shape)} where the FP32 graph's is {list(a.shape)}"
                )
            )
        elif numbers.is_float(a) != numbers.is_float(b):
            found.append(Finding("TK979", f"output `{name}` is {b.dtype} where the FP32 graph's is {a.dtype}"))
        elif a.ndim == 0:
            found.append(Finding("TK979", f"output `{name}` is one value, without an axis of items"))
    return found


def _one(name: str, a: Array, b: Array) -> OutputComparison:
    import numpy as np

    items = len(a)
    nothing, ones = np.zeros(items), np.ones(items)
    counts = np.zeros(items, dtype=np.int64)
    if not numbers.is_float(a):
        equal = (a == b).reshape(items, math.prod(a.shape[1:])).all(axis=1).astype(np.float64)
        top1 = numbers.top1_agreement(a, b)
        return OutputComparison(name, False, ones, nothing, nothing, nothing, top1, equal, counts, counts, 0.0)
    bad, own = numbers.not_finite(a, b), numbers.not_finite(np.zeros_like(a), a)
    x, y = numbers.flat(a), numbers.flat(b)
    both = np.isfinite(x) & np.isfinite(y)
    x, y = np.where(both, x, 0.0), np.where(both, y, 0.0)
    signal, noise = numbers.powers(x, y)
    return OutputComparison(
        name=name,
        is_float=True,
        cosine=numbers.cosine(x, y),
        signal=signal,
        noise=noise,
        largest_error=np.abs(x - y).max(axis=1, initial=0.0),
        top1=numbers.top1_agreement(np.where(both, x, 0.0).reshape(a.shape), y.reshape(a.shape)),
        equal=(x == y).all(axis=1).astype(np.float64),
        not_finite=bad,
        reference_not_finite=own,
        range=float(np.abs(x).max(initial=0.0)),
    )


def _names(tensors: Tensors) -> str:
    return ", ".join(f"`{name}`" for name in sorted(tensors)) or "none"
