"""Inputs to time a model with: random numbers, and ones where a number may be an index."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from generator.engine.errors import Finding, StageError
from generator.engine.inspect.report import dtype_word
from generator.engine.inspect.shapes import axis_name, inputs_of, shaped
from generator.engine.inspect.sizes import bits_of
from generator.engine.inspect.words import listed, size

if TYPE_CHECKING:
    import numpy as np
    import onnx

LARGEST_BYTES = 10**9


def made_inputs(model: onnx.ModelProto, lengths: Mapping[str, int], seed: int) -> dict[str, np.ndarray[Any, Any]]:
    """An array for each input: floats from 0 to 1, all UINT8, whole numbers 1, text `a`. Raises StageError."""
    import numpy as np
    import onnx

    random = np.random.default_rng(seed)
    found: dict[str, np.ndarray[Any, Any]] = {}
    for name, element_type, shape in _shapes(model, lengths):
        if element_type == onnx.TensorProto.STRING:
            found[name] = np.full(shape, "a", object)
            continue
        kind = onnx.helper.tensor_dtype_to_np_dtype(element_type)
        if element_type == onnx.TensorProto.UINT8:
            found[name] = random.integers(0, 256, shape, np.uint8)
        elif dtype_word(element_type).startswith(("FP", "BF")):
            found[name] = random.random(shape, np.float32).astype(kind)
        else:
            found[name] = np.ones(shape, kind)
    return found


def _shapes(model: onnx.ModelProto, lengths: Mapping[str, int]) -> list[tuple[str, int, tuple[int, ...]]]:
    """Name, type and shape of each input. Raises StageError."""
    import math

    found, missing, total = [], [], 0
    for value in inputs_of(model.graph):
        tensor = shaped(value)
        if tensor.dims is None:
            raise StageError(Finding("TK910", f"the input `{value.name}` has no shape, so no data can be made for it",
                                     "run ONNX's shape inference on it, or export it again"))  # fmt: skip
        names = [axis_name(value.name, axis, dim) for axis, dim in enumerate(tensor.dims)]
        missing += [name for name in names if name is not None and name not in lengths]
        shape = tuple(
            dim if isinstance(dim, int) else lengths.get(name or "", 0)
            for name, dim in zip(names, tensor.dims, strict=True)
        )
        total += math.prod(shape) * (bits_of(tensor.element_type) or 64) // 8
        found.append((value.name, tensor.element_type, shape))
    if missing:
        axes = list(dict.fromkeys(missing))
        hint = " ".join(f"--length {axis}=N" for axis in axes)
        raise StageError(Finding("TK910", f"the length of {listed(axes)} is not given", hint))
    if total > LARGEST_BYTES:
        raise StageError(Finding("TK910", f"the inputs would take {size(total)}", "give smaller lengths or batches"))
    return found
