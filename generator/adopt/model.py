"""One model as a copied one (`files`) of a spec: with the spec's names, or all in Triton's own words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from generator.adopt import serving
from generator.adopt.repository import Found, unset
from generator.adopt.tensors import tensors_of
from generator.adopt.words import words_of
from generator.config.messages import ModelConfig
from generator.write.names import is_valid

Words = dict[str, Any]


@dataclass(frozen=True)
class Drafted:
    """A model of a spec, and apart from it its tensors, which may stand at the spec's top."""

    inputs: Words
    outputs: Words
    model: Words


def whole(found: Found, files: str) -> Drafted:
    """All of it under `config`: anything that can be parsed."""
    config = words_of(found.message)
    if config.get("name", "") == found.name:
        del config["name"]
    else:
        config = {"name": found.message.name} | config
    return Drafted({}, {}, {"files": files, "config": config | _backend(config)})


def friendly(found: Found, files: str) -> Drafted | None:
    """With the spec's names for what has one; None where a spec cannot declare its tensors, size or name."""
    rest = ModelConfig()
    rest.CopyFrom(found.message)
    tensors = declared(found, rest, files)
    batching = serving.batching_of(rest)
    if tensors is None or batching is None or found.message.name not in {"", found.name}:
        return None
    inputs, outputs, left = tensors
    if not inputs and not outputs:
        return None
    said: Words = {"files": files, "batching": batching}
    said |= given(
        instances=serving.instances_of(rest),
        versions=serving.versions_of(rest, found.versions),
        warmup=serving.warmup_of(rest, inputs, found, lambda path: f"{files}/{path}"),
        response_cache=serving.caches(rest),
        metrics=serving.metrics_of(rest),
        parameters=serving.parameters_of(rest),
    )
    graphs = serving.cuda_graphs_of(rest)
    said |= {} if graphs is None else {"cuda_graphs": graphs}  # also where it is empty
    config = words_of(rest) | left
    if not found.message.name:
        config = {"name": ""} | config
    said["config"] = config | _backend(config)
    return Drafted(inputs, outputs, said)


def declared(found: Found, rest: Any, files: str) -> tuple[Words, Words, Words] | None:
    """Inputs, outputs, and what of both is left for `config`; taken out of `rest` with the model's name."""

    def labels_file(name: str) -> str | None:
        there = "/" not in name and name in found.files and is_valid(name)
        return f"{files}/{name}" if there else None

    sides = tensors_of(rest.input, labels_file), tensors_of(rest.output, labels_file)
    if sides[0] is None or sides[1] is None:
        return None
    unset(rest, "name", "input", "output")
    return sides[0][0], sides[1][0], given(input=sides[0][1], output=sides[1][1])


def given(**fields: Any) -> Words:
    """Without what says nothing."""
    return {name: value for name, value in fields.items() if value}


def _backend(config: Mapping[str, Any]) -> Words:
    """`backend: ""` where nothing names one: the server goes by the names of the files."""
    return {} if {"backend", "platform"} & set(config) else {"backend": ""}
