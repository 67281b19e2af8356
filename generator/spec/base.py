"""What every part of a spec shares: strictness, and the words for names and data types."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from generator.load import codes
from generator.load.errors import FieldError


class Strict(BaseModel):
    """Unknown fields are errors, nothing is converted silently, and a loaded spec never changes."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


@dataclass(frozen=True)
class InWords:
    """Text that matches `pattern`; the message says what is `valid` instead of showing the pattern."""

    pattern: str
    valid: str
    max_length: int
    hint: str = ""

    def check(self, text: str) -> str:
        """The text. Raises FieldError with what was found and what is valid."""
        # Half of a surrogate pair stands for a byte that is no text, as in a file name of another encoding.
        if not re.fullmatch(self.pattern, text) or any("\ud800" <= character <= "\udfff" for character in text):
            raise FieldError(codes.BROKEN_RULE, f"{text[:60]!r} is not valid here; {self.valid}", self.hint)
        if len(text) > self.max_length:
            message = f"{text[:20]!r}… has {len(text)} characters; at most {self.max_length} are valid"
            raise FieldError(codes.BROKEN_RULE, message)
        return text

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {**handler(schema), "pattern": f"^({self.pattern})$", "maxLength": self.max_length}


# Triton takes the directory's name as the model's: a name must be a safe file name on every system.
ModelName = Annotated[str, InWords(
    r"(?!.*\.\.)[A-Za-z0-9][A-Za-z0-9_.-]*",
    "a name is letters, digits, `_`, `-` and single `.`, and begins with a letter or digit", 128,
)]  # fmt: skip
Key = Annotated[
    str,
    InWords(
        r"[A-Za-z0-9][A-Za-z0-9_-]*", "a key is letters, digits, `_` and `-`, and begins with a letter or digit", 64
    ),
]
TensorName = Annotated[str, InWords(
    r"[^\s\x00-\x1f\x7f]+", "a tensor's name has no blanks and no control characters", 256,
    "rename it; in an ONNX file too (exporters take names, as torch.onnx.export's input_names and output_names)",
)]  # fmt: skip
ProjectPath = Annotated[str, InWords(
    r"(?!/)(?!(.*/)?\.\.(/|$))[^\x00-\x1f]+",
    "a path counts from the project's root and stays inside it: no `/` in front, no `..`", 1024,
)]  # fmt: skip

# `bytes` is what a client holds in a file (an encoded image); `string` is text. Both are TYPE_STRING.
DataType = Literal[
    "bytes", "string", "bool",
    "uint8", "uint16", "uint32", "uint64",
    "int8", "int16", "int32", "int64",
    "fp16", "bf16", "fp32", "fp64",
]  # fmt: skip
Precision = Literal["fp32", "tf32", "fp16", "bf16", "int8", "fp8"]
# `auto`: every engine that the target has is built and timed, and the fastest that keeps the accuracy is served.
Engine = Literal["onnxruntime", "tensorrt", "inductor", "auto"]


def triton_dtype(word: str) -> str:
    """`fp32` → `FP32`; `bytes` and `string` → `STRING`: Triton's word without its TYPE_ prefix."""
    return "STRING" if word in {"bytes", "string"} else word.upper()


def spec_dtype(triton: str) -> DataType:
    """The inverse of `triton_dtype`; STRING becomes `string`."""
    return triton.lower()  # type: ignore[return-value]
