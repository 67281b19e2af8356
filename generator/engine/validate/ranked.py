"""Outputs that are rows in the order of a score, as behind NMS: which they are, and how their rows are paired."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from generator.engine.validate.numbers import flat, is_float

if TYPE_CHECKING:
    from generator.engine.runner import Array, Tensors

Ranks = Mapping[str, Sequence[str]]


def rankings(answers: Sequence[Tensors]) -> dict[str, tuple[str, ...]]:
    """Each score [items, k] that never rises, and the outputs of any type that go with it, row by row, if among them
    are integers [items, k], or rows of values [items, k, n].

    `answers` are FP32's to several batches. The scores of classes do not fall from the first to the last of them for
    every item, and nothing goes with each.
    """
    if not answers:
        return {}
    found: dict[str, tuple[str, ...]] = {}
    first = answers[0]
    for name, score in first.items():
        if not (is_float(score) and score.ndim == 2 and score.shape[1] > 1 and _falls([a[name] for a in answers])):
            continue
        beside = {n: v for n, v in first.items() if n != name and v.ndim >= 2 and v.shape[1] == score.shape[1]}
        if any(value.ndim > 2 or value.dtype.kind in "iu" for value in beside.values()):
            found[name] = tuple(beside)
    return found


def _falls(scores: Sequence[Array]) -> bool:
    """Whether no row of any rises, and not all are of one value."""
    import numpy as np

    steps = [np.diff(np.asarray(score, dtype=np.float64), axis=1) for score in scores]
    return all((step <= 0).all() for step in steps) and any((step < 0).any() for step in steps)


def paired(cost: Array) -> Array:
    """For each row of a matrix [n, m] a column of its own, [n], or -1: the cheapest pairs first; infinity is none."""
    import numpy as np

    order = np.full(len(cost), -1, dtype=np.int64)
    taken = np.zeros(cost.shape[1], dtype=bool)
    values, left = cost.reshape(-1), min(cost.shape)
    finite = np.flatnonzero(np.isfinite(values))
    for place in finite[np.argsort(values[finite], kind="stable")]:
        row, column = divmod(int(place), cost.shape[1])
        if not left:
            break
        if order[row] < 0 and not taken[column]:
            order[row], taken[column], left = column, True, left - 1
    return order


def apart(a: Array, b: Array, unit: float) -> Array:
    """The largest difference of every row of `a` [n, …] to every one of `b` [m, …], [n, m], in units: infinite where
    one is not finite, and where rows that are no floats are unlike."""
    import numpy as np

    x, y = (rows.reshape(len(rows), -1) for rows in (a, b))
    if not is_float(a):
        return np.array([np.where((row == y).all(axis=1), 0.0, np.inf) for row in x]).reshape(len(x), len(y))
    x, y = (np.asarray(rows, dtype=np.float64) for rows in (x, y))
    with np.errstate(invalid="ignore"):
        far = [np.abs(row - y).max(axis=1, initial=0.0) for row in x]
    result: Array = np.nan_to_num(np.array(far).reshape(len(x), len(y)) / unit, nan=np.inf, posinf=np.inf)
    return result


def in_nearest_order(reference: Tensors, candidate: Tensors, ranks: Ranks) -> Tensors:
    """`candidate` with the ranked rows of each item, whole, in the order of the reference's that they are nearest to.

    Near is the sum over outputs of the largest difference as a share of the output's range, of which more than 1 is
    as far as can be. Each row is taken once.
    """
    import numpy as np

    changed = dict(candidate)
    for names in {frozenset((score, *beside)): (score, *beside) for score, beside in ranks.items()}.values():
        if not _same_shapes(reference, candidate, names):
            continue
        items, rows = reference[names[0]].shape[:2]
        moved = [_nearest(reference, candidate, names, item, np.arange(rows)) for item in range(items)]
        for name in names:
            changed[name] = candidate[name][np.arange(items)[:, None], np.array(moved)]
    return changed


def ties_in_order(reference: Tensors, candidate: Tensors, ranks: Ranks, near: float = 0.0) -> Tensors:
    """`candidate` with rows of equal scores in the order of the reference's rows that they are nearest to.

    `ranks` is what `rankings` gives. Only rows move whose scores are equal in the reference: which of them comes
    first says nothing of an engine. Those that it tells apart by at most `near` of the scores' range move where they
    are equal in `candidate`: fewer bits make them so. All else stays where it is.
    """
    changed = dict(candidate)
    for score, beside in ranks.items():
        if not _same_shapes(reference, candidate, (score,)):
            continue
        names = [name for name in beside if _same_shapes(reference, candidate, (name,))]
        for item, rows in _ties(reference[score], candidate[score], near * _range(reference[score])):
            order = _nearest(reference, candidate, names, item, rows)
            for name in names:
                if changed[name] is candidate[name]:
                    changed[name] = candidate[name].copy()
                changed[name][item, rows] = candidate[name][item, order]
    return changed


def _same_shapes(reference: Tensors, candidate: Tensors, names: Sequence[str]) -> bool:
    return all(name in candidate and candidate[name].shape == reference[name].shape for name in names)


def _nearest(reference: Tensors, candidate: Tensors, names: Sequence[str], item: int, rows: Array) -> Array:
    """The rows of the candidate's item, of those at `rows`, that go with the reference's there."""
    import numpy as np

    if all(np.array_equal(reference[name][item, rows], candidate[name][item, rows]) for name in names):
        return rows
    cost = np.zeros((len(rows), len(rows)))
    for name in names:
        a, b = reference[name][item, rows], candidate[name][item, rows]
        cost += np.minimum(apart(a, b, _range(reference[name]) if is_float(a) else 1.0), 1.0)
    result: Array = rows[paired(cost)]
    return result


def _range(values: Array) -> float:
    """The largest absolute value that is finite, or 1."""
    import numpy as np

    finite = np.nan_to_num(np.asarray(values, dtype=np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    return float(np.abs(finite).max(initial=0.0)) or 1.0


def _ties(a: Array, b: Array, near: float) -> Iterator[tuple[int, Array]]:
    """Items, and places of neighbours [n] whose scores are as good as the first of them; both are [items, k]."""
    import numpy as np

    x, y = (np.asarray(scores, dtype=np.float64) for scores in (a, b))
    for item in np.flatnonzero((x[:, :-1] - x[:, 1:] <= near).any(axis=1)):
        start, count = 0, x.shape[1]
        while start < count:
            of_first = (x[item] == x[item, start]) | (
                (np.abs(x[item] - x[item, start]) <= near) & (y[item] == y[item, start])
            )
            others = np.flatnonzero(~of_first[start:])
            stop = start + int(others[0]) if len(others) else count
            if stop - start > 1:
                yield int(item), np.arange(start, stop)
            start = max(stop, start + 1)


@dataclass(frozen=True)
class Rows:
    """One item's ranked rows in two answers: `ours` and `theirs` are the places of those that are the same, pair by
    pair. `tied` counts others of the same score; `real` all, and `strange` those without a partner, on the side that
    has more of them.
    """

    real: int
    ours: Array
    theirs: Array
    tied: int
    strange: int


def rows_of(
    reference: Tensors, candidate: Tensors, ranking: tuple[str, Sequence[str]], tolerances: Mapping[str, float],
    tie: float,
) -> Rows:  # fmt: skip
    """Pairs the rows of one item, [1, k, …], that are within each output's tolerance; others may be tied.

    Of overlapping boxes with scores at most `tie` apart a suppression keeps either: such rows are tied, if they have
    one label, or if another row of the item is the same. What it drops for the one that it keeps may differ too, and
    is strange. Rows without a score are padding; without boxes none is tied.
    """
    import numpy as np

    score, beside = ranking
    a, b = (np.asarray(answer[score], dtype=np.float64).reshape(-1) for answer in (reference, candidate))
    real = max(int((a != 0).sum()), int((b != 0).sum()))
    boxes = [name for name in beside if name in tolerances and reference[name].shape[2:] == (4,)]
    names, none = (score, *beside), np.zeros(0, dtype=np.int64)
    pairable = bool(boxes) and _same_shapes(reference, candidate, names)
    if not pairable or _in_place(reference, candidate, names, tolerances):
        return Rows(real, none, none, tied=0, strange=0)
    far = {name: apart(reference[name][0], candidate[name][0], tolerances.get(name, 1.0)) for name in names}
    cost = np.max(list(far.values()), axis=0)
    order = paired(np.where(cost <= 1.0, cost, np.inf))
    left, free = order < 0, ~np.isin(np.arange(len(b)), order)
    may = (np.abs(a[:, None] - b[None]) <= tie) & (left & (a != 0))[:, None] & (free & (b != 0))[None]
    for name in boxes:
        may &= _overlap(reference[name][0][:, None], candidate[name][0][None])
    if left[a != 0].all():
        for name in set(beside) - set(tolerances):
            may &= far[name] == 0
    ties = paired(np.where(may, 0.0, np.inf))
    tied = int((ties >= 0).sum())
    strange = max(int((left & (a != 0)).sum()), int((free & (b != 0)).sum())) - tied
    ours = np.flatnonzero(~left)
    return Rows(real, ours, order[ours], tied, strange)


def _in_place(
    reference: Tensors, candidate: Tensors, names: Sequence[str], tolerances: Mapping[str, float]
) -> bool:  # fmt: skip
    """Whether every row is the same at its place: as a rule, and then there is nothing to pair."""
    import numpy as np

    def same(a: Array, b: Array, tolerance: float) -> bool:
        with np.errstate(invalid="ignore"):
            return bool((np.abs(flat(a) - flat(b)) <= tolerance).all()) if is_float(a) else np.array_equal(a, b)

    return all(same(reference[name], candidate[name], tolerances.get(name, 0.0)) for name in names)


def _overlap(x: Array, y: Array) -> Array:
    """Whether boxes of two opposite corners [n, 1, 4] and [1, m, 4] have some place in common."""
    import numpy as np

    (x0, x1), (y0, y1) = ((np.minimum(z[..., :2], z[..., 2:]), np.maximum(z[..., :2], z[..., 2:])) for z in (x, y))
    common: Array = (np.minimum(x1, y1) > np.maximum(x0, y0)).all(axis=2)
    return common
