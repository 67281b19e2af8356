"""The two 16-bit floats, and what happens to weights that they cannot hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np
    import onnx

    Array = np.ndarray[Any, Any]

Word = Literal["fp16", "bf16"]

# Beyond this a number only stands for "infinite", as in masks of attention.
_AS_GOOD_AS_INFINITE = 1e30


@dataclass(frozen=True)
class Low:
    """A 16-bit type: its word, its number in ONNX, its name in ONNX's schemas.

    `largest` is its largest number, `least_normal` the least that has all its digits.
    """

    word: str
    number: int
    schema: str
    largest: float
    least_normal: float

    def array(self, values: Array) -> Array:
        """FP32 `values` in this type; what is finite stays finite: it is clipped at the largest number."""
        import numpy as np

        clipped = np.where(np.isfinite(values), np.clip(values, -self.largest, self.largest), values)
        if self.word == "fp16":
            return np.asarray(clipped, np.float16)
        import ml_dtypes

        return np.asarray(clipped).astype(ml_dtypes.bfloat16)

    def holds(self, values: Array) -> bool:
        """Whether no weight would be clipped that means its value.

        A single number, and numbers that stand for infinity, may be clipped.
        """
        import numpy as np

        sizes = np.abs(values[np.isfinite(values)])
        meant = sizes[sizes < _AS_GOOD_AS_INFINITE]
        return values.size == 1 or meant.size == 0 or float(meant.max()) <= self.largest

    def clips(self, values: Array) -> int:
        """How many numbers `array` would clip."""
        import numpy as np

        return int(np.count_nonzero(np.isfinite(values) & (np.abs(values) > self.largest)))


def low(word: Word) -> Low:
    """The type called `fp16` or `bf16` in a spec."""
    from onnx import TensorProto

    if word == "fp16":
        return Low("fp16", TensorProto.FLOAT16, "tensor(float16)", 65504.0, 2.0**-14)
    return Low("bf16", TensorProto.BFLOAT16, "tensor(bfloat16)", 3.3895313892515355e38, 2.0**-126)


def initializer(low_type: Low, weight: onnx.TensorProto, name: str) -> onnx.TensorProto:
    """An FP32 weight in a 16-bit type."""
    import onnx
    from onnx import numpy_helper

    values = low_type.array(numpy_helper.to_array(weight))
    return onnx.TensorProto(
        name=name, data_type=low_type.number, dims=values.shape, raw_data=values.view("<u2").tobytes()
    )
