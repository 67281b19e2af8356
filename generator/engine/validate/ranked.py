"""Outputs that are rows in the order of a score, as behind NMS: which they are, and how their rows are paired."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from generator.engine.validate.numbers import is_float

if TYPE_CHECKING:
    from generator.engine.runner import Array, Tensors


def ranked_outputs(answers: Sequence[Tensors]) -> frozenset[str]:
    """The float outputs with ranked rows: [items, k, …], where another output is a score [items, k] that never rises
    and something goes with each score: integers [items, k], or rows of values [items, k, n].

    `answers` are FP32's to several batches. The scores of classes do not fall from the first to the last of them for
    every item, and nothing goes with each.
    """
    found = rankings(answers)
    floats = {name for name, value in (answers[0] if answers else {}).items() if is_float(value)}
    return frozenset(floats & {*found, *(name for beside in found.values() for name in beside)})


def rankings(answers: Sequence[Tensors]) -> dict[str, tuple[str, ...]]:
    """Each such score, and the outputs of any type that go with it, row by row."""
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


def nearest_rows(reference: Array, candidate: Array) -> Array:
    """`candidate` [items, k, …] with the rows of each item in the order of the reference's that they are nearest to.

    Each row is taken once; what is not finite is far from everything. Arrays of unlike shapes stay as they are.
    """
    import numpy as np

    if reference.shape != candidate.shape:
        return candidate
    items, rows = reference.shape[:2]
    a, b = (np.asarray(x, dtype=np.float64).reshape(items, rows, -1) for x in (reference, candidate))
    order = np.empty((items, rows), dtype=np.int64)
    for item in range(items):
        free = np.ones(rows, dtype=bool)
        for row in range(rows):
            far = np.abs(b[item] - a[item, row]).sum(axis=1)
            order[item, row] = np.argmin(np.where(free & np.isfinite(far), far, np.where(free, 1e300, np.inf)))
            free[order[item, row]] = False
    result: Array = candidate[np.arange(items)[:, None], order]
    return result


def ties_in_order(reference: Tensors, candidate: Tensors, ranks: Mapping[str, Sequence[str]]) -> Tensors:
    """`candidate` with rows of equal scores in the order of the reference's rows that they are nearest to.

    `ranks` is what `rankings` gives. Only rows move whose scores are equal in one of the two answers: which of them
    comes first says nothing of an engine. All else stays where it is.
    """
    import numpy as np

    changed = dict(candidate)
    for score, beside in ranks.items():
        names = [name for name in beside if name in candidate and candidate[name].shape == reference[name].shape]
        if score not in candidate or candidate[score].shape != reference[score].shape:
            continue
        for item, rows in _ties(reference[score], candidate[score]):
            apart = np.zeros((len(rows), len(rows)))
            for name in names:
                apart += _apart(reference[name][item, rows], candidate[name][item, rows])
            if not np.diagonal(apart).any():
                continue
            order = rows[_nearest(apart)]
            for name in names:
                if changed[name] is candidate[name]:
                    changed[name] = candidate[name].copy()
                changed[name][item, rows] = candidate[name][item, order]
    return changed


@dataclass(frozen=True)
class Rows:
    """One item's ranked rows in two answers: `tied` are others of the same score, `strange` have no partner."""

    outputs: tuple[str, ...]
    real: int
    tied: int
    strange: int


def rows_of(
    reference: Tensors, candidate: Tensors, ranking: tuple[str, Sequence[str]], tolerances: Mapping[str, float],
    tie: float,
) -> Rows:  # fmt: skip
    """Pairs the rows of one item, [1, k, …], with scores at most `tie` apart and the rest within its tolerances.

    Of overlapping boxes with equal scores a suppression keeps either: such rows are tied. What it drops for the one
    that it keeps may differ too, and is strange. Rows without a score are padding; without boxes none is tied.
    """
    import numpy as np

    score, beside = ranking
    boxes = [name for name in beside if name in tolerances and reference[name].shape[2:] == (4,)]
    if not boxes or any(candidate[name].shape != reference[name].shape for name in (score, *beside)):
        return Rows((), 0, 0, 0)
    a, b = reference[score][0].astype(np.float64), candidate[score][0].astype(np.float64)
    near = np.abs(a[:, None] - b[None]) <= tie
    same, may = near.copy(), near & (a != 0)[:, None]
    for name in beside:
        x, y = reference[name][0].reshape(len(a), 1, -1), candidate[name][0].reshape(1, len(b), -1)
        same &= ((np.abs(x - y) <= tolerances[name]) if name in tolerances else (x == y)).all(axis=2)
        if name in boxes:
            may &= _overlap(x, y)
    left_a, left_b = _paired(same, np.ones(len(a), dtype=bool), np.ones(len(b), dtype=bool))
    others = left_a.sum()
    left_a, left_b = _paired(may, left_a, left_b)
    return Rows((score, *beside), int((a != 0).sum()), int(others - left_a.sum()), int((left_a & (a != 0)).sum()))


def _overlap(x: Array, y: Array) -> Array:
    """Whether boxes of two opposite corners [n, 1, 4] and [1, m, 4] have some place in common."""
    import numpy as np

    (x0, x1), (y0, y1) = ((np.minimum(z[..., :2], z[..., 2:]), np.maximum(z[..., :2], z[..., 2:])) for z in (x, y))
    common: Array = (np.minimum(x1, y1) > np.maximum(x0, y0)).all(axis=2)
    return common


def _paired(fits: Array, left_a: Array, left_b: Array) -> tuple[Array, Array]:
    """What is left of both sides when each row has taken the first of those that fit it."""
    left_a, left_b = left_a.copy(), left_b.copy()
    for row in range(len(left_a)):
        free = fits[row] & left_b
        if left_a[row] and free.any():
            left_a[row] = left_b[int(free.argmax())] = False
    return left_a, left_b


def _ties(a: Array, b: Array) -> Iterator[tuple[int, Array]]:
    """Items, and places of neighbours [n] with equal scores in `a` or `b`, both [items, k]."""
    import numpy as np

    for item, linked in enumerate((a[:, 1:] == a[:, :-1]) | (b[:, 1:] == b[:, :-1])):
        if linked.any():
            groups = np.split(np.arange(len(linked) + 1), np.flatnonzero(~linked) + 1)
            yield from ((item, rows) for rows in groups if len(rows) > 1)


def _apart(a: Array, b: Array) -> Array:
    """How far every row of `a` [n, …] is from every row of `b`, [n, n]: a sum, or whether they differ."""
    import numpy as np

    x, y = (np.asarray(rows).reshape(len(rows), 1, -1) for rows in (a, b))
    if not is_float(a):
        unlike: Array = (x != y.transpose(1, 0, 2)).any(axis=2).astype(np.float64)
        return unlike
    far: Array = np.abs(x.astype(np.float64) - y.transpose(1, 0, 2)).sum(axis=2)
    return np.nan_to_num(far, nan=1e300, posinf=1e300)


def _nearest(apart: Array) -> Array:
    """For each row of a matrix [n, n] a column of its own: the nearest that is left."""
    import numpy as np

    left, order = apart.copy(), np.empty(len(apart), dtype=np.int64)
    for row in range(len(apart)):
        order[row] = left[row].argmin()
        left[:, order[row]] = np.inf
    return order
