"""Batch invariance: an item's answer is the same alone and among others, at every place, in every batch size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from generator.engine.runner import Runner, Samples
from generator.engine.validate import numbers
from generator.engine.validate.ranked import rankings, rows_of, ties_in_order
from generator.engine.validate.shapes import first_line
from generator.engine.validate.verdict import Check

if TYPE_CHECKING:
    from generator.engine.runner import Array, Tensors

# The largest difference that is allowed, as a share of the output's range (the median over items of the largest
# absolute value of an item's answer). Kernels of matrix products may differ by batch size, and sum in another order:
# with FP32 that moves the last bits (seen on a CPU: nothing with ONNX Runtime, 6e-7 of the range with Inductor). With
# fewer bits the same happens in coarser steps: 2^-11 for fp16 and tf32, 2^-8 for bf16, 1/127 for int8.
TOLERANCES: Mapping[str, float] = {
    "fp32": 1e-4, "tf32": 5e-3, "fp16": 5e-3, "bf16": 3e-2, "int8": 3e-2, "fp8": 6e-2,
}  # fmt: skip
# Two scores nearer than this share of the range are a tie, whose order no tolerance can promise.
TIE = TOLERANCES["fp32"]
# Answers that are no floats (an arg-max, a top-k) may change where there is a tie: in one of a hundred placements.
LEAST_EQUAL = 0.99
# Of two overlapping candidates with equal scores a suppression may take either: of all rows in all placements, so
# many may be the other one. (Seen: 0.12, of a detector in FP16 whose suppression shuffles equals in every run.) Which
# one decides what else it drops: where that happened, so many rows may have no partner.
MOST_TIED, MOST_STRANGE = 0.2, 0.1
NEIGHBOURS = ("others", "zeros", "extremes")
MOST_PLACES = 16


@dataclass(frozen=True)
class Neighbours:
    """What was found. `worst` is the largest difference as a share of an output's range, `place` where that was.

    `changed` counts placements in which the largest score became another one, without a tie. `tied` is the share of
    ranked rows that were another box of the same score, `strange` that of rows without a partner where some were.
    """

    tolerance: float
    placements: int
    worst: float
    place: str
    changed: int
    least_equal: float
    error: str = ""
    tied: float = 0.0
    strange: float = 0.0

    @property
    def passed(self) -> bool:
        """Whether no answer depends on its neighbours."""
        return (
            not self.error
            and self.worst <= self.tolerance
            and self.changed == 0
            and self.least_equal >= LEAST_EQUAL
            and self.tied <= MOST_TIED
            and self.strange <= MOST_STRANGE
        )  # fmt: skip

    def check(self) -> Check:
        """For the verdict."""
        if self.error:
            text = f"the engine does not run {self.error}"
        elif self.least_equal < LEAST_EQUAL:
            text = (
                f"answers that are no floats are equal in {self.least_equal:.3f} of {self.placements} placements only"
            )
        elif self.tied > MOST_TIED:
            text = (
                f"{self.tied:.3f} of the rows are other boxes of the same score than those of the item alone, which "
                f"chance does not explain; {MOST_TIED:g} is allowed"
            )
        elif self.strange > MOST_STRANGE:
            text = (
                f"{self.strange:.3f} of the rows are others where candidates of equal scores take turns; "
                f"{MOST_STRANGE:g} is allowed"
            )
        elif self.changed:
            text = (
                f"the first answer became another one in {self.changed} of {self.placements} placements, {self.place}"
            )
        else:
            text = (
                f"an answer differs by up to {self.worst:.2e} of the output's range from the one that it has alone "
                f"({self.place}); {self.tolerance:g} is allowed"
            )
        limit = f"≤ {self.tolerance:g}"
        return Check("TK977", "alone and among others", self.passed, text, f"{self.worst:.1e}", limit)

    def facts(self) -> dict[str, Any]:
        """For the manifest."""
        return {
            "tolerance": self.tolerance, "placements": self.placements, "worst": self.worst, "place": self.place,
            "changed": self.changed, "least_equal": self.least_equal, "tied": self.tied, "strange": self.strange,
            "error": self.error,
        }  # fmt: skip


def check_neighbours(
    runner: Runner,
    samples: Samples,
    sizes: Sequence[int],
    tolerance: float,
    *,
    scores: bool = False,
    alone: int = 1,
    seed: int = 0,
) -> Neighbours:
    """Items of the samples' first batch, each at every place of every batch size (at 16 places of a larger batch).

    The others of a batch are other items (`others`), padding (`zeros`), or the least and greatest values of the data
    (`extremes`: what moves a scale that an engine takes from the whole batch). `alone` is the smallest batch that the
    engine has; an item is alone when all are copies of it. `scores`: the outputs are scores, whose first must stay.
    """
    pool = next((batch for batch in samples.batches if len(next(iter(batch.values())))), None)
    if pool is None or not sizes:
        return Neighbours(tolerance, 0, 0.0, "", 0, 1.0)
    count = min(len(next(iter(pool.values()))), MOST_PLACES)
    try:
        single = [runner.run({n: _copies(a[item], alone) for n, a in pool.items()}) for item in range(count)]
    except Exception as error:  # noqa: BLE001  (whatever the engine raises is the finding)
        return Neighbours(tolerance, 0, 0.0, "", 0, 1.0, f"with batch {alone}: {first_line(error)}")
    tally = _Tally({name: [answer[name][:1] for answer in single] for name in single[0]}, scores, tolerance)
    for size in sorted(set(sizes)):
        for place in _places(size, seed):
            for kind in NEIGHBOURS if size > 1 else NEIGHBOURS[:1]:
                # Twice: else the others, who follow the item, would stand at the same places every time.
                item = (place * (2 if kind == "others" else 1) + size) % count
                batch = {name: _among(array, item, place, size, kind) for name, array in pool.items()}
                where = f"place {place} of batch {size}, neighbours: {kind}"
                try:
                    answers = runner.run(batch)
                except Exception as error:  # noqa: BLE001  (whatever the engine raises is the finding)
                    return Neighbours(
                        tolerance, tally.placements, 0.0, "", 0, 1.0, f"at {where}: {first_line(error)}"
                    )
                # Among other items, every row is one that has an answer of its own; else only the item's.
                rows = {at: (item + at - place) % count for at in range(size)} if kind == "others" else {place: item}
                tally.add(answers, rows, where)
    return tally.result()


class _Tally:
    """The worst so far. `single` is output → each item's answer alone [1, …]."""

    def __init__(self, single: Mapping[str, list[Array]], scores: bool, tolerance: float) -> None:
        self.single, self.scores, self.tolerance = single, scores, tolerance
        self.placements = self.changed = self.unequal = self.judged = 0
        self.rows = self.tied = self.among = self.strange = 0
        self.worst, self.place = 0.0, ""
        self.ranges = {name: _range(rows) for name, rows in single.items() if numbers.is_float(rows[0])}
        count = len(next(iter(single.values()), ()))
        self.ranks = rankings([{name: rows[item] for name, rows in single.items()} for item in range(count)])

    def add(self, answers: Tensors, rows: Mapping[int, int], where: str) -> None:
        """`rows` is place in the batch → item."""
        import numpy as np

        for at, item in rows.items():
            self.placements += 1
            own: Tensors = {name: alone[item] for name, alone in self.single.items()}
            given: Tensors = {name: answers[name][at : at + 1] for name in own}
            own, given = self._without_ties(own, ties_in_order(own, given, self.ranks, TIE))
            for name, before in own.items():
                after = given[name]
                if before.shape != after.shape:
                    self._note(float("inf"), f"another shape of `{name}`, {where}")
                elif name in self.ranges:
                    self._compare(name, before, after, where)
                else:
                    self.judged += 1
                    self.unequal += not bool(np.array_equal(before, after))

    def _without_ties(self, before: Tensors, after: Tensors) -> tuple[Tensors, Tensors]:
        """Both answers, without those ranked rows that are another of the same score or have no partner beside one;
        they are counted. Without such a tie nothing is left out."""
        limits = {name: self.tolerance * range_ for name, range_ in self.ranges.items()}
        own, given = dict(before), dict(after)
        for score, beside in self.ranks.items():
            rows = rows_of(before, after, (score, beside), limits, TIE * self.ranges[score])
            self.rows += rows.real
            if not rows.tied:
                continue
            self.tied, self.among, self.strange = (
                self.tied + rows.tied, self.among + rows.real, self.strange + rows.strange
            )  # fmt: skip
            for name in (score, *beside):
                own[name], given[name] = before[name][:, rows.ours], after[name][:, rows.theirs]
            for name in set(before) - {*self.ranges, score, *beside}:
                if _counts(before[name], before[score]) and _counts(after[name], after[score]):
                    given[name] = own[name]  # as many as there are, of which the strange ones are told already
        return own, given

    def _compare(self, name: str, before: Array, after: Array, where: str) -> None:
        import numpy as np

        a, b = numbers.flat_rows(before), numbers.flat_rows(after)
        with np.errstate(invalid="ignore"):
            distance = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, np.abs(a - b))
        share = float(np.nan_to_num(distance, nan=np.inf).max(initial=0.0)) / self.ranges[name]
        self._note(share, f"`{name}`, {where}")
        if self.scores and a.ndim > 1 and a.shape[-1] > 1:
            first, now = a.argmax(axis=-1)[..., None], b.argmax(axis=-1)[..., None]
            lead = np.take_along_axis(a, first, -1) - np.take_along_axis(a, now, -1)
            if bool((lead > TIE * self.ranges[name]).any()):
                self.changed += 1

    def _note(self, share: float, where: str) -> None:
        if share > self.worst or not self.place:
            self.worst, self.place = share, where

    def result(self) -> Neighbours:
        """What is known after all placements. An infinite difference (NaN, another shape) is given as 1e9."""
        equal = 1.0 - self.unequal / self.judged if self.judged else 1.0
        tied = self.tied / self.rows if self.rows else 0.0
        strange = self.strange / self.among if self.among else 0.0
        return Neighbours(
            self.tolerance, self.placements, min(self.worst, 1e9), self.place, self.changed, equal,
            tied=tied, strange=strange,
        )  # fmt: skip


def _counts(values: Array, score: Array) -> bool:
    """Whether an output is one number: how many rows of the item have a score."""
    return values.size == 1 and values.dtype.kind in "iu" and int(values.reshape(-1)[0]) == int((score != 0).sum())


def _range(answers: Sequence[Array]) -> float:
    """The median over items of an answer's largest absolute value: one loud item must not hide what others suffer."""
    import numpy as np

    values = [np.abs(np.nan_to_num(numbers.flat(a), posinf=0.0, neginf=0.0)).max(initial=0.0) for a in answers]
    return float(np.median(values)) or float(np.max(values)) or 1.0


def _places(size: int, seed: int) -> list[int]:
    """All places of a small batch; of a larger one the first, the last, and some between."""
    if size <= MOST_PLACES:
        return list(range(size))
    import numpy as np

    between = np.random.default_rng([seed, size]).choice(range(1, size - 1), MOST_PLACES - 2, replace=False)
    return sorted({0, size - 1, *between.tolist()})


def _copies(item: Array, times: int) -> Array:
    import numpy as np

    return np.stack([item] * times)


def _among(pool: Array, item: int, place: int, size: int, kind: str) -> Array:
    """A batch of `size` with `item` at `place`; the pool's order goes round it."""
    import numpy as np

    count = min(len(pool), MOST_PLACES)
    if kind == "others":
        result: Array = pool[[(item + at - place) % count for at in range(size)]]
        return result
    batch = np.zeros((size, *pool.shape[1:]), dtype=pool.dtype)
    if pool.dtype.kind not in "fiub":
        batch = np.full(batch.shape, pool.reshape(-1)[0], dtype=pool.dtype)
    elif kind == "extremes":
        batch[::2], batch[1::2] = pool.max(), pool.min()
    batch[place] = pool[item]
    return batch
