"""How much harm each layer's quantisation does alone: the ranking that mixed precision is searched along."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from generator.engine.precision.keep import Keep, Kept, layers_of
from generator.engine.precision.quantize import Engine, RangesLike, choose_layers, prepared
from generator.engine.precision.switches import NONE, Switched
from generator.engine.runner import Samples

if TYPE_CHECKING:
    import numpy as np
    import onnx

    Array = np.ndarray[Any, Any]

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Harm:
    """A layer, and the harm that its quantisation does to the outputs while all others stay FP32.

    `harm` is noise over signal: the squared difference to the FP32 outputs over their squared values, over all
    samples, and the mean of all float outputs. 0 is none, 0.01 is a signal-to-noise ratio of 20 dB. Of a graph
    without float outputs it is the share of numbers that differ.
    """

    layer: str
    op: str
    weight_elements: int
    harm: float

    @property
    def snr_db(self) -> float:
        """The same as a signal-to-noise ratio in dB."""
        return -10 * math.log10(self.harm) if self.harm > 0 else math.inf

    def row(self) -> dict[str, Any]:
        """Plain data for a table, or JSON: `harm` is None where the outputs were not finite."""
        return asdict(self) | {"harm": self.harm if math.isfinite(self.harm) else None}


def sensitivity(
    model: onnx.ModelProto, ranges: RangesLike, samples: Samples, progress: Progress | None = None,
    *, keep: Keep | None = None, for_engine: Engine = "tensorrt",
) -> list[Harm]:  # fmt: skip
    """Every layer that can be quantised and that `keep` does not name, the least harmful first.

    The graph is loaded once, and run for each batch once and once more for each layer; a few dozen samples are
    enough for a ranking. `progress(done, total)` counts those runs. Raises StageError as `quantized` does.
    """
    graph_model = prepared(model)
    chosen, _ = choose_layers(graph_model, ranges, keep or Kept(), None, for_engine)
    switched = Switched(graph_model, chosen, ranges, symmetric=for_engine == "tensorrt")
    total, done = len(samples.batches) * (len(chosen) + 1), 0

    def run(layer: int) -> Iterator[dict[str, Array]]:
        nonlocal done
        for batch in samples.batches:
            yield switched.run(batch, layer)
            done += 1
            if progress is not None:
                progress(done, total)

    right = list(run(NONE))
    signal = _sums(switched.outputs, (_powers(values) for values in right))
    floats = [n for n in switched.outputs if all(values[n].dtype.kind == "f" for values in right)]
    counted = floats or switched.outputs
    layers = {layer.name: layer for layer in layers_of(graph_model)}
    harms = [
        Harm(
            name,
            layers[name].op,
            layers[name].weight_elements,
            _harm(_sums(counted, map(_differences, run(index), right)), signal),
        )
        for index, name in enumerate(chosen)
    ]
    return sorted(harms, key=lambda harm: harm.harm)


def _sums(names: Sequence[str], batches: Iterable[Mapping[str, float]]) -> dict[str, float]:
    sums = dict.fromkeys(names, 0.0)
    for values in batches:
        for name in names:
            sums[name] += values[name]
    return sums


def _harm(noise: Mapping[str, float], signal: Mapping[str, float]) -> float:
    ratios = [power / signal[name] if signal[name] else float(power > 0) for name, power in noise.items()]
    mean = sum(ratios) / len(ratios)
    return math.inf if math.isnan(mean) else mean


def _powers(outputs: Mapping[str, Array]) -> dict[str, float]:
    import numpy as np

    return {
        name: float(np.sum(np.square(values, dtype=np.float64))) if values.dtype.kind == "f" else float(values.size)
        for name, values in outputs.items()
    }


def _differences(outputs: Mapping[str, Array], right: Mapping[str, Array]) -> dict[str, float]:
    return {name: _difference(values, right[name]) for name, values in outputs.items()}


def _difference(values: Array, right: Array) -> float:
    import numpy as np

    if values.shape != right.shape:
        return math.inf
    if values.dtype.kind != "f":
        return float(np.count_nonzero(values != right))
    with np.errstate(invalid="ignore"):
        # Where both are the same infinity there is no difference.
        gap = np.where(values == right, 0.0, values.astype(np.float64) - right)
    return float(np.sum(np.square(gap)))
