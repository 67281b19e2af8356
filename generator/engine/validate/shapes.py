"""The engine at the least, usual and greatest shape of every profile, against FP32 on the same data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from generator.engine.compile.base import Profile
from generator.engine.errors import StageError
from generator.engine.runner import Runner, Samples
from generator.engine.validate.compare import Comparison, compare
from generator.engine.validate.verdict import Check

if TYPE_CHECKING:
    from generator.engine.runner import Array, Tensors

# Data of the gate set must agree as it does there. Random data is unlike anything that a calibration has seen, so
# that a sound int8 engine may be far from FP32 on it; only a kernel that is broken at a shape leaves less than this.
LEAST_COSINE, LEAST_COSINE_RANDOM = 0.99, 0.9


@dataclass(frozen=True)
class ShapeResult:
    """One shape of one profile: `where` is min, opt or max. `error` says why it could not run at all; else
    `cosine` is the least of any item and float output, `not_finite` a count of values."""

    profile: int
    where: str
    shapes: Mapping[str, tuple[int, ...]]
    random: bool
    least_cosine: float
    cosine: float = 0.0
    not_finite: int = 0
    error: str = ""

    @property
    def passed(self) -> bool:
        """Whether it ran, is finite, and agrees."""
        return not self.error and not self.not_finite and self.cosine >= self.least_cosine

    def check(self) -> Check:
        """For the verdict."""
        shapes = ", ".join(f"{name} {list(shape)}" for name, shape in self.shapes.items())
        place = f"profile {self.profile}, {self.where} ({shapes})"
        data = "random data" if self.random else "gate set"
        if self.error:
            text, value = f"the engine does not run at {place}: {self.error}", "error"
        elif self.not_finite:
            text, value = f"at {place} the outputs hold {self.not_finite} values that are NaN or Inf", "NaN or Inf"
        else:
            text = (
                f"at {place} the least cosine to FP32 on {data} is {self.cosine:.5f}; "
                f"at least {self.least_cosine:g} is asked"
            )
            value = f"{self.cosine:.5f}"
        return Check("TK976", f"{place}, {data}", self.passed, text, value, f"≥ {self.least_cosine:g}")

    def facts(self) -> dict[str, Any]:
        """For the manifest."""
        return {
            "profile": self.profile, "where": self.where, "shapes": {n: list(s) for n, s in self.shapes.items()},
            "random": self.random, "cosine_least": self.cosine, "not_finite": self.not_finite, "error": self.error,
        }  # fmt: skip


def check_shapes(
    reference: Runner,
    candidate: Runner,
    profiles: Sequence[Profile],
    samples: Samples,
    *,
    least_cosine: float = LEAST_COSINE,
    seed: int = 0,
) -> tuple[ShapeResult, ...]:
    """Runs both at every distinct shape of `profiles`; an engine that raises is a result, and not an exception."""
    results, seen = [], set[tuple[tuple[str, tuple[int, ...]], ...]]()
    for number, profile in enumerate(profiles):
        for where in ("min", "opt", "max"):
            shapes = {name: tuple(getattr(range_, where)) for name, range_ in sorted(profile.items())}
            key = tuple(shapes.items())
            if key not in seen:
                seen.add(key)
                tensors, random = tensors_of_shape(shapes, samples, seed)
                least = min(least_cosine, LEAST_COSINE_RANDOM) if random else least_cosine
                result = ShapeResult(number, where, shapes, random, least)
                results.append(replace(result, **_run(reference, candidate, tensors, random)))
    return tuple(results)


def tensors_of_shape(
    shapes: Mapping[str, tuple[int, ...]], samples: Samples, seed: int = 0
) -> tuple[dict[str, Array], bool]:
    """Data of these whole shapes, and whether it is random.

    Items of `samples` over and over, if there are any of this shape; else numbers drawn evenly between the least and
    the greatest value that each input has there. An input of text repeats the first text of the samples.
    """
    for batch in samples.batches:
        fits = all(batch[name].shape[1:] == shape[1:] for name, shape in shapes.items())
        if fits and len(next(iter(batch.values()))):
            return {name: _repeated(batch[name], shape[0]) for name, shape in shapes.items()}, False
    return {name: _drawn(name, shape, samples, seed) for name, shape in shapes.items()}, True


def _run(reference: Runner, candidate: Runner, tensors: Tensors, random: bool) -> dict[str, Any]:
    """Fields of ShapeResult: what came of one batch."""
    try:
        expected = reference.run(tensors)
    except Exception as error:  # noqa: BLE001  (whatever the engine raises is the finding)
        return {"error": f"nor does the FP32 graph: {first_line(error)}"}
    try:
        comparison = compare([expected], [candidate.run(tensors)])
    except StageError as error:
        return {"error": error.findings[0].message}
    except Exception as error:  # noqa: BLE001  (whatever the engine raises is the finding)
        return {"error": first_line(error)}
    # Random data may be nonsense to a model (a mask of nothing): there, only what FP32 computes counts.
    bad = sum(
        int(o.not_finite[o.reference_not_finite == 0].sum() if random else o.not_finite.sum())
        for o in comparison.floats
    )
    return {"cosine": _least_cosine(comparison), "not_finite": bad}


def _least_cosine(comparison: Comparison) -> float:
    return min((float(output.cosine.min(initial=1.0)) for output in comparison.floats), default=1.0)


def _repeated(array: Array, items: int) -> Array:
    import numpy as np

    result: Array = array[np.arange(items) % len(array)]
    return result


def _drawn(name: str, shape: tuple[int, ...], samples: Samples, seed: int) -> Array:
    import numpy as np

    arrays = [batch[name] for batch in samples.batches if batch[name].size]
    kind = arrays[0].dtype.kind
    if kind not in "fiub":
        return np.full(shape, arrays[0].reshape(-1)[0], dtype=arrays[0].dtype)
    low, high = min(a.min() for a in arrays), max(a.max() for a in arrays)
    draw = np.random.default_rng([seed, *shape])
    if kind == "f":
        return draw.uniform(float(low), float(high), shape).astype(arrays[0].dtype)
    return draw.integers(int(low), int(high), shape, endpoint=True).astype(arrays[0].dtype)


def first_line(error: BaseException) -> str:
    """What an engine raised, in one line of at most 300 characters."""
    words = " ".join(str(error).split())
    return (words if len(words) <= 300 else words[:299] + "…") or type(error).__name__
