"""What a module and its package answer: names, types and shapes, and how far apart they are.

`worker.py` needs it where nothing of the project is: it imports nothing of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# What a compiler may change of a float, as a share of the largest absolute value of that output: it sums in another
# order, and keeps more bits than the module between two operators. A wrong kernel is off by far more.
TOLERANCES = {"fp32": 1e-3, "tf32": 2e-2, "fp16": 2e-2, "bf16": 1e-1}
SMALLEST = 1e-6  # an output whose values are all below it is taken as one of this size


def output_names(request: Mapping[str, Any], outputs: Any) -> list[str]:
    """The graph's; of a factory that does not say them, `output_0` and so on."""
    count = len(as_tuple(outputs))
    names: list[str] = request["outputs"] or [f"output_{index}" for index in range(count)]
    if len(names) != count:
        raise ValueError(f"the module gives {count} outputs, and {len(names)} are named: {', '.join(names)}")
    return names


def as_tuple(outputs: Any) -> tuple[Any, ...]:
    """A module's outputs, one or several."""
    return tuple(outputs) if isinstance(outputs, (tuple, list)) else (outputs,)


def check_tensors(outputs: Any, tensor: type) -> None:
    """Raises ValueError for an output of another type than `tensor`: the graph's names go by order."""
    for found in as_tuple(outputs):
        if not isinstance(found, tensor):
            where = "" if found is outputs else " among its outputs"
            raise ValueError(f"gives a {type(found).__name__}{where}; return a tensor or a tuple of tensors")


def check_outputs(found: tuple[Any, ...], expected: list[dict[str, Any]]) -> None:
    """The types and shapes of the graph's outputs. Raises ValueError with all that differ."""
    differing = []
    for tensor, entry in zip(found, expected, strict=False):
        dtype, dims = str(tensor.dtype).removeprefix("torch."), list(tensor.shape)
        wanted = entry["dims"]
        fits = wanted is None or (
            len(dims) == len(wanted) and all(b is None or a == b for a, b in zip(dims, wanted, strict=True))
        )
        if dtype != entry["dtype"] or not fits:
            lengths = ", ".join("?" if length is None else str(length) for length in wanted or [])
            shape = "of any shape" if wanted is None else f"[{lengths}]"
            differing.append(f"`{entry['name']}` is {dtype} {dims}, and {entry['dtype']} {shape} in the ONNX file")
    if differing:
        raise ValueError("; ".join(differing))


def difference(found: Any, expected: Any, precision: str) -> float:
    """The largest one where the module is finite, which is what its package has to answer there.

    Raises ValueError for another shape (Inductor's kernels may have one length alone), for NaN or infinity where the
    module has none, and for floats beyond the tolerance of the precision. Of other types, which a tie may decide, the
    gate judges.
    """
    if found.shape != expected.shape:
        raise ValueError(f"the package answers {list(found.shape)}, and the module {list(expected.shape)}")
    is_float, found, expected = expected.is_floating_point(), found.float(), expected.float()
    finite = expected.isfinite()
    found, expected = found[finite], expected[finite]
    if not found.numel():
        return 0.0
    if lost := int((~found.isfinite()).sum()):
        raise ValueError(f"the package answers NaN or infinity at {lost} places where the module is finite")
    largest, most = float((found - expected).abs().max()), float(expected.abs().max())
    if is_float and largest > TOLERANCES[precision] * max(most, SMALLEST):
        raise ValueError(f"the package is off by {largest:.3g} where the module answers up to {most:.3g}")
    return largest
