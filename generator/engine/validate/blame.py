"""Which layers bring the error in: the tensors inside the candidate's graph against those of the FP32 graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from generator.engine.runner import OnnxRunner, Samples
from generator.engine.validate import numbers

if TYPE_CHECKING:
    import onnx

    from generator.engine.runner import Array, Tensors

# All tensors of a graph are held at once, of so many items.
ITEMS_AT_ONCE, MOST_ITEMS = 4, 32
CUTTING = ("Relu", "Clip")


@dataclass(frozen=True)
class LayerHarm:
    """A node of the FP32 graph, by the tensor that it makes.

    `snr_db` is that tensor's signal to noise (behind a Relu or Clip, where that alone uses it), `before_db` the
    lowest of what it was made of (the graph's inputs and weights have numbers.MOST_DB). `added` is the noise that it
    adds: how much larger noise over signal is behind it than before it; 1 is as much noise as signal. `not_finite`
    counts its values that are NaN or Inf, and were not before it.
    """

    node: str
    operator: str
    tensor: str
    snr_db: float
    before_db: float
    added: float
    not_finite: int = 0

    @property
    def fell_db(self) -> float:
        """By how much signal to noise falls from the node's inputs to its output."""
        return self.before_db - self.snr_db


def blame(reference: bytes, candidate: bytes, samples: Samples, most_items: int = MOST_ITEMS) -> list[LayerHarm]:
    """The layers by the noise that each adds, the worst first; NaN and Inf before everything else.

    Compared are the tensors that have the same name in both graphs: casts and Q/DQ keep those. One that the candidate
    rounds to 8 bits is compared as it is after that: an activation may have become part of the rounding. Empty if
    there are none. Raises what ONNX Runtime raises when a graph cannot run.
    """
    import onnx

    from generator.engine.validate.tensors import float_tensors, with_outputs

    first, second = onnx.load_from_string(reference), onnx.load_from_string(candidate)
    made_by_both = float_tensors(second)
    names = [name for name in float_tensors(first) if name in made_by_both]
    if not names:
        return []
    totals = {name: _Total() for name in names}
    rounded = _rounded(second)
    wanted = {name: rounded.get(name, name) for name in names}
    expected = OnnxRunner(with_outputs(first, names), optimise=False, outputs=names)
    theirs = list(dict.fromkeys(wanted.values()))
    found = OnnxRunner(with_outputs(second, theirs), optimise=False, outputs=theirs)
    try:
        for part in _parts(samples, most_items):
            a, b = expected.run(part), found.run(part)
            for name in names:
                totals[name].add(a[name], b[wanted[name]])
    finally:
        expected.close()
        found.close()
    return _ranked(first, totals)


def _rounded(model: onnx.ModelProto) -> dict[str, str]:
    """Tensors that are rounded by Q and DQ → what comes out."""
    rounds = {node.input[0]: node.output[0] for node in model.graph.node if node.op_type == "QuantizeLinear"}
    back = {node.input[0]: node.output[0] for node in model.graph.node if node.op_type == "DequantizeLinear"}
    return {name: back[whole] for name, whole in rounds.items() if whole in back}


class _Total:
    """Signal, noise and values that are not finite, of one tensor over all items."""

    def __init__(self) -> None:
        self.signal = self.noise = 0.0
        self.not_finite = 0

    def add(self, a: Array, b: Array) -> None:
        import numpy as np

        if a.shape != b.shape:  # another layout under the same name: it cannot be compared
            return
        x, y = (np.asarray(t, dtype=np.float64).reshape(1, -1) for t in (a, b))
        self.not_finite += int(numbers.not_finite(x, y).sum())
        both = np.isfinite(x) & np.isfinite(y)
        signal, noise = numbers.powers(np.where(both, x, 0.0), np.where(both, y, 0.0))
        self.signal, self.noise = self.signal + float(signal[0]), self.noise + float(noise[0])

    @property
    def snr_db(self) -> float:
        """Of all that was added."""
        import numpy as np

        return float(numbers.decibels(np.array([self.signal]), np.array([self.noise]))[0])


def _ranked(model: onnx.ModelProto, totals: dict[str, _Total]) -> list[LayerHarm]:
    """In the graph's order first, so that equal harms keep it."""
    # What a tensor that is not compared itself was made of, so that a node behind it is judged by what came before.
    before: dict[str, tuple[float, int]] = {}
    activated, harms = _activated(model), []
    for node in model.graph.node:
        known = [before[name] for name in node.input if name in before]
        low, bad = min((db for db, _ in known), default=numbers.MOST_DB), sum(count for _, count in known)
        for tensor in node.output:
            total = totals.get(tensor)
            if total is None:
                before[tensor] = (low, bad)
                continue
            snr_db = totals.get(activated.get(tensor, tensor), total).snr_db
            before[tensor] = (snr_db, total.not_finite)
            added = max(0.0, _ratio(snr_db) - _ratio(low))
            new_bad = total.not_finite if not bad else 0
            harms.append(LayerHarm(node.name, node.op_type, tensor, snr_db, low, added, new_bad))
    return sorted(harms, key=lambda harm: (-harm.not_finite, -harm.added))


def _activated(model: onnx.ModelProto) -> dict[str, str]:
    """Tensor → what the activation makes of it that is all its use: what that cuts off, harms nobody."""
    uses: dict[str, list[onnx.NodeProto]] = {}
    for node in model.graph.node:
        for name in node.input:
            uses.setdefault(name, []).append(node)
    kept = {value.name for value in model.graph.output}
    return {
        name: nodes[0].output[0]
        for name, nodes in uses.items()
        if len(nodes) == 1 and nodes[0].op_type in CUTTING and name not in kept
    }


def _ratio(db: float) -> float:
    """Noise over signal, in power."""
    return float(10.0 ** (-db / 10.0))


def _parts(samples: Samples, most_items: int) -> Sequence[Tensors]:
    """The first items, a few at a time."""
    if not samples.batched:
        return samples.batches[:most_items]
    parts: list[Any] = []
    left = most_items
    for batch in samples.batches:
        count = len(next(iter(batch.values())))
        for start in range(0, min(count, left), ITEMS_AT_ONCE):
            stop = min(start + ITEMS_AT_ONCE, count, left)
            parts.append({name: array[start:stop] for name, array in batch.items()})
        left -= min(count, left)
    return parts
