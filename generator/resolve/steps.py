"""What a chain of built-in steps makes of a tensor, known before anything runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from generator.collector import Collector
from generator.collector import Path as FieldPath
from generator.plan import Tensor
from generator.project import Project
from generator.spec import steps as spec
from generator.spec.base import triton_dtype


@dataclass(frozen=True)
class Value:
    """What flows between two steps.

    `dtype` and `dims` are of one item. `images` says that the last axis holds channels; a -1 in the first
    two axes of images means sizes that differ from item to item, which only `resize` can take.
    """

    dtype: str
    dims: tuple[int, ...]
    images: bool = False

    def ragged(self) -> bool:
        """Whether items of one batch may differ in size."""
        return self.images and -1 in self.dims

    def __str__(self) -> str:
        if self.ragged():
            return f"images of any size ({self.dims[-1]} channels)"
        return f"{self.dtype} [{', '.join(map(str, self.dims))}]"


class StepError(Exception):
    """Raised by a step that cannot take what it is given: a sentence and a hint."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message, self.hint = message, hint


@dataclass(frozen=True)
class Chain:
    """The result: outputs by the names that the last step gives them, or one output without a name."""

    outputs: tuple[Tensor, ...]
    named: bool
    json: tuple[tuple[str, dict[str, Any]], ...]


def decode(step: spec.Decode, value: Value) -> Value:
    """Encoded bytes → images of any size."""
    if (value.dtype, value.dims) != ("STRING", (1,)):
        raise StepError(f"`decode` takes encoded bytes, and gets {value}", "declare the input as `{type: bytes}`")
    return Value("UINT8", (-1, -1, 1 if step.to == "gray" else 3), images=True)


def resize(step: spec.Resize, value: Value) -> Value:
    """Images → images of one size."""
    if value.dtype != "UINT8" or len(value.dims) != 3 or value.dims[2] not in (1, 3, 4):
        raise StepError(
            f"`resize` takes UINT8 images [height, width, channels], and gets {value}",
            "put it before `normalize`",
        )
    return Value("UINT8", (*step.size, value.dims[2]), images=True)


def _fixed(name: str, value: Value) -> None:
    if value.ragged():
        raise StepError(f"`{name}` takes images of one size, and gets {value}", "put a `resize` before it")


def _numeric(name: str, value: Value) -> None:
    _fixed(name, value)
    if value.dtype in {"STRING", "BOOL"}:
        raise StepError(f"`{name}` takes numbers, and gets {value}")


def normalize(step: spec.Normalize, value: Value) -> Value:
    """Numbers → FP32 of the same shape."""
    _numeric("normalize", value)
    channels = value.dims[-1]
    for word, numbers in (("mean", step.mean), ("std", step.std)):
        if isinstance(numbers, list) and len(numbers) != channels:
            raise StepError(
                f"`{word}` has {len(numbers)} numbers for {channels} channels ({value})",
                "give one number, or one a channel"
                + ("; put `normalize` before `channels_first`" if value.dims else ""),
            )
    return replace(value, dtype="FP32")


def channels_first(_step: spec.ChannelsFirst, value: Value) -> Value:
    """[height, width, channels] → [channels, height, width]."""
    _fixed("channels_first", value)
    if len(value.dims) != 3:
        raise StepError(f"`channels_first` takes [height, width, channels], and gets {value}")
    return Value(value.dtype, (value.dims[2], value.dims[0], value.dims[1]))


def cast(step: spec.Cast, value: Value) -> Value:
    """Another element type."""
    _numeric("cast", value)
    if triton_dtype(step.to) in {"STRING", "BF16"}:
        raise StepError(
            f"`cast` cannot make `{step.to}` of numbers", "fp32, fp16, uint8, int32, int64 and such are valid"
        )
    return replace(value, dtype=triton_dtype(step.to))


def reshape(step: spec.Reshape, value: Value) -> Value:
    """Another shape with as many values."""
    _fixed("reshape", value)
    if -1 in value.dims or math.prod(step.dims) != math.prod(value.dims):
        raise StepError(f"`reshape` to {step.dims} has another number of values than {value}")
    return Value(value.dtype, tuple(step.dims))


def softmax(_step: spec.Softmax, value: Value) -> Value:
    """Scores → probabilities, FP32."""
    _numeric("softmax", value)
    return replace(value, dtype="FP32", images=False)


RULES: dict[str, Callable[[Any, Value], Value]] = {
    "decode": decode, "resize": resize, "normalize": normalize, "channels_first": channels_first,
    "cast": cast, "reshape": reshape, "softmax": softmax,
}  # fmt: skip


def _top_k(step: spec.TopK, value: Value, project: Project) -> tuple[tuple[Tensor, ...], list[str] | None]:
    _numeric("top_k", value)
    classes = value.dims[-1]
    if classes != -1 and step.k > classes:
        raise StepError(f"`k: {step.k}` is more than there are classes ({value})", f"use at most {classes}")
    if step.label_output == step.score_output:
        raise StepError(f"`label_output` and `score_output` are both `{step.label_output}`; give them two names")
    labels = None
    if step.labels is not None:
        labels = project.once(("labels", step.labels), partial(_read_labels, step.labels, project))
        if classes not in (-1, len(labels)):
            raise StepError(f"`{step.labels}` has {len(labels)} labels for {classes} classes")
    dims = (*value.dims[:-1], step.k)
    return (
        Tensor(step.label_output, "INT64" if labels is None else "STRING", dims),
        Tensor(step.score_output, "FP32", dims),
    ), labels


def _read_labels(file: str, project: Project) -> list[str]:
    try:
        labels = project.path(file).read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise StepError(f"the labels file `{file}` cannot be read: {reason}") from error
    return [line.rstrip("\r") for line in (labels[:-1] if labels[-1] == "" else labels)]


def chain(
    steps: Sequence[spec.StepChoice], source: Tensor, project: Project, path: FieldPath, collect: Collector
) -> Chain | None:
    """Types of the whole chain from `source`; None after a problem, which is collected at `path`."""
    value = Value(source.dtype, source.dims)
    json: list[tuple[str, dict[str, Any]]] = []
    for index, step in enumerate(steps):
        here = (*path, index, step.name)
        json.append((step.name, step.parameters.model_dump()))
        try:
            if isinstance(step.parameters, spec.TopK):
                if index != len(steps) - 1:
                    raise StepError("`top_k` gives two tensors, so nothing can follow it", "make it the last step")
                outputs, labels = _top_k(step.parameters, value, project)
                json[-1][1]["labels"] = labels
                return Chain(outputs, True, tuple(json))
            value = RULES[step.name](step.parameters, value)
        except StepError as error:
            collect.error("TK206", here, error.message, error.hint)
            return None
    if value.ragged():
        collect.error("TK206", path, f"the steps end in {value}, which cannot be one tensor", "add a `resize`")
        return None
    return Chain((Tensor("", value.dtype, value.dims),), False, tuple(json))
