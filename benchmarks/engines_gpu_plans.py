"""A model's plans on the GPU machine: built, compared, timed; each result is written as soon as it is there."""

from __future__ import annotations

import json
import math
import random
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from generator.engine.compile.base import Profile, Settings, ShapeRange
from generator.engine.compile.tensorrt.compiler import TensorRT
from generator.engine.compile.tensorrt.runner import TensorRTRunner, loaded
from generator.engine.errors import StageError

BATCHES = (1, 8, 32, 64, 128)
ROUNDS, RUNS, SEED = 7, 15, 1
RESERVE_S = 60.0  # of the budget, for comparing and timing what was built
# precision of the Settings, and whose graph
VARIANTS = {
    "fp32": ("fp32", "fp32"),
    "fp16": ("fp16", "fp32"),
    "int8 Q/DQ": ("int8", "qdq"),
    "int8 mixed": ("int8", "mixed"),
    "tf32": ("tf32", "fp32"),
    "int8 cache": ("int8", "fp32"),
}
SHAPES = {"digits": ("pixels", (1, 8, 8)), "resnet50": ("images", (3, 224, 224))}


def profiles_of(model: str) -> list[Profile]:
    """What each model is built for; the embeddings for short texts and for long ones."""
    if model in SHAPES:
        name, item = SHAPES[model]
        return [{name: ShapeRange((1, *item), (64, *item), (128, *item))}]
    ranges = (ShapeRange((1, 1), (64, 64), (128, 128)), ShapeRange((1, 129), (8, 256), (32, 512)))
    return [{"input_ids": shapes, "attention_mask": shapes} for shapes in ranges]


class Results:
    """Nested results, added to what is there and written after every step; a step that fails stops no other."""

    def __init__(self, file: Path, budget_s: float) -> None:
        self.file, self.budget_s, self.start = file, budget_s, time.monotonic()
        self.data: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}

    def left_s(self) -> float:
        """What is left of the budget."""
        return self.budget_s - (time.monotonic() - self.start)

    def step(self, path: str, make: Callable[[], Any]) -> Any:
        """Puts what `make` gives at `path` (words with /); None where it failed or the time is up."""
        value: Any = {"left out": f"the budget of {self.budget_s:g} s was spent"}
        failed = self.left_s() <= 0
        if not failed:
            try:
                value = make()
            except StageError as error:
                failed, value = True, {"failed": [[f.code, f.message, f.hint] for f in error.findings]}
            except Exception as error:  # noqa: BLE001 — the next step may work, and the report tells
                failed, value = True, {"failed": f"{type(error).__name__}: {error}"}
        place = self.data
        *parents, last = path.split("|")
        for word in parents:
            place = place.setdefault(word, {})
        place[last] = value
        self.file.write_text(json.dumps(self.data, indent=1, sort_keys=True) + "\n")
        text = json.dumps(value, sort_keys=True)
        say(f"{time.monotonic() - self.start:6.0f} s  {path}: {text[:300]}")
        return None if failed else value


def say(text: str) -> None:
    """Progress, on stderr."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def gate_of(folder: Path, model: str) -> tuple[dict[str, Any], dict[str, Any], Any]:
    """Inputs, expected outputs in fp32, and labels (or None)."""
    import numpy as np

    with np.load(folder / f"{model}.npz") as arrays:
        inputs = {key[3:]: arrays[key] for key in arrays.files if key.startswith("in|")}
        outputs = {key[4:]: arrays[key] for key in arrays.files if key.startswith("out|")}
        return inputs, outputs, arrays["labels"] if "labels" in arrays.files else None


def compare(answers: Mapping[str, Any], expected: Mapping[str, Any], labels: Any) -> dict[str, Any]:
    """Worst cosine of an item, signal to noise, agreement of the likeliest, and accuracy where there are labels."""
    import numpy as np

    [name] = expected
    given, wanted = answers[name].astype(np.float64), expected[name].astype(np.float64)
    lengths = np.linalg.norm(given, axis=1) * np.linalg.norm(wanted, axis=1)
    noise = float(((given - wanted) ** 2).sum())
    result = {
        "items": len(given),
        "finite": bool(np.isfinite(given).all()),
        "worst_cosine": float(((given * wanted).sum(axis=1) / lengths).min()),
        "largest_error": float(np.abs(given - wanted).max()),
        "snr_db": 10 * math.log10(float((wanted**2).sum()) / noise) if noise else None,
    }
    if name == "logits":
        result["top1_agreement"] = float((given.argmax(axis=1) == wanted.argmax(axis=1)).mean())
    if labels is not None:
        result["top1"] = float((given.argmax(axis=1) == labels).mean())
    return result


def run_all(runner: TensorRTRunner, inputs: Mapping[str, Any], size: int) -> dict[str, Any]:
    """The outputs for all items, `size` at a time."""
    import numpy as np

    count = len(next(iter(inputs.values())))
    parts = [runner.run({n: a[i : i + size] for n, a in inputs.items()}) for i in range(0, count, size)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def of_size(inputs: Mapping[str, Any], size: int) -> dict[str, Any]:
    """A batch of so many items, repeated where there are fewer."""
    import numpy as np

    return {name: np.resize(array, (size, *array.shape[1:])) for name, array in inputs.items()}


def interval(values: list[float]) -> dict[str, float]:
    """The median, and where it lies with 95 % confidence, by ranks alone."""
    ordered = sorted(values)
    count = len(ordered)
    half = 0.98 * math.sqrt(count)
    low, high = max(0, math.floor(count / 2 - half)), min(count - 1, math.ceil(count / 2 + half))
    return {"median": ordered[count // 2], "low": ordered[low], "high": ordered[high], "runs": count}


class Model:
    """One model's plans: built, compared, timed."""

    def __init__(self, folder: Path, name: str, results: Results) -> None:
        self.folder, self.name, self.results = folder, name, results
        self.inputs, self.expected, self.labels = gate_of(folder, name)
        self.ranges = {k: (low, high) for k, (low, high) in json.loads(self._file("ranges.json").read_text()).items()}
        self.plans: dict[str, bytes] = {}
        self.timing_cache: bytes | None = None
        self.fp16_timing_cache: bytes | None = None

    def _file(self, rest: str) -> Path:
        return self.folder / f"{self.name}.{rest}"

    def settings(self, precision: str, **more: Any) -> Settings:
        """Settings with the model's own profiles and ranges."""
        return Settings(precision, **{"profiles": profiles_of(self.name), "ranges": self.ranges, **more})

    def make(self, graph: str, settings: Settings, compiler: TensorRT | None = None) -> tuple[bytes, dict[str, Any]]:
        """A plan and what is reported of it."""
        compiler = compiler or TensorRT(limit_s=max(1.0, self.results.left_s() - RESERVE_S))
        start = time.monotonic()
        made = compiler.compile(self._file(f"{graph}.onnx").read_bytes(), settings, say)
        self.timing_cache = made.timing_cache
        report = {
            "build_s": compiler.seconds,
            "build_with_process_s": time.monotonic() - start,
            "bytes": len(made.data),
            "facts": made.facts,
        }
        return made.data, report

    def judged(self, plan: bytes) -> dict[str, Any]:
        """How its answers compare with those in fp32, at two sizes of batch."""
        with loaded(plan) as runner:
            answers = run_all(runner, self.inputs, 64)
            alone = run_all(runner, {name: array[:8] for name, array in self.inputs.items()}, 1)
        [name] = self.expected
        apart = float(abs(answers[name][:8] - alone[name]).max())
        return {**compare(answers, self.expected, self.labels), "largest_difference_to_batch_1": apart}

    def build(self, variant: str) -> None:
        """One variant: built and compared; kept if both worked."""
        precision, graph = VARIANTS[variant]
        if not self._file(f"{graph}.onnx").exists():
            return
        key = f"models|{self.name}|{variant}"
        made: list[bytes] = []

        def build() -> dict[str, Any]:
            if self.results.left_s() < RESERVE_S:
                raise TimeoutError("what is left of the budget is kept for timing")
            plan, report = self.make(graph, self.settings(precision))
            made.append(plan)
            return report

        self.results.step(f"{key}|build", build)
        if made and variant == "fp16":
            self.fp16_timing_cache = self.timing_cache
        if made and self.results.step(f"{key}|accuracy", lambda: self.judged(made[0])):
            self.plans[variant] = made[0]
            self._file(f"{variant.replace('/', '').replace(' ', '-')}.plan").write_bytes(made[0])

    def time(self) -> None:
        """All plans in turns at every batch size: launched one by one, and as a CUDA graph."""
        key = f"models|{self.name}"
        times = self.results.step(f"{key}|timed", self._times)
        for variant, by_batch in (times or {}).items():
            self.results.data["models"][self.name][variant]["latency_us"] = by_batch
        self.results.step(f"{key}|timed", lambda: sorted(times or {}))

    def _times(self) -> dict[str, Any]:
        runners = {variant: TensorRTRunner(plan, profile=0) for variant, plan in self.plans.items()}
        found: dict[str, dict[str, dict[str, list[float]]]] = {}
        order = [(variant, size) for variant in runners for size in BATCHES]
        shuffle = random.Random(SEED)  # noqa: S311 — an order, no secret
        try:
            for _ in range(ROUNDS):
                shuffle.shuffle(order)
                for variant, size in order:
                    batch = of_size(self.inputs, size)
                    for way in ("launched", "graph"):
                        more = runners[variant].time_us(batch, RUNS, warm_up=5, graph=way == "graph")
                        found.setdefault(variant, {}).setdefault(way, {}).setdefault(str(size), []).extend(more)
        finally:
            for runner in runners.values():
                runner.close()
        return {
            variant: {way: {size: interval(v) for size, v in sizes.items()} for way, sizes in ways.items()}
            for variant, ways in found.items()
        }

    def layers(self, variant: str) -> None:
        """The ten slowest layers at batch 64, and what the inspector says of the first of all."""

        def look() -> dict[str, Any]:
            with loaded(self.plans[variant], profile=0) as runner:
                times = runner.layers(of_size(self.inputs, 64))
                layers = runner.information()["Layers"]
            slowest = sorted(times, key=lambda pair: -pair[1])[:10]
            return {"layers": len(times), "slowest_ms": slowest, "inspected": len(layers), "first": layers[0]}

        if variant in self.plans:
            self.results.step(f"models|{self.name}|{variant}|layers", look)
