"""Which ways to INT8 of TensorRT 8.6 lead to INT8 kernels: the digits, built by each, with FP16 allowed and without.

    python3.11 benchmarks/engines_gpu_int8.py FOLDER       what benchmarks/engines_gpu.py starts; reads job.json there

One process builds them all, with one timing cache, so that the same kernels are compared by the same times; only
«again» measures them anew. Of every plan: its layers with their types at batch 64, how often TensorRT read the cache
that it was offered, and what its log says about scales. TensorRT's own cache, made from the same images as our
ranges, is compared with ours by tensor.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "python_backend"))

from generator.engine.calibrate.tensorrt_cache import from_tensorrt
from generator.engine.compile.base import Settings
from generator.engine.compile.tensorrt import building
from generator.engine.compile.tensorrt.api import load
from generator.engine.compile.tensorrt.calibration import cache_of
from generator.engine.compile.tensorrt.config import Calibration
from generator.engine.compile.tensorrt.runner import loaded
from generator.engine.compile.tensorrt.worker import read_batches, settings_of, write_batches

if TYPE_CHECKING:
    from engines_gpu_plans import Model

LIMIT_S, RESERVE_S = 300.0, 30.0  # for the builds; of the budget, for judging their plans
MARK = "== "
TELLING = ("calib", "scale", "int8", "precision")  # what a line of the log that matters here has in it
MOST_LINES = 40
WAYS = ("ours", "dynamic ranges", "fed", "theirs")


class Looked(Calibration):
    """A calibration that notes whether its cache was read, and that can forbid FP16 beside INT8."""

    def __init__(self, way: str, batches: list[dict[str, Any]], cache: bytes, fp16: bool) -> None:
        super().__init__({"fed": "batches", "dynamic ranges": "dynamic_range"}.get(way, "cache"), batches)
        self.offered, self.fp16, self.reads, self.written = cache, fp16, 0, b""

    def apply(self, trt: Any, network: Any, config: Any, settings: Settings) -> str:
        """As it is done for users, but for the flag and the notes."""
        if not self.fp16:
            config.clear_flag(trt.BuilderFlag.FP16)
        if self.way != "cache":
            return super().apply(trt, network, config, settings)
        self.calibrator = _noting(trt, self)
        config.int8_calibrator = self.calibrator
        return "calibration cache"


def _noting(trt: Any, looked: Looked) -> Any:
    class Noting(trt.IInt8EntropyCalibrator2):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IInt8EntropyCalibrator2.__init__(self)

        def get_batch_size(self) -> int:
            return 1

        def get_batch(self, names: Sequence[str]) -> None:  # noqa: ARG002 — TensorRT's signature
            return None

        def read_calibration_cache(self) -> bytes:
            looked.reads += 1
            return looked.offered

        def write_calibration_cache(self, cache: Any) -> None:
            looked.written = bytes(cache)

    return Noting()


# In the process of its own -----------------------------------------------------------------------------------------


def look(folder: Path) -> None:
    """Builds all ways; found.json has what was found so far, NUMBER.plan the plans."""
    trt = load()
    kept = trt.Logger(trt.Logger.INFO)
    runtime = trt.Runtime(kept)  # the first logger of a process is everybody's: the builders' too
    job = json.loads((folder / "job.json").read_text())
    batches = read_batches(folder / "batches.npz")
    caches = {"ours": cache_of(trt.__version__, job["settings"]["ranges"]), "theirs": b""}
    found: dict[str, Any] = {"ways": {}}
    timing: bytes | None = None
    variants = [(way, fp16, "") for way in WAYS for fp16 in (False, True)] + [("ours", True, ", again")]
    for number, (way, fp16, again) in enumerate(variants):
        name = f"{way}{', fp16 too' if fp16 else ''}{again}"
        sys.stdout.write(f"{MARK}{name}\n")
        sys.stdout.flush()
        settings = settings_of(job["settings"], None if again else timing)
        looked = Looked(way, batches, caches.get(way, b""), fp16)
        try:
            built = building.build(folder / "graph.onnx", settings, looked, lambda _text: None)
            (folder / f"{number}.plan").write_bytes(built.plan)
            timing = timing if again else built.timing_cache
            caches["theirs"] = built.calibration_cache or caches["theirs"]
            with loaded(built.plan) as runner:
                layers = runner.information(batches[0])["Layers"]
            report = {"plan": number, "build_s": built.seconds, "from": built.facts["precision_from"],
                      "cache_read": looked.reads, "cache_written": looked.written.decode(),
                      "types": types(layers), "layers": [brief(layer) for layer in layers]}  # fmt: skip
        except Exception as error:  # noqa: BLE001 — the other ways are still to be looked at
            report = {"failed": f"{type(error).__name__}: {error}"}
        found["ways"][name] = report
        found["caches"] = {whose: cache.decode() for whose, cache in caches.items()}
        (folder / "found.json").write_text(json.dumps(found))
    del runtime


def brief(layer: Any) -> Any:
    """What a layer computes in, as the inspector tells: types of inputs, outputs and weights, and the kernel."""
    if not isinstance(layer, dict):
        return str(layer)
    weights = layer.get("Weights")
    return {
        "name": layer.get("Name"),
        "layer": layer.get("LayerType"),
        "in": [tensor.get("Format/Datatype") for tensor in layer.get("Inputs", ())],
        "out": [tensor.get("Format/Datatype") for tensor in layer.get("Outputs", ())],
        "weights": weights.get("Type") if isinstance(weights, dict) else None,
        "kernel": layer.get("TacticName"),
    }


def types(layers: Sequence[Any]) -> dict[str, int]:
    """Layers by the type of what they read: Int8, FP16, FP32, or another word of the inspector."""
    counts: dict[str, int] = {}
    for layer in layers:
        read = [str(text) for text in brief(layer)["in"]] if isinstance(layer, dict) else []
        text = read[0] if read else "nothing"
        word = next((word for word in ("Int8", "FP16", "Half", "FP32", "Float") if word in text), text)
        counts[word] = counts.get(word, 0) + 1
    return dict(sorted(counts.items()))


# For engines_gpu.py ------------------------------------------------------------------------------------------------


def looked_at(model: Model) -> dict[str, Any]:
    """All of the above for a model, with the accuracy of each plan. Raises OSError where the process cannot start."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "graph.onnx").write_bytes((model.folder / f"{model.name}.fp32.onnx").read_bytes())
        settings = model.settings("int8")
        write_batches(folder / "batches.npz", calibration_of(model))
        (folder / "job.json").write_text(json.dumps({"settings": _as_json(settings)}))
        limit_s = max(1.0, min(LIMIT_S, model.results.left_s() - RESERVE_S))
        said = _ended([sys.executable, str(Path(__file__).resolve()), str(folder)], limit_s)
        file = folder / "found.json"
        found: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
        for report in found.get("ways", {}).values():
            if "plan" in report:
                plan = (folder / f"{report.pop('plan')}.plan").read_bytes()
                report["accuracy"] = _or_why_not(partial(model.judged, plan))
    ours, theirs = (found.get("caches", {}).get(whose, "").encode() for whose in ("ours", "theirs"))
    found["compared"] = _or_why_not(partial(compared, ours, theirs))
    return {**found, "log": said}


def _or_why_not(look: Callable[[], Any]) -> Any:
    """What one look finds, or its failure: the others count without it."""
    try:
        return look()
    except Exception as error:  # noqa: BLE001 — it is told instead
        return f"{type(error).__name__}: {error}"


def calibration_of(model: Model) -> list[dict[str, Any]]:
    """The images that our ranges are of, 64 at a time (what is left over is left out: batches have one shape)."""
    import numpy as np

    with np.load(model.folder / f"{model.name}.npz") as arrays:
        inputs = {key[4:]: arrays[key] for key in arrays.files if key.startswith("cal|")}
    count = len(next(iter(inputs.values())))
    return [{name: array[i : i + 64] for name, array in inputs.items()} for i in range(0, count - 63, 64)]


def compared(ours: bytes, theirs: bytes) -> dict[str, Any]:
    """Two caches, tensor by tensor: which only one of them names, and theirs / ours of the scales of the others."""
    a, b = from_tensorrt(ours), from_tensorrt(theirs)
    return {
        "headers": [text.split(b"\n", 1)[0].decode() for text in (ours, theirs)],
        "only_ours": sorted(a.keys() - b.keys()),
        "only_theirs": sorted(b.keys() - a.keys()),
        "theirs_by_ours": {name: b[name][1] / a[name][1] for name in sorted(a.keys() & b.keys())},
    }


def _as_json(settings: Settings) -> Mapping[str, Any]:
    from dataclasses import asdict

    data = asdict(settings)
    del data["timing_cache"]
    return data


def _ended(command: list[str], limit_s: float) -> dict[str, list[str]]:
    """Runs it to its end or its limit; the lines of its log that tell something, by variant."""
    env = {**os.environ, "PYTHONUNBUFFERED": "1"}
    try:
        ended = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=env, timeout=limit_s, check=False
        )
        text, status = ended.stdout, [] if not ended.returncode else [f"ended with status {ended.returncode}"]
    except subprocess.TimeoutExpired as late:
        text, status = late.stdout or b"", [f"ended after {limit_s:g} s"]
    said: dict[str, list[str]] = {}
    name, last = "", ""
    for line in text.decode(errors="replace").splitlines():
        if line.startswith(MARK):
            name = line.removeprefix(MARK)
        elif any(word in line.lower() for word in TELLING) and len(said.get(name, ())) < MOST_LINES:
            said.setdefault(name, []).append(line)
        last = line or last
    if status:
        said.setdefault(name, []).extend([*status, last])
    return said


if __name__ == "__main__":
    look(Path(sys.argv[1]))
    sys.stdout.flush()
    os._exit(0)  # without freeing TensorRT's objects, in whatever order
