"""What is wrong with a gate set, before anything is measured with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from generator.engine.errors import Finding, StageError
from generator.engine.runner import Samples
from generator.engine.validate.numbers import flat

if TYPE_CHECKING:
    from generator.engine.runner import Array

LABELLED = ("top1", "f1")


@dataclass(frozen=True)
class Expected:
    """An input of the graph: numpy's name of its type (`object` for text), and its lengths, -1 where free."""

    dtype: str
    shape: tuple[int, ...]


def expected_inputs(graph: bytes) -> dict[str, Expected]:
    """The inputs of an ONNX graph that have to be given."""
    import onnx

    model = onnx.load_from_string(graph)
    given = {tensor.name for tensor in model.graph.initializer}
    inputs = {}
    for value in model.graph.input:
        if value.name not in given:
            tensor = value.type.tensor_type
            dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
            dims = tensor.shape.dim
            shape = tuple(d.dim_value if d.HasField("dim_value") else -1 for d in dims)
            inputs[value.name] = Expected(dtype.name, shape)
    return inputs


def check_gate_set(
    samples: Samples, inputs: Mapping[str, Expected], metric: str = "", labels: Array | None = None
) -> None:
    """Raises StageError (TK970) with everything that keeps the data from judging an engine of these inputs.

    `labels` is [items, …]; `metric` top1 and f1 need them.
    """
    found = _about_labels(samples, metric, labels)
    if not samples.items:
        found.append(("the gate set is empty", "it needs at least one item, and 100 or more to tell small losses"))
    for number, batch in enumerate(samples.batches):
        if set(batch) != set(inputs):
            found.append(
                (f"batch {number} of the gate set has {_names(batch)}, the graph wants {_names(inputs)}",
                 "the steps before the engine make its inputs: their names must be the graph's")
            )  # fmt: skip
            continue
        found += [pair for name, array in batch.items() for pair in _about_array(name, array, inputs[name])]
    if found:
        raise StageError(Finding("TK970", message, hint, "accuracy") for message, hint in dict.fromkeys(found))


def _about_array(name: str, array: Array, expected: Expected) -> list[tuple[str, str]]:
    found = []
    if array.dtype.name != expected.dtype:
        found.append((f"`{name}` of the gate set is {array.dtype}, the graph wants {expected.dtype}", "convert it"))
    fits = array.ndim == len(expected.shape) and all(
        wanted in (-1, length) for wanted, length in zip(expected.shape[1:], array.shape[1:], strict=False)
    )
    if not fits:
        found.append(
            (f"`{name}` of the gate set has items of shape {list(array.shape[1:])}, the graph wants "
             f"{list(expected.shape[1:])} (-1: any length)", "make the data of the shape that a client sends")
        )  # fmt: skip
    if array.dtype.kind == "f":
        import numpy as np

        bad = ~np.isfinite(flat(array)).all(axis=1)
        if bad.any():
            found.append(
                (f"`{name}` of the gate set holds NaN or Inf, in {int(bad.sum())} of {len(bad)} items of a batch ("
                 f"the first is {int(bad.argmax())})", "take these items out, or mend the step that made them")
            )  # fmt: skip
    return found


def _about_labels(samples: Samples, metric: str, labels: Array | None) -> list[tuple[str, str]]:
    if labels is None:
        if metric not in LABELLED:
            return []
        return [(f"the gate set has no `labels`, which metric {metric} needs", "add them, or use `metric: cosine`")]
    if labels.ndim == 0 or len(labels) != samples.items:
        count = len(labels) if labels.ndim else "one value"
        return [(f"the gate set has {samples.items} items, and labels for {count}", "each item needs its label")]
    if labels.dtype.kind == "f":
        import numpy as np

        if not np.isfinite(labels).all():
            return [("`labels` of the gate set hold NaN or Inf", "each item needs its label")]
    return []


def _names(names: Mapping[str, object]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(names)) or "no inputs"
