"""Mixed precision by measurement: the largest set of layers in 8 bits with which the model is still good."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from generator.engine.errors import Finding, StageError
from generator.engine.precision.keep import Keep
from generator.engine.precision.quantize import Engine, Quantized, RangesLike, quantized
from generator.engine.precision.sensitivity import Harm

if TYPE_CHECKING:
    import onnx

Say = Callable[[str], None]


@dataclass(frozen=True)
class Trial:
    """One model that was judged: its number of quantised layers, and the verdict."""

    layers: int
    good: bool


@dataclass(frozen=True)
class Mixed:
    """`quantised` is the model that was found good. `trials` are all that were judged, in their order."""

    quantised: Quantized
    trials: tuple[Trial, ...]

    @property
    def evaluations(self) -> int:
        """How many models were judged."""
        return len(self.trials)


def search(
    model: onnx.ModelProto, ranges: RangesLike, ranking: Sequence[Harm], good: Callable[[onnx.ModelProto], bool],
    progress: Say | None = None, *, keep: Keep | None = None, for_engine: Engine = "tensorrt",
    reduce_range: bool = False,
) -> Mixed:  # fmt: skip
    """Quantises the first k layers of `ranking`, with k as large as `good` allows, found by bisection.

    All layers are tried first. The set that is returned was itself judged good, and the one with the next layer was
    not. At most 2 + log2(layers) models are judged. Raises StageError: TK936 when not even the first layer is good,
    and what `quantized` raises.
    """
    say = progress or (lambda _text: None)
    trials: list[Trial] = []

    def judge(count: int) -> Quantized | None:
        layers = [harm.layer for harm in ranking[:count]]
        made = quantized(model, ranges, keep, layers, for_engine, reduce_range=reduce_range)
        verdict = good(made.model)
        trials.append(Trial(count, verdict))
        say(f"{count} of {len(ranking)} layers in int8: {'good' if verdict else 'not good'}")
        return made if verdict else None

    best = judge(len(ranking)) if ranking else None
    lowest, highest = 0, len(ranking)  # the largest count that is good, the smallest that is not
    while best is None or (lowest and highest - lowest > 1 and lowest != len(ranking)):
        if highest - lowest <= 1:
            raise _none_good(ranking)
        middle = (lowest + highest) // 2
        made = judge(middle)
        if made is None:
            highest = middle
        else:
            best, lowest = made, middle
    return Mixed(best, tuple(trials))


def _none_good(ranking: Sequence[Harm]) -> StageError:
    least = f" (`{ranking[0].layer}`)" if ranking else ""
    message = f"not even one layer{least} can be int8 with the accuracy that is asked for"
    return StageError(Finding("TK936", message, "choose fp16, or a lower `floor` or larger `max_drop`", "accuracy"))
