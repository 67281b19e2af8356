"""The gate: what was measured against what is asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from generator.engine.errors import Finding, StageError
from generator.engine.validate.compare import Comparison
from generator.engine.validate.metrics import Score
from generator.engine.validate.shapes import LEAST_ANYWHERE, against_gate
from generator.engine.validate.verdict import Change, Check, Verdict

if TYPE_CHECKING:
    from generator.engine.validate.neighbours import Neighbours
    from generator.engine.validate.shapes import ShapeResult

# Without labels, nothing says what a difference costs. These are held instead:
# - the largest output is FP32's for 99 % of the rows: MLPerf Inference's "99 % of the reference" with FP32 as truth;
# - a cosine of at least 0.99 for every item: an error of no more than 14 % of the answer's length, √(2·(1−cos));
# - 20 dB over all items: an error of no more than 10 % of the answers' power-weighted length, 10^(−20/20).
# int8 of convolutional networks usually has 25–40 dB, fp16 60 dB and more; a layer that is broken leaves 0–15 dB.
MIN_TOP1_AGREEMENT, MIN_COSINE, MIN_SNR_DB = 0.99, 0.99, 20.0
# Below so many items the interval of a share near 0.98 is wider than ±3 points.
FEW_ITEMS = 100
# A class is named in a note if it lost so many of its labels, and so much of its share.
CLASS_LOST_LABELS, CLASS_LOST_SHARE = 3, 0.05
MOST_CHANGES = 100
# Shares are quotients of counts: a limit that is met exactly must not fail by a rounding error.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Gate:
    """What is asked of an engine. `metric` is top1, f1, cosine, or empty without labels.

    The limits on its outputs against FP32's hold where they are given.
    """

    metric: str = ""
    floor: float = 0.0
    max_drop: float = 1.0
    min_cosine: float | None = None
    min_snr_db: float | None = None
    min_top1_agreement: float | None = None

    @classmethod
    def unlabelled(cls, *, scores: bool) -> Gate:
        """The limits when nothing is asked; `scores`: the outputs are scores of classes, so that one is first."""
        return cls(
            min_cosine=MIN_COSINE, min_snr_db=MIN_SNR_DB, min_top1_agreement=MIN_TOP1_AGREEMENT if scores else None
        )


def check_floor(gate: Gate, reference: Score) -> None:
    """Raises StageError (TK971) if FP32 itself is below the floor: no precision can mend that."""
    if reference.value >= gate.floor - _ROUNDING:
        return
    raise StageError(
        Finding(
            "TK971",
            f"FP32 itself has {reference.metric} {reference.value:.4f} on {_items(reference)}, below the floor "
            f"{gate.floor:g}: no precision is to blame",
            "look at the labels, the preprocessing and the ONNX file, or lower `accuracy.floor`",
            "accuracy",
        )
    )


def judge(
    precision: str,
    gate: Gate,
    comparison: Comparison,
    *,
    reference: Score | None = None,
    candidate: Score | None = None,
    shapes: Sequence[ShapeResult] = (),
    neighbours: Neighbours | None = None,
) -> Verdict:
    """`comparison`: the engine's outputs with FP32's on the gate set; the scores are both engines' by `gate.metric`
    (`reference` may be left out with cosine: FP32 agrees with itself).

    Raises StageError (TK971) if FP32 itself misses the floor.
    """
    checks = [_finite(comparison)]
    notes: list[str] = []
    facts: dict[str, Any] = {"comparison": comparison.facts()}
    change = Change()
    if candidate is not None:
        reference = reference or _exact(candidate)
        check_floor(gate, reference)
        checks += _against_limits(gate, reference, candidate)
        change = _changed(reference, candidate)
        notes += _notes(gate, reference, candidate, change)
        facts["metric"] = _score_facts(reference, candidate)
    checks += _agreement(gate, comparison)
    asked = LEAST_ANYWHERE if gate.min_cosine is None else gate.min_cosine
    shapes = against_gate(shapes, comparison, min(asked, LEAST_ANYWHERE))
    checks += [result.check() for result in shapes]
    if neighbours is not None:
        checks.append(neighbours.check())
        facts["neighbours"] = neighbours.facts()
    if shapes:
        facts["shapes"] = [result.facts() for result in shapes]
    return Verdict(precision, tuple(checks), tuple(notes), change, facts)


def _exact(candidate: Score) -> Score:
    """FP32's cosine to itself."""
    import numpy as np

    if candidate.metric != "cosine":
        raise ValueError(f"metric {candidate.metric} needs FP32's score too")
    return replace(candidate, value=1.0, right=np.ones_like(candidate.right))


def _finite(comparison: Comparison) -> Check:
    bad = {o.name: int(o.not_finite.sum()) for o in comparison.floats if o.not_finite.any()}
    text = "all outputs are finite"
    if bad:
        name, count = next(iter(bad.items()))
        output = comparison.outputs[name]
        items = int((output.not_finite > 0).sum())
        text = f"output `{name}` holds {count} values that are NaN or Inf, in {items} of {comparison.items} items"
        own = int((output.reference_not_finite > 0).sum())
        text += f"; FP32's has them too, in {own} items: it is the model or the data" if own else "; FP32's has none"
    return Check("TK975", "NaN or Inf", not bad, text, str(sum(bad.values())), "0")


def _against_limits(gate: Gate, reference: Score, candidate: Score) -> list[Check]:
    name, value, before = candidate.metric, candidate.value, reference.value
    low, high = candidate.interval
    floor = Check(
        "TK972", f"{name}, floor", value >= gate.floor - _ROUNDING,
        f"{name} is {value:.4f} (95 %: {low:.4f} to {high:.4f}) on {_items(candidate)}; the floor is {gate.floor:g}, "
        f"FP32 has {before:.4f}",
        f"{value:.4f}", f"≥ {gate.floor:g}", f"{before:.4f}",
    )  # fmt: skip
    if name == "cosine":  # FP32's cosine to itself is 1: a drop from it says the same as the floor
        return [floor]
    drop = before - value
    return [
        floor,
        Check(
            "TK973", f"{name}, drop", drop <= gate.max_drop + _ROUNDING,
            f"{name} fell by {drop:.4f}, from FP32's {before:.4f} to {value:.4f}; {gate.max_drop:g} is allowed",
            f"{drop:+.4f}", f"≤ {gate.max_drop:g}",
        ),
    ]  # fmt: skip


def _agreement(gate: Gate, comparison: Comparison) -> list[Check]:
    """Limits on the outputs themselves, by output, where they are given."""
    checks = []
    for output in comparison.outputs.values():
        measured = [
            ("cosine to FP32, least", float(output.cosine.min(initial=1.0)), gate.min_cosine, ".5f", output.is_float),
            ("signal to noise, dB", output.snr_db, gate.min_snr_db, ".1f", output.is_float),
            ("top-1 agreement", float(output.top1.mean()), gate.min_top1_agreement, ".4f", True),
        ]
        for what, value, limit, form, applies in measured:
            if limit is None or not applies:
                continue
            checks.append(
                Check(
                    "TK974", f"`{output.name}`: {what}", value >= limit - _ROUNDING,
                    f"output `{output.name}` has {what} {value:{form}}; at least {limit:g} is asked",
                    f"{value:{form}}", f"≥ {limit:g}",
                )
            )  # fmt: skip
    return checks


def _changed(reference: Score, candidate: Score) -> Change:
    import numpy as np

    if reference.metric == "cosine":  # every item of FP32 agrees with itself
        return Change(lost=tuple(np.flatnonzero(~candidate.right)[:MOST_CHANGES].tolist()))
    lost = np.flatnonzero(reference.right & ~candidate.right)[:MOST_CHANGES].tolist()
    won = np.flatnonzero(~reference.right & candidate.right)[:MOST_CHANGES].tolist()
    return Change(tuple(lost), tuple(won))


def _notes(gate: Gate, reference: Score, candidate: Score, change: Change) -> list[str]:
    low, high = candidate.interval
    notes = []
    if candidate.labels < FEW_ITEMS:
        notes.append(
            f"the gate set has only {_items(candidate)}: the 95 % interval of {candidate.metric} is {low:.3f} to "
            f"{high:.3f}; {FEW_ITEMS} or more tell small losses from chance"
        )
    if candidate.metric != "cosine" and 0 < gate.max_drop * candidate.labels < 1:
        notes.append(
            f"one label of {candidate.labels} is {1 / candidate.labels:.4f} of {candidate.metric}, more than the "
            f"`max_drop` of {gate.max_drop:g}: a single one that changes fails the gate"
        )
    for name, (before, total) in reference.by_class.items():
        after = candidate.by_class.get(name, (0, total))[0]
        if before - after >= CLASS_LOST_LABELS and before - after >= CLASS_LOST_SHARE * total:
            notes.append(f"class {name} fell from {before} to {after} of {total}: the mean hides it")
    if change.lost and candidate.metric != "cosine" and candidate.value >= reference.value:
        notes.append(f"{len(change.lost)} items became wrong and {len(change.won)} right: the mean hides both")
    return notes


def _score_facts(reference: Score, candidate: Score) -> dict[str, Any]:
    return {
        "name": candidate.metric,
        "labels": candidate.labels,
        "items": len(candidate.right),
        "fp32": reference.value,
        "fp32_interval": list(reference.interval),
        "value": candidate.value,
        "interval": list(candidate.interval),
        "drop": reference.value - candidate.value,
        "by_class": {
            name: {"labels": total, "fp32": before, "value": candidate.by_class.get(name, (0, total))[0]}
            for name, (before, total) in reference.by_class.items()
        },
    }


def _items(score: Score) -> str:
    items = f"{len(score.right)} items"
    return items if score.labels == len(score.right) else f"{score.labels} labels of {items}"
