"""Claim: a TensorRT plan in a lower precision is faster, and here is what it costs in accuracy, on one H200.

    python benchmarks/engines_gpu.py --prepare                     here: build/gpu/part-0, part-1; join them in FOLDER
    python3.12 benchmarks/engines_gpu.py --unpack FOLDER           on the GPU machine, with onnx
    python3.11 benchmarks/engines_gpu.py --run FOLDER --out OUT    there, with TensorRT 8.6.1 and numpy
    python3.11 benchmarks/engines_gpu.py --efficient-nms FOLDER --out OUT    there: the detector's suppression alone
    python3.12 benchmarks/engines_gpu.py --tensorrt10 FOLDER --out OUT    there, with TensorRT 10's bindings
    python benchmarks/engines_gpu.py --draw                        here: engines_gpu.svg from engines_gpu.json

Builds digits, sentence embeddings and ResNet-50 (random weights: for speed alone) in fp32, tf32, fp16 and int8 (by a
calibration cache, and by Q/DQ in the graph), compares each plan's answers with ONNX Runtime's in fp32, and times all
plans of a model in turns, in a new order every round, on the device. Then what else a build can be asked for: timing
cache, several profiles, version- and hardware-compatible plans, INT8 by TensorRT's own calibration, errors. Each
result is written to OUT/engines_gpu.json as soon as it is there.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "python_backend"))

from engines_gpu_plans import ROUNDS, RUNS, VARIANTS, Model, Results, profiles_of, say

from generator.engine.compile.base import Settings
from generator.engine.compile.tensorrt.apart import probe, run_apart
from generator.engine.compile.tensorrt.compiler import TensorRT
from generator.engine.compile.tensorrt.runner import loaded

HERE = Path(__file__).resolve().parent
PREPARED = HERE.parent / "build" / "gpu"


def run(folder: Path, out: Path, budget_s: float, names: list[str]) -> None:
    """Everything on the GPU machine, most important first."""
    from engines_gpu_modes import errors, modes

    out.mkdir(parents=True, exist_ok=True)
    results = Results(out / "engines_gpu.json", budget_s)
    results.step("machine", lambda: {**probe(), "python": sys.version.split()[0], "rounds": ROUNDS, "runs": RUNS})
    models = {name: Model(folder, name, results) for name in names if (folder / f"{name}.fp32.onnx").exists()}
    for name, model in models.items():
        for variant in VARIANTS:
            model.build(variant)
            if name == "digits" and variant == "fp32" and not model.plans:
                say("nothing works without the first plan; stopped")
                return
        model.time()
        model.layers("fp16")
        if name == "digits":
            modes(model, results)
            errors(model, results)
    if "digits" in models:
        results.step("modes|apart", lambda: _apart(models["digits"]))
    for name, model in models.items():
        if name != "digits" and model.fp16_timing_cache:
            cached = model.settings("fp16", timing_cache=model.fp16_timing_cache)
            results.step(f"modes|timing cache, {name}", partial(_report, model, cached))


def _report(model: Model, settings: Settings) -> dict[str, Any]:
    return model.make("fp32", settings)[1]


def _apart(model: Model) -> dict[str, Any]:
    """The same answers from a process of its own."""
    batch = {name: array[:16] for name, array in model.inputs.items()}
    [answers] = run_apart(model.plans["fp32"], [batch])
    with loaded(model.plans["fp32"]) as runner:
        here = runner.run(batch)
    return {"equal": all((answers[name] == here[name]).all() for name in here)}


def tensorrt10(folder: Path, out: Path) -> None:
    """TensorRT 10's own parser, network, configuration and profiles; its end has to be a clear error."""
    out.mkdir(parents=True, exist_ok=True)
    results = Results(out / "engines_gpu_tensorrt10.json", 900)
    results.step("machine", probe)
    for name in ("digits", "resnet50", "embeddings"):
        for precision, graph in (("fp32", "fp32"), ("fp16", "fp16"), ("int8", "qdq"), ("fp16", "fp32")):
            file = folder / f"{name}.{graph}.onnx"
            if not file.exists():
                continue
            steps: list[str] = []
            settings = Settings(precision, profiles_of(name), workspace_mib=1024, optimization_level=1)
            key = f"{name}|{precision} of the graph in {graph}"
            compiler = TensorRT(limit_s=120)
            data = file.read_bytes()
            results.step(f"{key}|built", partial(_facts, compiler, data, settings, steps))
            results.step(f"{key}|steps", partial(list, steps))


def _facts(compiler: TensorRT, graph: bytes, settings: Settings, steps: list[str]) -> Any:
    return compiler.compile(graph, settings, steps.append).facts


def main() -> None:
    """Parses the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prepare", action="store_true")
    parser.add_argument("--draw", action="store_true")
    parser.add_argument("--unpack", type=Path, metavar="FOLDER")
    parser.add_argument("--run", type=Path, metavar="FOLDER")
    parser.add_argument("--efficient-nms", type=Path, metavar="FOLDER")
    parser.add_argument("--tensorrt10", type=Path, metavar="FOLDER")
    parser.add_argument("--out", type=Path, default=HERE)
    parser.add_argument("--budget-s", type=float, default=540)
    parser.add_argument("--models", default="digits,embeddings,resnet50")
    options = parser.parse_args()
    if options.prepare:
        from engines_gpu_prepare import prepare

        prepare(PREPARED, say)
    if options.unpack:
        from engines_gpu_prepare import unpack

        unpack(options.unpack, say)
    if options.run:
        run(options.run, options.out, options.budget_s, options.models.split(","))
    if options.efficient_nms:
        from engines_gpu_nms import efficient_nms

        options.out.mkdir(parents=True, exist_ok=True)
        efficient_nms(options.efficient_nms, Results(options.out / "engines_gpu.json", options.budget_s))
    if options.tensorrt10:
        tensorrt10(options.tensorrt10, options.out)
    if options.draw:
        from engines_gpu_draw import draw

        draw(options.out)


if __name__ == "__main__":
    main()
