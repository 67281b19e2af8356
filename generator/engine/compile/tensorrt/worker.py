"""The process that holds TensorRT: `python -m generator.engine.compile.tensorrt.worker JOB FOLDER`.

JOB is probe, build or run; FOLDER has its files and gets its answers, answer.json last. It imports nothing but the
standard library, numpy where tensors are handled, and TensorRT. Lines of stdout that begin with MARK are progress;
the rest of stdout and stderr is TensorRT's log. It ends itself when its stdin closes, so that it outlives nobody.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from generator.engine.compile.base import Settings, ShapeRange
from generator.engine.compile.tensorrt.api import load, strongly_typed
from generator.engine.errors import Finding, StageError
from tritonkit_runtime.device.cuda import Cuda
from tritonkit_runtime.device.errors import CudaError

MARK = "\x1e"


def main(arguments: list[str]) -> int:
    """Does the job; 0 whenever answer.json was written, also when it holds findings."""
    job, folder = arguments[0], Path(arguments[1])
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        answer = JOBS[job](folder)
    except StageError as error:
        answer = {"findings": [asdict(finding) for finding in error.findings]}
    except ImportError as error:
        answer = {"findings": [asdict(Finding("TK950", f"TensorRT cannot be imported: {error}", about="engine"))]}
    (folder / "answer.json").write_text(json.dumps(answer))
    return 0


def _end_with_parent() -> None:
    while os.read(0, 1024):  # not sys.stdin, whose lock the interpreter wants when it ends
        pass
    os._exit(3)


def _progress(text: str) -> None:
    sys.stdout.write(f"{MARK}{text}\n")
    sys.stdout.flush()


def _probe(folder: Path) -> dict[str, Any]:  # noqa: ARG001 — every job takes its folder
    try:
        trt = load()
    except ImportError as error:
        return {"reason": str(error)}
    facts: dict[str, Any] = {"tensorrt": str(trt.__version__), "strongly_typed": strongly_typed(trt)}
    try:
        facts.update(Cuda().facts())
    except CudaError as error:
        return {**facts, "reason": str(error)}
    from generator.engine.compile.tensorrt.building import new_builder
    from generator.engine.compile.tensorrt.config import set_tactics

    try:
        builder = new_builder(trt, trt.Logger(trt.Logger.WARNING))
    except StageError as error:
        return {**facts, "reason": error.findings[0].message}
    facts.update(set_tactics(trt, builder.create_builder_config()))
    for name in ("platform_has_fast_fp16", "platform_has_fast_int8", "platform_has_tf32"):
        if hasattr(builder, name):
            facts[name] = bool(getattr(builder, name))
    facts["hardware"] = sorted(_levels(trt))
    return facts


def _levels(trt: Any) -> list[str]:
    words = ("AMPERE_PLUS", "SAME_COMPUTE_CAPABILITY")
    return ["none", *(word.lower() for word in words if hasattr(trt.HardwareCompatibilityLevel, word))]


def settings_of(data: Mapping[str, Any], timing_cache: bytes | None) -> Settings:
    """Settings from what JSON made of them."""
    fields = dict(data)
    fields["profiles"] = [
        {name: ShapeRange(**{word: tuple(dims) for word, dims in shapes.items()}) for name, shapes in given.items()}
        for given in data["profiles"]
    ]
    fields["ranges"] = {name: (low, high) for name, (low, high) in data["ranges"].items()}
    return Settings(**{**fields, "timing_cache": timing_cache})


def _build(folder: Path) -> dict[str, Any]:
    from generator.engine.compile.tensorrt.building import build
    from generator.engine.compile.tensorrt.config import Calibration

    job = json.loads((folder / "job.json").read_text())
    kept = folder / "timing.cache"
    settings = settings_of(job["settings"], kept.read_bytes() if kept.exists() else None)
    calibration = Calibration(job["int8_by"], read_batches(folder / "calibration.npz"))
    built = build(folder / "graph.onnx", settings, calibration, _progress)
    (folder / "model.plan").write_bytes(built.plan)
    (folder / "timing.cache").write_bytes(built.timing_cache)
    (folder / "calibration.cache").write_bytes(built.calibration_cache)
    facts = {**built.facts, **Cuda().facts(), "tensors": _tensors(built.plan, settings)}
    return {"facts": facts, "seconds": built.seconds}


def _tensors(plan: bytes, settings: Settings) -> list[dict[str, Any]]:
    """Loads what was built, which shows that it can be, and says what goes in and out of it."""
    from generator.engine.compile.tensorrt.runner import loaded

    with loaded(plan, plugins=settings.plugins) as runner:
        return [asdict(tensor) for tensor in runner.tensors]


def read_batches(file: Path) -> list[dict[str, Any]]:
    """Batches from an .npz that `write_batches` made; none where there is no file."""
    if not file.exists():
        return []
    import numpy as np

    with np.load(file, allow_pickle=False) as arrays:
        batches: dict[int, dict[str, Any]] = {}
        for key in arrays.files:
            number, _, name = key.partition("|")
            batches.setdefault(int(number), {})[name] = arrays[key]
    return [batches[number] for number in sorted(batches)]


def write_batches(file: Path, batches: Sequence[Mapping[str, Any]]) -> None:
    """Batches as an .npz: one array a batch and tensor."""
    import numpy as np

    arrays = {f"{number}|{name}": array for number, batch in enumerate(batches) for name, array in batch.items()}
    with file.open("wb") as stream:
        np.savez(stream, **arrays)


def _run(folder: Path) -> dict[str, Any]:
    from generator.engine.compile.tensorrt.runner import loaded

    job = json.loads((folder / "job.json").read_text())
    batches = read_batches(folder / "batches.npz")
    with loaded((folder / "model.plan").read_bytes(), profile=job["profile"], plugins=job["plugins"]) as runner:
        answers = []
        for number, batch in enumerate(batches):
            answers.append(_answer(runner.run, batch))
            _progress(f"ran batch {number + 1} of {len(batches)}")
    write_batches(folder / "answers.npz", answers)
    return {}


def _answer(run: Callable[[Mapping[str, Any]], dict[str, Any]], batch: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return run(batch)
    except ValueError as error:
        raise StageError(Finding("TK952", str(error), about="build.profiles")) from error


JOBS: dict[str, Callable[[Path], dict[str, Any]]] = {"probe": _probe, "build": _build, "run": _run}

if __name__ == "__main__":
    ended = main(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(ended)  # without freeing TensorRT's objects, in whatever order
