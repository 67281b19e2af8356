"""The engine at the least, usual and greatest shape of every profile, against FP32 on the same data."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from generator.engine.compile.base import Profile
from generator.engine.errors import StageError
from generator.engine.runner import Runner, Samples
from generator.engine.validate.compare import Comparison, compare
from generator.engine.validate.ranked import Ranks, in_nearest_order, rankings
from generator.engine.validate.verdict import Check

if TYPE_CHECKING:
    from generator.engine.runner import Array, Tensors

# What nobody needs to explain. Random data is unlike anything that a calibration has seen, so that a sound int8
# engine may be far from FP32 on it; only a kernel that is broken at a shape leaves less than the second.
LEAST_COSINE, LEAST_COSINE_RANDOM = 0.99, 0.9
# An item may be so many times as far from FP32 (1 - cosine) as the same item is where it agrees best.
TIMES_AS_FAR = 2.0
# However far an engine is everywhere, less than this is broken, unless the spec itself asks for less: an error of
# 60 % of the answer's length, √(2·(1−cos)). An INT8 detector that lost 0.014 of F1 had 0.85.
LEAST_ANYWHERE = 0.82
# Of ranked outputs, on the mean over items: a box that is just above a threshold in FP32 may be missing.
LEAST_COSINE_RANKED = 0.9


@dataclass(frozen=True)
class ShapeResult:
    """One shape of one profile: `where` is min, opt or max. `error` says why it could not run at all; else
    `cosine` is what is held against `least_cosine`, and `not_finite` a count of values.

    `items` are the places of the items in the gate set (none of random data), and `cosines` the least of each over
    the float outputs. `ranked`: the outputs are rows in the order of a score, as behind NMS. Rows of nearly equal
    scores may change places, so that each row is compared with its nearest, and `cosine` is the mean of the items.
    """

    profile: int
    where: str
    shapes: Mapping[str, tuple[int, ...]]
    random: bool
    least_cosine: float
    cosine: float = 0.0
    not_finite: int = 0
    error: str = ""
    items: tuple[int, ...] = ()
    cosines: tuple[float, ...] = ()
    ranked: bool = False

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
                f"at {place} the {'mean' if self.ranked else 'least'} cosine to FP32 on {data} is {self.cosine:.5f}; "
                f"at least {self.least_cosine:.5g} is asked"
            )
            value = f"{self.cosine:.5f}"
        return Check("TK976", f"{place}, {data}", self.passed, text, value, f"≥ {self.least_cosine:.5g}")

    def facts(self) -> dict[str, Any]:
        """For the manifest."""
        return {
            "profile": self.profile, "where": self.where, "shapes": {n: list(s) for n, s in self.shapes.items()},
            "random": self.random, "ranked": self.ranked, "cosine_least": min(self.cosines, default=self.cosine),
            "limit": self.least_cosine, "not_finite": self.not_finite, "error": self.error,
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
    found, seen = [], set[tuple[tuple[str, tuple[int, ...]], ...]]()
    for number, profile in enumerate(profiles):
        for where in ("min", "opt", "max"):
            shapes = {name: tuple(getattr(range_, where)) for name, range_ in sorted(profile.items())}
            key = tuple(shapes.items())
            if key not in seen:
                seen.add(key)
                tensors, random = tensors_of_shape(shapes, samples, seed)
                least = min(least_cosine, LEAST_COSINE_RANDOM) if random else least_cosine
                items = () if random else places_of(shapes, samples)
                result = ShapeResult(number, where, shapes, random, least, items=items)
                found.append((result, _run(reference, candidate, tensors)))
    ranks = rankings([pair[0] for _, pair in found if not isinstance(pair, str)])
    return tuple(_compared(result, pair, ranks) for result, pair in found)


def against_gate(
    results: Sequence[ShapeResult], comparison: Comparison, least_anywhere: float = LEAST_ANYWHERE
) -> tuple[ShapeResult, ...]:
    """The results with the limits that an engine has which is as far from FP32 everywhere as this one is.

    What an engine's answers are worth is for the gate to say; here it counts whether they are worse at a shape. Each
    item is held against the best of the same item: in `comparison`, which is of the gate set, and at other shapes, as
    the batches of the gate set may be of the very shape that is broken.
    """
    floats = comparison.floats
    best = {item: min(float(o.cosine[item]) for o in floats) for item in range(comparison.items if floats else 0)}
    for result in results:
        for item, cosine in zip(result.items, result.cosines, strict=False):
            best[item] = max(best.get(item, cosine), cosine)
    return tuple(
        _relative(r, best, {i for o in results if o is not r for i in o.items}, least_anywhere)
        if r.items and r.cosines
        else r
        for r in results
    )


def _relative(
    result: ShapeResult, best_of: Mapping[int, float], elsewhere: Collection[int], least_anywhere: float
) -> ShapeResult:
    """With the limit of all items, if ranked; else of the item that is the farthest below its own."""
    # Items that ran at another shape too say the most of this one.
    known = [best_of[item] for item in result.items if item in elsewhere]
    best = [best_of[item] for item in result.items]
    if result.ranked:
        known = known or best
        limit = _as_far(sum(known) / len(known))
        return replace(result, least_cosine=min(result.least_cosine, limit))
    limits = [min(result.least_cosine, max(_as_far(one), least_anywhere)) for one in best]
    cosine, limit = min(zip(result.cosines, limits, strict=True), key=lambda pair: pair[0] - pair[1])
    return replace(result, cosine=cosine, least_cosine=limit)


def _as_far(best: float) -> float:
    return 1 - TIMES_AS_FAR * (1 - best)


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


def places_of(shapes: Mapping[str, tuple[int, ...]], samples: Samples) -> tuple[int, ...]:
    """Where in `samples` the items are that `tensors_of_shape` takes for these shapes."""
    start = 0
    for batch in samples.batches:
        count = len(next(iter(batch.values())))
        if count and all(batch[name].shape[1:] == shape[1:] for name, shape in shapes.items()):
            if samples.batched:
                return tuple(start + i % count for i in range(next(iter(shapes.values()))[0]))
            return (start,) if all(batch[name].shape == shape for name, shape in shapes.items()) else ()
        start += count if samples.batched else 1
    return ()


def _run(reference: Runner, candidate: Runner, tensors: Tensors) -> tuple[Tensors, Tensors] | str:
    """What both answer to one batch, or why one of them does not."""
    try:
        expected = reference.run(tensors)
    except Exception as error:  # noqa: BLE001  (whatever the engine raises is the finding)
        return f"nor does the FP32 graph: {first_line(error)}"
    try:
        return expected, candidate.run(tensors)
    except Exception as error:  # noqa: BLE001  (whatever the engine raises is the finding)
        return first_line(error)


def _compared(result: ShapeResult, pair: tuple[Tensors, Tensors] | str, ranks: Ranks) -> ShapeResult:
    if isinstance(pair, str):
        return replace(result, error=pair)
    expected, given = pair
    try:
        comparison = compare([expected], [given])
        aligned = compare([expected], [in_nearest_order(expected, given, ranks)]) if ranks else comparison
    except StageError as error:
        return replace(result, error=error.findings[0].message)
    # Random data may be nonsense to a model (a mask of nothing): there, only what FP32 computes counts.
    bad = sum(
        int(o.not_finite[o.reference_not_finite == 0].sum() if result.random else o.not_finite.sum())
        for o in comparison.floats
    )
    floats = aligned.floats
    cosines = tuple(min(float(o.cosine[i]) for o in floats) for i in range(aligned.items)) if floats else ()
    if not ranks:
        return replace(result, cosine=min(cosines, default=1.0), not_finite=bad, cosines=cosines)
    least = min(result.least_cosine, LEAST_COSINE_RANKED)
    mean = sum(cosines) / len(cosines) if cosines else 1.0
    return replace(result, cosine=mean, least_cosine=least, not_finite=bad, cosines=cosines, ranked=True)


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
