"""What a chain of built-in steps makes of a tensor, known before anything runs."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from generator.collector import Collector, names
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
    """The result: outputs by the names that the last step gives them, or one output without a name.

    `file` is what a step reads beside model.py, a path from the project's root; no chain has two such steps.
    """

    outputs: tuple[Tensor, ...]
    named: bool
    json: tuple[tuple[str, dict[str, Any]], ...]
    file: str | None = None


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


def _nms(
    step: spec.Nms, sources: Mapping[str, Tensor], project: Project
) -> tuple[tuple[Tensor, ...], list[str] | None]:
    boxes, scores = sources.get(step.boxes), sources.get(step.scores)
    if boxes is None or scores is None or len(sources) != 2 or boxes is scores:
        raise StepError(
            f"`nms` takes two tensors, here `{step.boxes}` and `{step.scores}`, and gets {names(sources)}",
            "name the two under `boxes` and `scores`",
        )
    for tensor in (boxes, scores):
        _numeric("nms", Value(tensor.dtype, tensor.dims))
    fit = len(boxes.dims) == len(scores.dims) == 2 and boxes.dims[1] in (4, -1)
    if not fit or (boxes.dims[0] != scores.dims[0] and -1 not in (boxes.dims[0], scores.dims[0])):
        raise StepError(
            f"`nms` takes boxes [anchors, 4] and scores [anchors, classes], and gets `{boxes.name}` "
            f"{boxes.describe()} and `{scores.name}` {scores.describe()}",
            "reshape or transpose them in the graph",
        )
    if len(set(step.outputs())) < len(step.outputs()):
        raise StepError(f"the outputs {names(step.outputs())} of `nms` must have different names")
    labels = None
    if step.labels is not None:
        labels = project.once(("labels", step.labels), partial(_read_labels, step.labels, project))
        if scores.dims[1] not in (-1, len(labels)):
            raise StepError(f"`{step.labels}` has {len(labels)} labels for {scores.dims[1]} classes")
    most = step.max_detections
    return (
        Tensor(step.boxes_output, "FP32", (most, 4)),
        Tensor(step.label_output, "INT64" if labels is None else "STRING", (most,)),
        Tensor(step.score_output, "FP32", (most,)),
        Tensor(step.count_output, "INT32", (1,)),
    ), labels


def _read_labels(file: str, project: Project) -> list[str]:
    try:
        labels = project.path(file).read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise StepError(f"the labels file `{file}` cannot be read: {reason}") from error
    return [line.rstrip("\r") for line in (labels[:-1] if labels[-1] == "" else labels)]


def _tokenize(step: spec.Tokenize, value: Value, project: Project) -> tuple[Tensor, ...]:
    if (value.dtype, value.dims) != ("STRING", (1,)):
        raise StepError(f"`tokenize` takes texts, and gets {value}", "declare the input as `{type: string}`")
    outputs, lengths = step.outputs(), step.lengths()
    if len(set(outputs)) < len(outputs):
        raise StepError(f"the outputs {names(outputs)} of `tokenize` must have different names")
    if not project.has_file(step.tokenizer):
        raise StepError(f"there is no file `{step.tokenizer}`", "paths count from the project's root")
    project.once(("tokenizer", step.tokenizer), partial(_check_tokenizer, step.tokenizer, project))
    dims = (lengths[0] if len(lengths) == 1 else -1,)
    return tuple(Tensor(name, triton_dtype(step.dtype), dims) for name in outputs)


def _check_tokenizer(file: str, project: Project) -> None:
    """StepError unless it has what a tokenizer.json has; whether the library takes it shows when it is loaded."""
    try:
        document = json.loads(project.read(file))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not JSON"
        raise StepError(f"the tokenizer `{file}` cannot be read: {reason}") from error
    if not isinstance(document, dict) or not isinstance(document.get("model"), dict):
        raise StepError(
            f"`{file}` is JSON, and no tokenizer: it has no `model`",
            "name the file that the library `tokenizers` writes, often `tokenizer.json`",
        )


def take_several(steps: Sequence[spec.StepChoice]) -> tuple[str, ...]:
    """The names of the tensors that the first step takes, or none where it takes any one."""
    first = steps[0].parameters if steps else None
    return (first.boxes, first.scores) if isinstance(first, spec.Nms) else ()


def renamed(step: spec.StepChoice, by_name: Mapping[str, str]) -> spec.StepChoice:
    """A step that takes several tensors by name, with other names for them."""
    if not isinstance(step.parameters, spec.Nms):
        return step
    nms = step.parameters
    return spec.StepChoice(
        nms=nms.model_copy(update={"boxes": by_name[nms.boxes], "scores": by_name[nms.scores]})
    )  # fmt: skip


def chain(
    steps: Sequence[spec.StepChoice], source: Tensor | Sequence[Tensor], project: Project, path: FieldPath,
    collect: Collector,
) -> Chain | None:  # fmt: skip
    """Types of the whole chain from `source`; None after a problem, which is collected at `path`.

    Several tensors are for steps that `take_several`.
    """
    sources = (source,) if isinstance(source, Tensor) else tuple(source)
    value = Value(sources[0].dtype, sources[0].dims)
    arguments: list[tuple[str, dict[str, Any]]] = []
    for index, step in enumerate(steps):
        here = (*path, index, step.name)
        arguments.append((step.name, step.parameters.model_dump()))
        try:
            if isinstance(step.parameters, spec.TopK | spec.Tokenize) and index != len(steps) - 1:
                count = "two" if isinstance(step.parameters, spec.TopK) else "several"
                raise StepError(
                    f"`{step.name}` gives {count} tensors, so nothing can follow it", "make it the last step"
                )
            if isinstance(step.parameters, spec.Tokenize):
                tensors = _tokenize(step.parameters, value, project)
                arguments[-1][1]["buckets"] = step.parameters.lengths()
                return Chain(tensors, True, tuple(arguments), step.parameters.tokenizer)
            if isinstance(step.parameters, spec.TopK):
                outputs, labels = _top_k(step.parameters, value, project)
                arguments[-1][1]["labels"] = labels
                return Chain(outputs, True, tuple(arguments))
            if isinstance(step.parameters, spec.Nms):
                if len(steps) != 1:
                    raise StepError(
                        "`nms` takes two tensors and gives four, so it is the only step",
                        "put what comes before it into the graph",
                    )
                outputs, labels = _nms(step.parameters, {t.name: t for t in sources}, project)
                arguments[-1][1]["labels"] = labels
                return Chain(outputs, True, tuple(arguments))
            value = RULES[step.name](step.parameters, value)
        except StepError as error:
            collect.error("TK206", here, error.message, error.hint)
            return None
    if value.ragged():
        collect.error("TK206", path, f"the steps end in {value}, which cannot be one tensor", "add a `resize`")
        return None
    return Chain((Tensor("", value.dtype, value.dims),), False, tuple(arguments))
