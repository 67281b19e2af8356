"""Engines that were built: the file beside an engine.json, and the GPU that it was built on."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from generator.engine.install.facts import facts_of, is_from_elsewhere
from generator.lint.files import Folder
from generator.lint.model import Model, kept
from generator.lint.rule import ERROR, Finding, rule
from generator.lint.server import Gpu, Server
from generator.problems import Place

MANIFEST = "engine.json"
_LARGEST_BYTES = 16 << 20  # of an engine.json
_OF_ONE_GPU = ("tensorrt", "inductor")
_AMPERE = (8, 0)  # the compute capability from which on `hardware: ampere_plus` runs


class _Engine(NamedTuple):
    """A manifest that was read: its place, the version's directory, and what it says."""

    place: Place
    folder: Folder
    path: str
    said: dict[str, Any]


@kept
def engines(model: Model) -> tuple[_Engine, ...]:
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


def file_of(engine: _Engine) -> str:
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
    for engine in engines(model):
        name, stated = file_of(engine), engine.said["file"].get("sha256")
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
    """An engine was built on another kind of GPU than the server's machine has.

    A TensorRT plan holds kernels that were compiled and chosen for one GPU, and so does what Inductor compiles. On
    another compute capability it is refused, and on another GPU of the same it runs slower than one built there. The
    exceptions are plans built with `build: {hardware: same_compute_capability}`, and with `ampere_plus` for compute
    capability 8.0 and higher. Of a plan that was built elsewhere, the GPU counts on which it was judged. Before a
    server is started, the GPUs of its machine are asked; else it is the spec's `gpu` that counts.

    Bad:
        -- m/1/engine.json --
        {"engine": "tensorrt", "file": {"name": "model.plan"}, "compiled": {"gpu": "NVIDIA A100-SXM4-80GB"}}
    Good:
        -- m/1/engine.json --
        {"engine": "tensorrt", "file": {"name": "model.plan"}, "compiled": {"gpu": "NVIDIA H200"}}
    """
    for engine in engines(model):
        facts, request = facts_of(engine.said), engine.said.get("request")
        if engine.said.get("engine") not in _OF_ONE_GPU or not facts:
            continue
        build = request.get("build") if isinstance(request, dict) else None
        hardware = build.get("hardware", "none") if isinstance(build, dict) else "none"
        built_on = Gpu(str(facts.get("gpu") or ""), str(facts.get("compute_capability") or ""))
        if engine.said["engine"] != "tensorrt" and built_on == Gpu("", ""):
            continue  # Inductor compiles for the CPU, too
        has = _instead(built_on, str(hardware), model.server)
        if has:
            was = "judged" if is_from_elsewhere(engine.said) else "built"
            text = f"the engine was {was} on an {_shown(built_on)}, and {has}"
            if hardware == "none":
                hint = "build it on such a GPU, or with `build: {hardware: same_compute_capability}`"
            else:
                hint = f"build it on such a GPU: `hardware: {hardware}` does not reach so far"
            yield model.found("", text, hint, place=engine.place)


def _instead(built_on: Gpu, hardware: str, server: Server) -> str:
    """What the server has on which the engine is not to run, in words; empty where it may."""
    if server.machine is not None:
        if not server.machine:
            return "this machine has no GPU"
        if any(_runs_on(gpu, built_on, hardware) for gpu in server.machine):
            return ""
        return f"this machine has {', '.join(dict.fromkeys(map(_shown, server.machine)))}"
    if not server.gpu or not built_on.name or hardware != "none" or _is_that_gpu(built_on.name, server.gpu):
        return ""
    return f"the server runs on {server.gpu}"


def _runs_on(gpu: Gpu, built_on: Gpu, hardware: str) -> bool:
    """Whether an engine may run on a GPU, as far as its engine.json says what it was built on."""
    if hardware == "ampere_plus":
        return _numbers(gpu.capability) >= _AMPERE
    if built_on.capability and built_on.capability != gpu.capability:
        return False
    # A slice of a GPU has its name, and a profile behind it.
    names = {name.partition(" MIG ")[0] for name in (built_on.name, gpu.name)}
    return hardware != "none" or not built_on.name or len(names) == 1


def _numbers(capability: str) -> tuple[int, ...]:
    return tuple(int(number) for number in capability.split(".") if number.isdecimal())


def _shown(gpu: Gpu) -> str:
    """`NVIDIA H200 (compute capability 9.0)`."""
    name = gpu.name or "unknown GPU"
    return f"{name} (compute capability {gpu.capability})" if gpu.capability else name


def _is_that_gpu(name: str, gpu: str) -> bool:
    """Whether `NVIDIA H200` is an `h200`: every word of the one is among those of the other."""
    has = set(re.split(r"[^a-z0-9]+", name.lower()))
    return all(word in has for word in re.split(r"[^a-z0-9]+", gpu.lower()) if word and word != "nvidia")
