"""What every part of a spec shares: strictness, and the words for names and data types."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


class Strict(BaseModel):
    """Unknown fields are errors, nothing is converted silently, and a loaded spec never changes."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


def _no_dots(name: str) -> str:
    if ".." in name:
        raise ValueError(f"`{name}` contains `..`, which Triton refuses in a name; use letters, digits, `_`, `-`")
    return name


# Triton takes the directory's name as the model's: a name must be a safe file name on every system.
ModelName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=128), AfterValidator(_no_dots)]
TensorName = Annotated[str, Field(pattern=r"^[^\s\x00-\x1f\x7f]+$", max_length=256)]
# A path from the project's root.
ProjectPath = Annotated[str, Field(pattern=r"^[^/\x00-\x1f][^\x00-\x1f]*$", max_length=1024)]

# `bytes` is what a client holds in a file (an encoded image); `string` is text. Both are TYPE_STRING.
DataType = Literal[
    "bytes", "string", "bool",
    "uint8", "uint16", "uint32", "uint64",
    "int8", "int16", "int32", "int64",
    "fp16", "bf16", "fp32", "fp64",
]  # fmt: skip
Precision = Literal["fp32", "tf32", "fp16", "bf16", "int8", "fp8"]
Engine = Literal["onnxruntime", "tensorrt"]


def triton_dtype(word: str) -> str:
    """`fp32` → `FP32`; `bytes` and `string` → `STRING`: Triton's word without its TYPE_ prefix."""
    return "STRING" if word in {"bytes", "string"} else word.upper()


def spec_dtype(triton: str) -> DataType:
    """The inverse of `triton_dtype`; STRING becomes `string`."""
    return triton.lower()  # type: ignore[return-value]
