"""Whether the packages of an engine are here, looked at without importing them: this is asked at every listing."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from generator.engine.build.candidates.choices import Choice, choices
from generator.engine.build.jobs import Job

# The devices that NVIDIA's driver makes, also under Windows' Linux.
GPUS = (Path("/dev/nvidiactl"), Path("/dev/dxg"))
ABSENT = "absent"
_CUDA_PROVIDER = "capi/libonnxruntime_providers_cuda.so"


def seems_here(choice: Choice) -> bool:
    """Whether its package is here, and a GPU if it needs one. Whether it works only a build finds out."""
    gpu = any(device.exists() for device in GPUS)
    if choice.engine == "tensorrt":
        return gpu and any(find_spec(name) is not None for name in ("tensorrt", "tensorrt_bindings"))
    found = find_spec("torch" if choice.engine == "inductor" else "onnxruntime")
    if found is None or not choice.cuda:
        return found is not None
    if choice.engine == "inductor":
        return gpu
    return gpu and any((Path(folder) / _CUDA_PROVIDER).exists() for folder in found.submodule_search_locations or ())


def now_here(job: Job, manifest: Mapping[str, Any]) -> list[str]:
    """Of an engine that `auto` chose: those that were absent when it did, and seem to be here now."""
    if job.program.asked != "auto":
        return []
    tried = (manifest.get("measured") or {}).get("tried") or ()
    absent = {f"{row['engine']} {row['precision']}" for row in tried if row.get(ABSENT)}
    return [choice.title for choice in choices(job) if choice.title in absent and seems_here(choice)]


def told(titles: list[str]) -> str:
    """`tensorrt fp16, tensorrt int8: not here when `auto` was measured, and here now as it seems`."""
    return f"{', '.join(titles)}: not here when `auto` was measured, and here now as it seems"
