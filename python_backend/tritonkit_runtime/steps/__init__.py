"""The steps of a chain by name, and the chain that is built from a model's parameters."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from tritonkit_runtime.batch import Batch
from tritonkit_runtime.parameters import Limits, ParameterError, StepSpec
from tritonkit_runtime.steps.base import Kind, Step

# name in a spec -> module and class; a model that only sorts scores never imports OpenCV.
STEPS: Mapping[str, str] = {
    "decode": "decode:Decode",
    "resize": "resize:Resize",
    "normalize": "arithmetic:Normalize",
    "cast": "arithmetic:Cast",
    "channels_first": "layout:ChannelsFirst",
    "reshape": "layout:Reshape",
    "softmax": "scores:Softmax",
    "top_k": "scores:TopK",
    "labels": "labels:Labels",
    "tokenize": "tokenize:Tokenize",
    "nms": "nms:Nms",
}

_KINDS: Mapping[Kind, str] = {
    "bytes": "encoded bytes (a STRING tensor)",
    "images": "images of unequal size",
    "array": "an array",
    "tensors": "several tensors",
}


class StepError(ValueError):
    """A step was given a value that does not suit it: which step, and why."""


def step_class(name: str) -> type[Step]:
    """The class of a step; ParameterError for an unknown name."""
    if name not in STEPS:
        raise ParameterError(f"there is no step {name!r}; valid are {', '.join(STEPS)}")
    module, _, class_name = STEPS[name].partition(":")
    return cast("type[Step]", getattr(importlib.import_module(f"{__name__}.{module}"), class_name))


def takes_several(specs: Sequence[StepSpec]) -> bool:
    """Whether the first of these steps takes several tensors by name; ParameterError for an unknown one."""
    return bool(specs) and "tensors" in step_class(specs[0].name).takes


class Chain:
    """Steps that run one after the other, checked to fit when built; raises ParameterError.

    `takes` is what the first step is given: bytes for a STRING input, tensors for several inputs, else array.
    `folder` has the steps' files.
    """

    def __init__(self, specs: Sequence[StepSpec], takes: Kind, limits: Limits, folder: Path = Path()) -> None:
        self.steps: list[tuple[str, Step]] = []
        kind = takes
        for number, spec in enumerate(specs, start=1):
            where = f"step {number} ({spec.name})"
            step = _build(spec, where, {"limits": limits, "folder": folder})
            if kind not in step.takes:
                needed = " or ".join(_KINDS[name] for name in step.takes)
                hint = "; put resize after decode" if kind == "images" else ""
                raise ParameterError(f"{where} takes {needed}, but it is given {_KINDS[kind]}{hint}")
            self.steps.append((where, step))
            kind = step.gives
        self._check_channel_order()
        if kind == "images":
            raise ParameterError("the chain ends with images of unequal size: put resize after decode")
        self.gives = kind

    def __call__(self, batch: Batch, value: Any) -> Any:
        """The last step's value; StepError when a value does not suit a step."""
        for where, step in self.steps:
            try:
                value = step(batch, value)
            except ValueError as error:
                raise StepError(f"{where}: {error}") from error
        return value

    @property
    def outputs(self) -> tuple[str, ...] | None:
        """The names of the tensors that the last step gives, or None for one tensor without a name."""
        return getattr(self.steps[-1][1], "outputs", None)

    @property
    def inputs(self) -> tuple[str, ...] | None:
        """The names of the tensors that the first step takes, or None for one tensor of any name."""
        return getattr(self.steps[0][1], "inputs", None)

    def _check_channel_order(self) -> None:
        moved = False
        for where, step in self.steps:
            if moved and getattr(step, "per_channel", False):
                raise ParameterError(f"{where} has one number a channel: put it before channels_first")
            moved = moved or "channels_first" in where


def _build(spec: StepSpec, where: str, ours: Mapping[str, Any]) -> Step:
    """The step; what is `ours` to give is not the spec's to say."""
    try:
        kind = step_class(spec.name)
    except ParameterError as error:
        raise ParameterError(f"{where}: {error}") from error
    known = inspect.signature(kind).parameters
    arguments = dict(spec.arguments)
    if unknown := [name for name in arguments if name not in known or name in ours]:
        valid = ", ".join(name for name in known if name not in ours) or "no parameters"
        raise ParameterError(f"{where} has no parameter {unknown[0]!r}; valid are: {valid}")
    arguments |= {name: value for name, value in ours.items() if name in known}
    if missing := [name for name, p in known.items() if p.default is p.empty and name not in arguments]:
        raise ParameterError(f"{where} needs {', '.join(missing)}")
    try:
        return kind(**arguments)
    except (ValueError, TypeError) as error:
        raise ParameterError(f"{where}: {error}") from error
