"""Claim: what Inductor's package and its CUDA graph bring over eager PyTorch, at equal answers.

    python benchmarks/engines_inductor.py --run . --out benchmarks [--device cuda] [--models digits resnet50]

Runs with torch, numpy and onnx alone, in any interpreter that has them. Each model is compiled by the build's own
InductorCompiler (from a torch factory, engines_inductor_models.py), loaded by its InductorRunner, and timed with
tensors that are on the device already, side by side with eager PyTorch and torch.compile; the digits on the CPU also
with ONNX Runtime, where it is installed. Answers are compared with eager FP32's, and those of the digits with their
labels. Writes OUT/engines_inductor_DEVICE.json.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "python_backend"))

from generator.engine.compile.base import Settings, ShapeRange
from generator.engine.compile.inductor.answers import as_tuple
from generator.engine.compile.inductor.compiler import InductorCompiler
from generator.engine.compile.inductor.runner import InductorRunner, capture
from generator.engine.compile.inductor.worker import factory, narrow
from generator.engine.errors import StageError
from generator.engine.measure.latency import latency
from generator.engine.runner import OnnxRunner, Samples
from generator.engine.validate.compare import compare
from generator.engine.validate.neighbours import TOLERANCES, check_neighbours
from tritonkit_runtime.buffered.inductor_module import set_precision

FACTORIES = "benchmarks/engines_inductor_models.py"
SHAPES = {"digits": (1, 8, 8), "resnet50": (3, 224, 224)}
SEED, COMPARED = 0, 8
DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16}


class OnDevice:
    """A function of tensors as a Runner: its inputs are on the device, and it has ended when `run` returns."""

    def __init__(self, function: Callable[..., Any], device: str) -> None:
        self.function, self.device = function, device

    def run(self, tensors: Mapping[str, Any]) -> dict[str, Any]:
        """One output, as a tensor."""
        with torch.no_grad():
            found = as_tuple(self.function(tensors["input"]))[0]
        if self.device == "cuda":
            torch.cuda.synchronize()
        return {"output": found}

    def close(self) -> None:
        """Frees it."""
        self.function = lambda *_: None


class Graphed:
    """A function behind one CUDA graph for each batch size."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function, self.graphs = function, dict[int, Any]()

    def __call__(self, tensor: Any) -> Any:
        """Copies in, replays."""
        if len(tensor) not in self.graphs:
            self.graphs[len(tensor)] = capture(torch, self.function, [tensor.clone()])
        graph, [buffer], outputs = self.graphs[len(tensor)]
        buffer.copy_(tensor)
        graph.replay()
        return outputs[0]


class Numpy:
    """An OnDevice for checks that give arrays."""

    def __init__(self, inner: OnDevice) -> None:
        self.inner = inner

    def run(self, tensors: Mapping[str, Any]) -> dict[str, Any]:
        """The output as an array."""
        given = torch.from_numpy(np.ascontiguousarray(tensors["input"])).to(self.inner.device)
        return {"output": self.inner.run({"input": given})["output"].float().cpu().numpy()}

    def close(self) -> None:
        """Nothing of its own."""


def measure(
    root: Path, model: str, precision: str, *, device: str, batches: list[int], rounds: int
) -> dict[str, Any]:
    """All ways to run one model in one precision."""
    set_precision(torch, precision)
    module = factory(f"{FACTORIES}:{model}", str(root))().eval().to(device)
    reference = OnDevice(factory(f"{FACTORIES}:{model}", str(root))().eval().to(device), device)
    if precision in DTYPES:
        module = narrow(module, DTYPES[precision])
    shape = SHAPES[model]
    profile = {"input": ShapeRange((1, *shape), (min(8, batches[-1]), *shape), (batches[-1], *shape))}
    ways: dict[str, Callable[..., Any]] = {"eager": module, "torch.compile": torch.compile(module, dynamic=True)}
    compiler = InductorCompiler(device=device, factory=f"{FACTORIES}:{model}", root=root)
    start = time.perf_counter()
    result: dict[str, Any] = {"failed": {}}
    try:
        made = compiler.compile(b"", Settings(precision, [profile]), say)
    except StageError as error:
        result["failed"]["aotinductor"] = str(error)
    else:
        result |= {"facts": dict(made.facts), "engine_bytes": len(made.data)}
        result["compile_s"] = time.perf_counter() - start
        start = time.perf_counter()
        ways[made.facts["kind"]] = InductorRunner(made.data, root=root).module
        result["load_s"] = time.perf_counter() - start
    if device == "cuda":
        ways |= {f"{name} + CUDA graph": Graphed(function) for name, function in list(ways.items())}
    runners = _those_that_run({n: OnDevice(f, device) for n, f in ways.items()}, shape, batches, result["failed"])
    samples, labels = data_of(root, model)
    answers = [Numpy(reference).run(batch) for batch in samples.batches]
    result["compared"] = {
        name: judged(Numpy(runner), answers, samples, labels, precision) for name, runner in runners.items()
    }
    if model == "digits" and device == "cpu" and importlib.util.find_spec("onnxruntime"):
        runners["onnxruntime"] = Onnx((root / "models" / "digits.onnx").read_bytes())
    random = np.random.default_rng(SEED)

    def batch(size: int) -> dict[str, Any]:
        return {"input": torch.from_numpy(random.random((size, *shape), dtype=np.float32)).to(device)}

    with torch.no_grad():
        timings = latency(
            runners, batch, batches, rounds=rounds, seed=SEED, progress=lambda *step: say(f"batch {step}")
        )
    result["latency"] = {name: {str(size): t.facts() for size, t in of.items()} for name, of in timings.items()}
    return result


class Onnx:
    """ONNX Runtime beside them, which takes arrays: on the CPU a tensor is one without a copy."""

    def __init__(self, graph: bytes) -> None:
        self.runner = OnnxRunner(graph, threads=torch.get_num_threads())

    def run(self, tensors: Mapping[str, Any]) -> dict[str, Any]:
        """Of the digits, whose input is `pixels`."""
        return self.runner.run({"pixels": tensors["input"].numpy()})

    def close(self) -> None:
        """Frees it."""
        self.runner.close()


def _those_that_run(
    runners: dict[str, OnDevice], shape: tuple[int, ...], batches: list[int], failed: dict[str, str]
) -> dict[str, Any]:
    """A way that cannot run is named with its reason, and left out of the timing."""
    good: dict[str, Any] = {}
    for name, runner in runners.items():
        try:
            for size in (1, batches[-1]):
                runner.run({"input": torch.rand((size, *shape), device=runner.device)})
            good[name] = runner
        except Exception as error:  # noqa: BLE001  (whatever torch raises is the finding)
            failed[name] = f"{type(error).__name__}: {str(error)[:300]}"
            say(f"{name}: {failed[name]}")
    return good


def data_of(root: Path, model: str) -> tuple[Samples, Any]:
    """The digits' gate set and its labels; for ResNet-50 seeded noise without labels."""
    if model == "digits":
        with np.load(root / "data" / "digits-gate.npz") as data:
            pixels, labels = (data["image"][:, None] / 255).astype(np.float32), data["labels"]
        return Samples(tuple({"input": pixels[i : i + 32]} for i in range(0, len(pixels), 32)), "gate"), labels
    noise = np.random.default_rng(SEED).standard_normal((COMPARED, *SHAPES[model])).astype(np.float32)
    return Samples(({"input": noise},), "noise"), None


def judged(runner: Numpy, answers: list[Any], samples: Samples, labels: Any, precision: str) -> dict[str, Any]:
    """Against eager FP32, and each item alone against itself among others."""
    found = [runner.run(batch) for batch in samples.batches]
    facts: dict[str, Any] = compare(answers, found).facts()["outputs"]["output"]
    if labels is not None:
        facts["top1"] = float((np.concatenate([a["output"] for a in found]).argmax(axis=1) == labels).mean())
    facts["neighbours"] = check_neighbours(runner, samples, [2, 8], TOLERANCES[precision]).facts()
    return facts


def say(text: str) -> None:
    """Progress."""
    sys.stderr.write(f"{text}\n")


def main() -> None:
    """Measures and writes the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="the clone: models/ and data/ of it are read")
    parser.add_argument("--out", type=Path, required=True, help="where the JSON goes")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--models", nargs="+", choices=list(SHAPES), default=list(SHAPES))
    parser.add_argument("--precisions", nargs="+", choices=list(TOLERANCES), default=None)
    parser.add_argument("--batches", nargs="+", type=int, default=None)
    parser.add_argument("--rounds", type=int, default=31)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="on the CPU")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    os.environ["OMP_NUM_THREADS"] = str(chosen.threads)  # of the process that compiles
    gpu = chosen.device == "cuda"
    precisions = chosen.precisions or (["fp32", "fp16"] if gpu else ["fp32"])
    batches = sorted(chosen.batches or ([1, 2, 4, 8, 16, 32, 64, 128] if gpu else [1, 8, 32]))
    result: dict[str, Any] = {
        "format": 1, "command": " ".join(["python", "benchmarks/engines_inductor.py", *sys.argv[1:]]), "seed": SEED,
        "device": torch.cuda.get_device_name() if gpu else platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(), "python": platform.python_version(), "torch": torch.__version__,
        "rounds": chosen.rounds, "models": {},
    }  # fmt: skip
    chosen.out.mkdir(parents=True, exist_ok=True)
    for model in chosen.models:
        for precision in precisions:
            say(f"{model}, {precision}")
            key = f"{model}, {precision}"
            result["models"][key] = measure(
                chosen.run.resolve(), model, precision, device=chosen.device, batches=batches, rounds=chosen.rounds
            )
            # After each, so that a run that is cut short has what was measured.
            file = chosen.out / f"engines_inductor_{chosen.device}.json"
            file.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
