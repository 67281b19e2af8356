"""Tensors in Triton's words, and the files that a model's directory needs for its configuration."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

from generator.collector import Collector
from generator.config import codes
from generator.plan import EnsemblePlan, ModelPlan, Tensor

# What only one side has in Triton: (field of the spec, what a tensor has where nobody says anything).
_ONLY_INPUTS = (("optional", False), ("ragged", False), ("format", "none"))
_ONLY_OUTPUTS = (("labels", None),)


def input_words(tensor: Tensor) -> dict[str, Any]:
    """One entry of `input`."""
    words = _common(tensor)
    if tensor.format != "none":
        words["format"] = f"FORMAT_{tensor.format.upper()}"
    if tensor.ragged:
        words["allow_ragged_batch"] = True
    if tensor.optional:
        words["optional"] = True
    return words


def output_words(tensor: Tensor) -> dict[str, Any]:
    """One entry of `output`."""
    words = _common(tensor)
    if tensor.labels is not None:
        words["label_filename"] = _base_name(tensor.labels)
    return words


def check_sides(model: ModelPlan | EnsemblePlan, collect: Collector) -> None:
    """Inputs have no labels; outputs have no format, and are neither optional nor ragged."""
    sides = (("inputs", model.inputs, _ONLY_OUTPUTS), ("outputs", model.outputs, _ONLY_INPUTS))
    for side, tensors, fields in sides:
        for tensor in tensors:
            for name, default in fields:
                if getattr(tensor, name) != default:
                    collect.error(
                        codes.WRONG_SIDE,
                        (*model.source, side, tensor.name, name),
                        f"`{tensor.name}` is one of the {side}, which have no `{name}` in Triton",
                        "remove it",
                    )


def model_files(model: ModelPlan | EnsemblePlan, collect: Collector | None = None) -> dict[str, str]:
    """What to copy into the model's directory: its path there -> its path from the project's root.

    Labels stand in the directory itself, data of warm-up requests in its `warmup/`.
    """
    files: dict[str, str] = {}
    wanted: list[tuple[tuple[str | int, ...], str, str]] = [
        (("outputs", t.name, "labels"), _base_name(t.labels), t.labels) for t in model.outputs if t.labels is not None
    ]
    for index, warmup in enumerate(model.warmup if isinstance(model, ModelPlan) else ()):
        for name, given in warmup.inputs.items():
            if given.file is not None:
                wanted.append(
                    (("warmup", index, "inputs", name, "file"), "warmup/" + warmup_file_name(given.file), given.file)
                )
    for path, inside, outside in wanted:
        if files.setdefault(inside, outside) != outside and collect is not None:
            collect.error(
                codes.SAME_FILE_NAME,
                (*model.source, *path),
                f"`{outside}` and `{files[inside]}` would both be `{inside}` in the model's directory",
                "give one of them another name",
            )
    return files


def warmup_file_name(path: str) -> str:
    """What Triton calls a file of `warmup/`."""
    return _base_name(path)


def _base_name(path: str) -> str:
    return PurePosixPath(path).name


def _common(tensor: Tensor) -> dict[str, Any]:
    words: dict[str, Any] = {
        "name": tensor.name,
        "data_type": f"TYPE_{tensor.dtype}",
        "dims": list(tensor.dims),
    }
    if tensor.reshape is not None:
        words["reshape"] = {"shape": list(tensor.reshape)}
    return words
