"""Engines that were built: the file beside an engine.json, and the GPU that it was built on."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from generator.lint.files import Folder
from generator.lint.model import Model, kept
from generator.lint.rule import ERROR, Finding, rule
from generator.problems import Place

MANIFEST = "engine.json"
_LARGEST_BYTES = 16 << 20  # of an engine.json


class _Engine(NamedTuple):
    """A manifest that was read: its place, the version's directory, and what it says."""

    place: Place
    folder: Folder
    path: str
    said: dict[str, Any]


@kept
def _engines(model: Model) -> tuple[_Engine, ...]:
    """What `tritonkit build` says of the engines of the versions that are served."""
    found = []
    for version in model.served:
        for name in sorted(entry for entry in version.folder.entries if entry.endswith(MANIFEST)):
            try:
                said = json.loads(version.folder.read(name, _LARGEST_BYTES))
            except (OSError, ValueError, RecursionError):
                continue
            if isinstance(said, dict) and isinstance(said.get("file"), dict):
                place = Place(version.folder.shown(name))
                found.append(_Engine(place, version.folder, f"{version.number}/{name}", said))
    return tuple(found)


def _file_of(engine: _Engine) -> str:
    """The engine's file in the version's directory: with the key of a stage in front, where there are several."""
    name, stem = str(engine.said["file"].get("name", "")), engine.path.rpartition("/")[2].removesuffix(MANIFEST)
    return f"{stem.removesuffix('.')}{name[len('model') :]}" if stem else name


@rule("TK796", ERROR, "tritonkit build", live=False, local=True)
def not_the_engine(model: Model) -> Iterator[Finding]:
    """An engine's file is not the one that its engine.json describes.

    `tritonkit build` writes engine.json beside the engine that has passed its accuracy gate, with the SHA-256 of the
    file. Another file has passed nothing: it was copied there by hand, cut short, or is a Git LFS pointer.
    Below, the file is empty.

    Bad:
        -- m/1/engine.json --
        {"file": {"name": "model.onnx", "sha256": "00"}}
        -- m/1/model.onnx --
    Good:
        -- m/1/engine.json --
        {"file": {"name": "model.onnx", "sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}}
        -- m/1/model.onnx --
    """
    for engine in _engines(model):
        name, stated = _file_of(engine), engine.said["file"].get("sha256")
        if stated is None or not engine.folder.has_file(name):
            continue  # what is missing is told by the rules of the backend
        try:
            found = hashlib.sha256(engine.folder.read(name)).hexdigest()
        except OSError:
            continue
        if found != stated:
            text = f"{name} is not the file that {engine.path} describes: its SHA-256 begins with {found[:12]}"
            yield model.found("", text, "render the model again, or build the engine anew", place=engine.place)


@rule("TK797", ERROR, "NVIDIA TensorRT, Plan compatibility", live=False, local=True)
def built_on_another_gpu(model: Model) -> Iterator[Finding]:
    """A TensorRT engine was built on another kind of GPU than the server's machine has.

    A plan holds kernels that were compiled and chosen for one GPU. On another compute capability it is refused, and
    on another GPU of the same it runs slower than one built there. The exceptions are plans built with
    `build: {hardware: ampere_plus}` or `same_compute_capability`.

    Bad:
        -- m/1/engine.json --
        {"engine": "tensorrt", "file": {"name": "model.plan"}, "compiled": {"gpu": "NVIDIA A100-SXM4-80GB"}}
    Good:
        -- m/1/engine.json --
        {"engine": "tensorrt", "file": {"name": "model.plan"}, "compiled": {"gpu": "NVIDIA H200"}}
    """
    if not model.server.gpu:
        return
    for engine in _engines(model):
        compiled = engine.said.get("compiled")
        built_on = compiled.get("gpu") if isinstance(compiled, dict) else None
        if engine.said.get("engine") != "tensorrt" or not isinstance(built_on, str):
            continue
        build = engine.said.get("request", {})
        hardware = build.get("build", {}).get("hardware", "none") if isinstance(build, dict) else "none"
        if hardware == "none" and not _is_that_gpu(built_on, model.server.gpu):
            text = f"the plan was built on an {built_on}, and the server runs on {model.server.gpu}"
            hint = "build it on such a GPU, or with `build: {hardware: same_compute_capability}`"
            yield model.found("", text, hint, place=engine.place)


def _is_that_gpu(name: str, gpu: str) -> bool:
    """Whether `NVIDIA H200` is an `h200`: every word of the one is among those of the other."""
    has = set(re.split(r"[^a-z0-9]+", name.lower()))
    return all(word in has for word in re.split(r"[^a-z0-9]+", gpu.lower()) if word and word != "nvidia")
