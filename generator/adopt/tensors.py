"""The tensors of a ModelConfig in a spec's words, and what is left of them for `config:`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import TypeAdapter, ValidationError

from generator.adopt.words import words_of
from generator.config.descriptors import fields_of
from generator.spec.base import TensorName, spec_dtype
from generator.spec.tensors import TensorSpec

Words = dict[str, Any]
_TENSORS = TypeAdapter(dict[TensorName, TensorSpec])
_SAID = {"name", "data_type", "dims", "reshape", "format", "allow_ragged_batch", "optional"}


def tensors_of(entries: Any, labels_file: Callable[[str], str | None]) -> tuple[Words, list[Words]] | None:
    """Tensors by name as a spec declares them, and entries of `config` for what a spec has no name for.

    `labels_file` is the path in the project of a labels file beside the config.pbtxt, None where it is not there.
    None where a spec cannot declare them: a name twice or with blanks, no type, no dims.
    """
    found: Words = {}
    left: list[Words] = []
    for entry in entries:
        said = _declared(entry)
        if said is None or entry.name in found:
            return None
        rest = {name: value for name, value in words_of(entry).items() if name not in _SAID}
        file = labels_file(rest["label_filename"]) if "label_filename" in rest else None
        if file is not None:
            said["labels"] = file
            del rest["label_filename"]
        found[entry.name] = said
        if rest:
            left.append({"name": entry.name, **rest})
    try:
        _TENSORS.validate_python(found)
    except ValidationError:
        return None
    return found, left


def _declared(entry: Any) -> Words | None:
    word = fields_of(entry.DESCRIPTOR)["data_type"].choices.get(entry.data_type, "TYPE_INVALID").removeprefix("TYPE_")
    if word == "INVALID":
        return None
    said: Words = {"type": spec_dtype(word), "dims": list(entry.dims)}
    if entry.HasField("reshape"):
        said["reshape"] = list(entry.reshape.shape)
    if "format" not in fields_of(entry.DESCRIPTOR):  # an output
        return said
    if entry.format:
        name = fields_of(entry.DESCRIPTOR)["format"].choices.get(entry.format)
        if name is None:
            return None
        said["format"] = name.removeprefix("FORMAT_").lower()
    if entry.allow_ragged_batch:
        said["ragged"] = True
    if entry.optional:
        said["optional"] = True
    return said
