"""Claim: how long calibration and the search for mixed precision take, and a build of which everything is kept.

    python benchmarks/calibration.py [--rounds 5] [--limit-s 240]
    python benchmarks/calibration.py --draw           only calibration.svg, from calibration.json

Networks of 4 to 64 convolutions (seeded weights, 3×32×32 in) are calibrated by entropy, their layers ranked, and the
largest set of layers searched that keeps 40 dB; then one of 16 convolutions with 64 to 1024 samples. Last the digits
in INT8 with mixed precision, as whole processes: built anew, built again with what the cache has, and when the engine
is what the spec asks for. No round of the networks starts that would end beyond the limit. Writes calibration.json,
calibration.svg and the table of calibration.md.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import yaml
from _common import HERE, chart, machine, median, put_table, rounds, save, write_result
from onnx import TensorProto, helper, numpy_helper

from generator.engine.calibrate import collect
from generator.engine.precision import search, sensitivity
from generator.engine.runner import OnnxRunner, Samples

CLONE = HERE.parent
TRITONKIT = str(Path(sys.executable).with_name("tritonkit"))
SEED, CHANNELS, SIZE, BATCH, RANKED_WITH = 1, 16, 32, 32, 64
LEAST_DB = 40.0  # more than any of the networks keeps in INT8 throughout: a search that ends at once shows nothing
LAYERS, SAMPLES = (4, 8, 16, 32, 64), (64, 128, 256, 512, 1024)
USUAL_LAYERS, USUAL_SAMPLES = 16, 256
BUILDS = ("from nothing", "with the cache", "current")


def network(layers: int) -> onnx.ModelProto:
    """Convolutions 3×3 with ReLU, pooled at the end: pixels FP32 [batch, 3, 32, 32] → logits [batch, 10]."""
    random = np.random.default_rng(SEED)
    nodes, weights, last, depth = [], {}, "pixels", 3
    for index in range(layers):
        scale = np.sqrt(2 / (9 * depth))
        weights[f"w{index}"] = (scale * random.standard_normal((CHANNELS, depth, 3, 3))).astype(np.float32)
        nodes += [
            helper.make_node("Conv", [last, f"w{index}"], [f"c{index}"], name=f"c{index}", pads=[1, 1, 1, 1]),
            helper.make_node("Relu", [f"c{index}"], [f"r{index}"], name=f"r{index}"),
        ]
        last, depth = f"r{index}", CHANNELS
    weights["w"] = random.standard_normal((CHANNELS, 10)).astype(np.float32)
    nodes += [
        helper.make_node("GlobalAveragePool", [last], ["pool"], name="pool"),
        helper.make_node("Flatten", ["pool"], ["flat"], name="flat"),
        helper.make_node("MatMul", ["flat", "w"], ["logits"], name="logits"),
    ]
    taken = helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["batch", 3, SIZE, SIZE])
    given = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 10])
    held = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "convolutions", [taken], [given], held)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def samples(count: int) -> Samples:
    """So many items, in batches of 32."""
    random = np.random.default_rng(SEED + 1)
    batches = [
        {"pixels": random.random((min(BATCH, count - start), 3, SIZE, SIZE), np.float32)}
        for start in range(0, count, BATCH)
    ]
    return Samples(tuple(batches), f"random {count}")


def stages(layers: int, count: int) -> dict[str, float]:
    """Seconds of each stage for one network."""
    model, data, few = network(layers), samples(count), samples(RANKED_WITH)
    start = time.perf_counter()
    ranges = collect(model, data, "entropy", 99.99, None)
    calibrated = time.perf_counter()
    ranking = sensitivity(model, ranges, few, None, for_engine="onnxruntime")
    ranked = time.perf_counter()
    right = _answers(model, few)
    found = search(model, ranges, ranking, lambda made: _snr_db(right, _answers(made, few)) >= LEAST_DB, None,
                   for_engine="onnxruntime")  # fmt: skip
    searched = time.perf_counter()
    return {
        "calibrate_s": calibrated - start, "rank_s": ranked - calibrated, "search_s": searched - ranked,
        "judged": found.evaluations, "quantised": len(found.quantised.layers),
    }  # fmt: skip


def _answers(model: onnx.ModelProto, data: Samples) -> Any:
    runner = OnnxRunner(model.SerializeToString())
    try:
        return np.concatenate([runner.run(batch)["logits"] for batch in data.batches])
    finally:
        runner.close()


def _snr_db(right: Any, found: Any) -> float:
    noise = float(np.square(right - found).sum())
    return 200.0 if noise == 0 else float(10 * np.log10(float(np.square(right).sum()) / noise))


def make_project(root: Path) -> None:
    """The digits in INT8 with mixed precision, for the embedded server alone."""
    (root / "specs").mkdir(parents=True)
    for folder in ("models", "data", "steps"):
        (root / folder).symlink_to(CLONE / folder)
    spec = yaml.safe_load((CLONE / "specs" / "digits.yaml").read_text(encoding="utf-8"))
    spec["targets"].pop("production")
    spec["model"].update(precision="int8")
    spec["model"]["build"]["mixed"] = True
    (root / "specs" / "digits.yaml").write_text(yaml.safe_dump(spec, sort_keys=False), encoding="utf-8")


def whole_build(root: Path, kind: str) -> float:
    """Seconds of a whole process."""
    if kind != "current":
        shutil.rmtree(root / "engines", ignore_errors=True)
    if kind == "from nothing":
        shutil.rmtree(root / "build", ignore_errors=True)
    start = time.perf_counter()
    done = subprocess.run([TRITONKIT, "build"], cwd=root, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - start
    if done.returncode:
        raise SystemExit(f"tritonkit build failed:\n{done.stderr}")
    return seconds


def draw(result: Mapping[str, Any], file: Path) -> None:
    """Stages by layers, stages by samples, whole builds."""
    figure, (left, middle, right) = chart(3, (13, 4.2))
    words = {"calibrate_s": "calibration", "rank_s": "ranking of layers", "search_s": "search"}
    middle.sharey(left)
    for axes, key, name in ((left, "by_layers", "convolutions"), (middle, "by_samples", "samples to calibrate with")):
        sizes = [int(size) for size in result[key]]
        for index, (stage, word) in enumerate(words.items()):
            told = [result[key][str(size)][stage] for size in sizes]
            axes.errorbar(
                sizes, [t["median"] for t in told], yerr=_bars(told), marker="os^"[index], capsize=3, elinewidth=1.2,
                label=word,
            )  # fmt: skip
        axes.set(xscale="log", yscale="log", xlabel=name, ylabel="seconds")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.set_xticks(sizes, labels=[str(size) for size in sizes])
        axes.minorticks_off()
    left.legend(fontsize=9, loc="lower right")
    left.set_title(f"by size, {USUAL_SAMPLES} samples")
    middle.set_title(f"by samples, {USUAL_LAYERS} convolutions")
    builds = [result["builds_s"][kind] for kind in BUILDS]
    tallest = max(told["high"] for told in builds)
    right.bar(BUILDS, [told["median"] for told in builds], yerr=_bars(builds), capsize=3, color="0.65", width=0.6)
    for place, told in enumerate(builds):
        right.text(place, told["high"] + tallest * 0.02, f"{told['median']:.2f} s", ha="center")
    right.set(
        title="tritonkit build, digits in mixed INT8", ylabel="seconds, whole process", ylim=(0, tallest * 1.15)
    )
    right.grid(visible=False, axis="x")
    right.set_axisbelow(True)
    save(figure, file)


def _bars(told: Sequence[Mapping[str, float]]) -> list[list[float]]:
    """How far the interval reaches below and above each median."""
    return [[one["median"] - one["low"] for one in told], [one["high"] - one["median"] for one in told]]


def rows(result: Mapping[str, Any]) -> list[list[str]]:
    """A line a network and number of samples, then the builds."""
    made = []
    for key, layers, count in (("by_layers", None, USUAL_SAMPLES), ("by_samples", USUAL_LAYERS, None)):
        for size, told in result[key].items():
            what = f"{layers or size} convolutions, {count or size} samples"
            made.append([what, *(_seconds(told[stage]) for stage in ("calibrate_s", "rank_s", "search_s")), ""])
    made += [[f"digits, {kind}", "", "", "", _seconds(result["builds_s"][kind])] for kind in BUILDS]
    return made


def _seconds(told: Mapping[str, float]) -> str:
    return f"{told['median']:.2f} ({told['low']:.2f} to {told['high']:.2f})"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures in interleaved rounds and writes all files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--limit-s", type=float, default=240, help="for the rounds of networks; one is always run")
    parser.add_argument("--draw", action="store_true", help="draw what calibration.json has, and measure nothing")
    asked = parser.parse_args(arguments)
    if asked.draw:
        draw(json.loads((HERE / "calibration.json").read_text(encoding="utf-8")), HERE / "calibration.svg")
        return
    count = asked.rounds
    cases = dict.fromkeys([*((n, USUAL_SAMPLES) for n in LAYERS), *((USUAL_LAYERS, n) for n in SAMPLES)])
    stages(LAYERS[0], SAMPLES[0])  # once, so that everything is imported
    runs: dict[tuple[int, int], list[dict[str, float]]] = {case: [] for case in cases}
    longest, start = 0.0, time.monotonic()
    for number, ordered in groupby(rounds(list(cases), count, SEED), key=itemgetter(0)):
        began = time.monotonic()
        if began - start + longest > asked.limit_s:
            break
        for _, case in ordered:
            runs[case].append(stages(*case))
            sys.stderr.write(f"round {number}/{count}: {case[0]} layers, {case[1]} samples\n")
        longest = max(longest, time.monotonic() - began)
    builds: dict[str, list[float]] = {kind: [] for kind in BUILDS}
    with tempfile.TemporaryDirectory() as folder:
        make_project(Path(folder))
        whole_build(Path(folder), BUILDS[0])  # once, so that the bytecode is there
        for number in range(1, count + 1):
            for kind in BUILDS:
                builds[kind].append(whole_build(Path(folder), kind))
            sys.stderr.write(f"round {number}/{count}: builds\n")

    def told(case: tuple[int, int]) -> dict[str, Any]:
        return {stage: median(run[stage] for run in runs[case]) for stage in runs[case][0]}

    result = {
        "command": f"python benchmarks/calibration.py --rounds {count}", "seed": SEED,
        **machine("onnxruntime", "onnx", "numpy"),
        "by_layers": {str(n): told((n, USUAL_SAMPLES)) for n in LAYERS},
        "by_samples": {str(n): told((USUAL_LAYERS, n)) for n in SAMPLES},
        "builds_s": {kind: median(found) for kind, found in builds.items()},
    }  # fmt: skip
    write_result("calibration", result, indent=2)
    draw(result, HERE / "calibration.svg")
    head = ["what", "calibration, s", "ranking, s", "search, s", "whole process, s"]
    put_table("calibration", head, rows(result))
    print(json.dumps({kind: round(told["median"], 2) for kind, told in result["builds_s"].items()}))


if __name__ == "__main__":
    main()
