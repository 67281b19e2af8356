"""Claim: what each precision costs in accuracy and gains in speed, of an engine alone on the CPU.

    python benchmarks/engines.py [--rounds 51] [--models digits embeddings detector]
    python benchmarks/engines.py --draw                             only engines.svg, from engines.json

Builds the engines of the three specs for the embedded server as `tritonkit build` does: inspected, lowered, judged on
the gate set, installed or refused. Then all engines of a model run interleaved in one process, in ONNX Runtime with a
thread a core, at batches of 1 to 32. Writes engines.json, engines.svg, the table of engines.md, and the engine.json
of every engine that passed, into engines/.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from _common import HERE, chart, machine, put_table, save, write_result

from generator.engine.build.gate.pipeline import Pipeline
from generator.engine.build.jobs import jobs_of
from generator.engine.build.make import make_missing
from generator.engine.build.run import Builder, Outcome
from generator.engine.measure.latency import Timing, latency
from generator.engine.runner import OnnxRunner, Samples
from generator.engine.validate.shapes import tensors_of_shape
from generator.gate_set import read_gate_set
from generator.load import load
from generator.problems import Severity
from generator.project import Project
from generator.spec import Spec
from generator.whole_file import write_whole
from generator.workspace import open_workspace

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from generator.engine.runner import Tensors

CLONE = HERE.parent
BATCHES = (1, 2, 4, 8, 16, 32)
SHOWN, SEED, SOME_ITEMS = 8, 1, 64
PLAIN = "fp32, graph as written"
_REFUSED, _FRONT = "refused by the gate", "no other is better"
# Precision → what the spec says of it.
PRECISIONS: Mapping[str, Mapping[str, Any]] = {
    "fp32": {"precision": "fp32"},
    "fp16": {"precision": "fp16"},
    "int8": {"precision": "int8"},
    "mixed": {"precision": "int8", "build": {"mixed": True}},
}
# The length of every axis but the batch, where the graph leaves it open.
LENGTHS = {"tokens": 64}


@dataclass(frozen=True)
class Engine:
    """What was built: its bytes, and what the gate said. `manifest` is None where it was refused."""

    name: str
    data: bytes
    accuracy: Mapping[str, Any]
    passed: bool
    manifest: Mapping[str, Any] | None


def make_project(root: Path, model: str, changes: Mapping[str, Any]) -> Project:
    """A project with the spec of a model, `changes` merged into its `model`, for the embedded server alone."""
    (root / "specs").mkdir(parents=True)
    for folder in ("models", "data", "steps"):
        (root / folder).symlink_to(CLONE / folder)
    spec = yaml.safe_load((CLONE / "specs" / f"{model}.yaml").read_text(encoding="utf-8"))
    spec["targets"].pop("production", None)
    build = {**spec["model"].get("build", {}), **changes.get("build", {})}
    spec["model"] = {**spec["model"], **changes, "build": build}
    (root / "specs" / f"{model}.yaml").write_text(yaml.safe_dump(spec, sort_keys=False), encoding="utf-8")
    return Project(root)


def build(model: str, name: str, root: Path) -> tuple[Engine | str, Project]:
    """One engine of a model, as `tritonkit build` makes it; or why there is none to judge."""
    project = make_project(root, model, PRECISIONS[name])
    files = [root / "specs" / f"{model}.yaml"]
    make_missing(project, [document.value for document in load(files, Spec).documents], tell)
    work = open_workspace(project, files)
    work.stop_on_errors()
    [job] = jobs_of(work)
    outcome = Builder(project, tell, keep=root / "kept").build(job)
    row = next((row for row in outcome.rows if row.verdict is not None), None)
    if row is None or row.verdict is None:
        why = [problem.message for problem in outcome.problems if problem.severity is Severity.ERROR]
        return "; ".join(why), project
    [data] = [path.read_bytes() for path in (root / "kept").rglob(f"{row.choice.precision}-model.onnx")]
    return Engine(name, data, row.verdict.facts["metric"], row.verdict.passed, _manifest(outcome)), project


def _manifest(outcome: Outcome) -> Mapping[str, Any] | None:
    return None if outcome.installed is None else outcome.installed.manifest


def samples_of(model: str, project: Project) -> Samples:
    """Some items of the gate set as the engine gets them."""
    work = open_workspace(project, [project.root / "specs" / f"{model}.yaml"])
    [job] = jobs_of(work)
    if job.accuracy is None:
        raise SystemExit(f"specs/{model}.yaml names no gate set")
    pipeline = Pipeline(job.plan, job.model.name, job.version, project)
    items = read_gate_set(project.path(job.accuracy.data), pipeline.plan.inputs, labelled=False).items
    return Samples(tuple(pipeline.run(items[:SOME_ITEMS]).taken), model)


def batch_of(graph: bytes, samples: Samples, size: int) -> Tensors:
    """One batch of that size."""
    import onnx

    shapes = {
        value.name: tuple(
            size if axis == 0 else dim.dim_value or LENGTHS[dim.dim_param]
            for axis, dim in enumerate(value.type.tensor_type.shape.dim)
        )
        for value in onnx.load_from_string(graph).graph.input
    }
    return tensors_of_shape(shapes, samples)[0]


def measure(model: str, rounds: int, folder: Path) -> dict[str, Any]:
    """All engines of a model: what the gate says, and their latencies, interleaved."""
    engines: list[Engine] = []
    missing = {}
    for name in PRECISIONS:
        tell(f"{model} {name}")
        engine, project = build(model, name, folder / f"{model}-{name}")
        if isinstance(engine, str):
            missing[name] = engine
        else:
            engines.append(engine)
    fp32 = engines[0]
    samples = samples_of(model, project)
    threads = len(os.sched_getaffinity(0))
    runners = {engine.name: OnnxRunner(engine.data, threads=threads) for engine in engines}
    runners[PLAIN] = OnnxRunner(fp32.data, threads=threads, optimise=False)
    try:
        found = latency(
            runners, lambda size: batch_of(fp32.data, samples, size), BATCHES, rounds=rounds, seed=SEED,
            progress=lambda done, total: tell(f"{model}: {done} of {total} batch sizes"),
        )  # fmt: skip
    finally:
        for runner in runners.values():
            runner.close()
    (HERE / "engines").mkdir(exist_ok=True)
    for engine in engines:
        if engine.manifest is not None:
            write_whole(
                HERE / "engines" / f"{model}-{engine.name}.json", json.dumps(engine.manifest, indent=2) + "\n"
            )
    told = {engine.name: _facts(engine) for engine in engines}
    told[PLAIN] = {**told["fp32"]}
    return {
        "engines": {name: {**facts, "latency_us": _latencies(found[name])} for name, facts in told.items()},
        "not_built": missing,
    }


def _facts(engine: Engine) -> dict[str, Any]:
    metric = engine.accuracy
    return {
        "metric": metric["name"], "accuracy": metric["value"], "interval": list(metric["interval"]),
        "passed": engine.passed, "bytes": len(engine.data),
    }  # fmt: skip


def _latencies(found: Mapping[int, Timing]) -> dict[str, Any]:
    return {str(size): timing.facts() for size, timing in found.items()}


def front(points: Mapping[str, tuple[float, float]]) -> list[str]:
    """The engines (latency, accuracy) of which no other is as fast and as accurate and better in one; by latency."""
    best = [
        name for name, (slow, right) in points.items()
        if not any(
            a <= slow and b >= right and (a, b) != (slow, right) for other, (a, b) in points.items() if other != name
        )
    ]  # fmt: skip
    return sorted(best, key=lambda name: points[name])


def draw(results: Mapping[str, Any], file: Path) -> None:
    """A panel a model: latency of one item in a batch with its interval against accuracy, and the front."""
    figure, panels = chart(len(results), (4.2 * len(results) + 0.6, 4.4))
    names = list(dict.fromkeys(name for result in results.values() for name in result["engines"]))
    for axes, (model, result) in zip(panels, results.items(), strict=True):
        _panel(axes, model, result["engines"], names)
    said: dict[str, Any] = {}
    for axes in panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            said.setdefault(label, handle)
    labels = sorted(said, key=lambda label: (label in {_FRONT, _REFUSED}, label == _FRONT))
    columns = 4 if len(results) > 1 else 2
    figure.legend([said[label] for label in labels], labels, loc="outside lower center", fontsize=9, ncols=columns)
    save(figure, file)


def _panel(axes: Axes, model: str, engines: Mapping[str, Any], names: Sequence[str]) -> None:
    """`names` are those of all panels: an engine has the same colour and size in each."""
    points, highest = {}, 0.0
    for name, found in engines.items():
        index = names.index(name)
        time = found["latency_us"][str(SHOWN)]
        x, low, high = (time[key] / SHOWN for key in ("median_us", "low_us", "high_us"))
        points[name], highest = (x, found["accuracy"]), max(highest, high)
        # Later ones are smaller, so that points in the same place are seen as rings.
        axes.errorbar(
            [x], [found["accuracy"]], xerr=[[x - low], [high - x]], marker="o", color=f"C{index}", capsize=3,
            markersize=max(5, 12 - 2 * index), elinewidth=max(1, 3.5 - 0.6 * index), linestyle="none", label=name,
            zorder=3 + index,
        )  # fmt: skip
    wrong = [point for name, point in points.items() if not engines[name]["passed"]]
    if wrong:
        axes.plot(*zip(*wrong, strict=True), "kx", markersize=14, label=_REFUSED, zorder=20)
    best = front({name: point for name, point in points.items() if engines[name]["passed"]})
    axes.plot([points[n][0] for n in best], [points[n][1] for n in best], color="0.5", lw=1.2, ls="--",
              marker="o", markersize=17, markerfacecolor="none", label=_FRONT, zorder=2)  # fmt: skip
    metric = next(iter(engines.values()))["metric"]
    values = [right for _, right in points.values()]
    room = max((max(values) - min(values)) * 0.25, 0.002)
    axes.set(
        title=model, xlabel=f"µs an item, in batches of {SHOWN}", ylabel=f"{metric} on the gate set",
        xlim=(0, highest * 1.08), ylim=(min(values) - room, max(values) + room),
    )  # fmt: skip


def rows(results: Mapping[str, Any]) -> list[list[str]]:
    """A line an engine, for the page."""
    made = []
    for model, result in results.items():
        engines = result["engines"]
        for name, found in engines.items():
            cells = []
            for size in ("1", "8", "32"):
                time, of_fp32 = found["latency_us"][size], engines["fp32"]["latency_us"][size]
                share = "" if name == "fp32" else f"; {of_fp32['median_us'] / time['median_us']:.2f} times as fast"
                cells.append(f"{time['median_us']:,.0f} ({time['low_us']:,.0f} to {time['high_us']:,.0f}){share}")
            state = _accuracy(found) if found["passed"] else f"{_accuracy(found)}, refused"
            made.append([model, name, state, f"{found['bytes'] / 1000:,.0f}", *cells])
        made += [[model, name, f"not built: {why}", *[""] * 4] for name, why in result["not_built"].items()]
    return made


def _accuracy(found: Mapping[str, Any]) -> str:
    """The metric with its interval; a cosine's is that of the share of items that reach the floor."""
    low, high = found["interval"]
    if found["metric"] == "cosine":
        return f"least cosine {found['accuracy']:.4f} ({low:.0%} to {high:.0%} of items reach the floor)"
    return f"{found['metric']} {found['accuracy']:.4f} ({low:.4f} to {high:.4f})"


def tell(text: str) -> None:
    """Progress."""
    sys.stderr.write(f"{text}\n")


def main(arguments: Sequence[str] | None = None) -> None:
    """Builds, measures and writes all files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=51)
    parser.add_argument("--models", nargs="+", default=["digits", "embeddings", "detector"])
    parser.add_argument("--draw", action="store_true", help="draw what engines.json has, and measure nothing")
    told = parser.parse_args(arguments)
    if told.draw:
        draw(json.loads((HERE / "engines.json").read_text(encoding="utf-8"))["results"], HERE / "engines.svg")
        return
    shutil.rmtree(HERE / "engines", ignore_errors=True)
    with tempfile.TemporaryDirectory() as folder:
        results = {model: measure(model, told.rounds, Path(folder)) for model in told.models}
    write_result("engines", {
        "command": f"python benchmarks/engines.py --rounds {told.rounds}", "seed": SEED,
        **machine("onnxruntime", "onnx", "numpy"), "tokens": LENGTHS["tokens"], "results": results,
    }, indent=2)  # fmt: skip
    draw(results, HERE / "engines.svg")
    head = ["model", "engine", "accuracy (95 %)", "kB", "batch 1, µs", "batch 8, µs", "batch 32, µs"]
    put_table("engines", head, rows(results))
    print("\n".join("  ".join(row) for row in rows(results)))


if __name__ == "__main__":
    main()
