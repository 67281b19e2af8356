"""What to try next when an engine fails the gate: sentences, each with the lines to write into the spec."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from generator.engine.validate.blame import LayerHarm

# Of all the noise that layers add, so much is put down to the named ones; and no more of them than this.
NAMED_SHARE, MOST_NAMED = 0.8, 5
QUANTISED = ("int8", "fp8")
# To where no large value is cut off, which a transformer or a detector may need; and from there to where some are.
OTHER_METHODS = {"entropy": "minmax", "percentile": "minmax", "minmax": "entropy"}


@dataclass(frozen=True)
class Advice:
    """One thing to try. `yaml` stands under the spec's `model:`, or is empty."""

    text: str
    yaml: str = ""

    def __str__(self) -> str:
        return f"{self.text}: `{self.yaml}`" if self.yaml else self.text


def advise(
    precision: str, ranking: Sequence[LayerHarm], *, method: str = "", mixed: bool = False,
    failed: Sequence[str] = (), kept: Sequence[str] = (), bf16: bool = True,
) -> list[Advice]:  # fmt: skip
    """What promises most first. `method` is the calibration's, `mixed` whether it was tried, `failed` the codes of
    the checks that failed, `kept` the nodes that the spec keeps already, `bf16` whether the engine runs that."""
    worst = culprits(ranking)
    advice = []
    if "TK977" in failed:
        advice.append(
            Advice(
                "something in the graph reduces over the batch axis or takes a scale from the whole batch "
                "(DynamicQuantizeLinear, a ReduceMean over axis 0, a BatchNormalization in training mode); "
                "a larger tolerance will not mend it"
            )
        )
    broken = bool(ranking) and ranking[0].not_finite > 0
    if broken:
        advice.append(_overflow(precision, ranking[0]))
    if precision == "int8" and not mixed:
        # It tries what the ranking below only guesses: errors of layers add up and cancel.
        advice.append(Advice("let the build find the layers that stay as they are", "build: {mixed: true}"))
    if worst and not broken:
        advice.append(keep(worst, precision, kept))
    if precision in QUANTISED:
        if method in OTHER_METHODS:
            other = OTHER_METHODS[method]
            advice.append(
                Advice(f"other ranges than those of {method}, under `build.calibration`", f"method: {other}")
            )
        advice.append(
            Advice("half precision, which needs no calibration and seldom costs accuracy", "precision: fp16")
        )
    elif precision == "fp16" and bf16:
        advice.append(Advice("the range of fp32 in 16 bits", "precision: bf16"))
    if precision in ("fp16", "bf16", "tf32"):
        advice.append(Advice("full precision", "precision: fp32"))
    return advice


def culprits(ranking: Sequence[LayerHarm]) -> list[LayerHarm]:
    """The fewest layers that add most of the noise."""
    total = sum(harm.added for harm in ranking)
    named: list[LayerHarm] = []
    for harm in ranking[:MOST_NAMED]:
        if harm.added <= 0 or sum(h.added for h in named) >= NAMED_SHARE * total:
            break
        named.append(harm)
    return named


def keep(worst: Sequence[LayerHarm], precision: str, kept: Sequence[str] = ()) -> Advice:
    """Keeps these layers as they are, and the nodes that are kept already: by name, or by operator where the graph's
    nodes have no names."""
    described = ", ".join(
        f"{harm.node or harm.tensor} ({harm.operator}, {harm.before_db:.0f} → {harm.snr_db:.0f} dB)" for harm in worst
    )
    named = all(harm.node for harm in worst)
    what = "nodes" if named else "operators"
    values = list(dict.fromkeys([*(kept if named else ()), *(h.node if named else h.operator for h in worst)]))
    quoted = ", ".join(f'"{value}"' for value in values)
    return Advice(
        f"most of the error of {precision} comes in at {described}", f"build: {{keep: {{{what}: [{quoted}]}}}}"
    )


def _overflow(precision: str, harm: LayerHarm) -> Advice:
    place = f"{harm.node or harm.tensor} ({harm.operator})"
    if precision != "fp16":
        return Advice(f"the first NaN or Inf comes out of {place}: look at its weights")
    value = f'nodes: ["{harm.node}"]' if harm.node else f"operators: [{harm.operator}]"
    return Advice(
        f"the first NaN or Inf comes out of {place}, whose values may be beyond fp16's 65,504; bf16 has fp32's range",
        f"build: {{keep: {{{value}}}}}",
    )
