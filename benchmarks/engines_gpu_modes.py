"""What else a build can be asked for, tried on the digits by benchmarks/engines_gpu.py, and mistakes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from engines_gpu_int8 import looked_at

from generator.engine.compile.base import ShapeRange
from generator.engine.compile.tensorrt.apart import run_apart
from generator.engine.compile.tensorrt.compiler import TensorRT
from generator.engine.compile.tensorrt.runner import TensorRTRunner, loaded
from generator.engine.errors import StageError

if TYPE_CHECKING:
    from engines_gpu_plans import Model, Results

ITEM = (1, 8, 8)


def modes(model: Model, results: Results) -> None:
    """Timing cache, compatible plans, other ways to INT8, profiles, a plan serialised again."""

    def cached() -> dict[str, Any]:
        settings = model.settings("fp16", timing_cache=b"")
        _, without = model.make("fp32", settings)
        cache = model.timing_cache
        _, with_cache = model.make("fp32", model.settings("fp16", timing_cache=cache))
        changed = bytes(cache or b"")[:-64] + bytes(64)
        report: dict[str, Any] = {"without": without, "with": with_cache, "cache_bytes": len(cache or b"")}
        try:
            report["damaged"] = model.make("fp32", model.settings("fp16", timing_cache=changed))[1]["facts"]
        except StageError as error:
            report["damaged"] = str(error)
        return report

    results.step("modes|int8 cache looked at", lambda: looked_at(model))
    results.step("modes|timing cache", cached)
    asked: dict[str, dict[str, Any]] = {
        "version compatible": {"version_compatible": True},
        "ampere plus": {"hardware": "ampere_plus"},
        "refit": {"refit": True},
        "level 5, 64 MiB": {"optimization_level": 5, "workspace_mib": 64},
    }
    for name, more in asked.items():
        results.step(f"modes|{name}", lambda m=more: _judged(model, "fp32", model.settings("fp16", **m), None))
    feeding = TensorRT(limit_s=300, int8_by="batches", batches=_batches(model))
    by_tensor = TensorRT(limit_s=300, int8_by="dynamic_range")
    for name, compiler in (("int8 fed", feeding), ("int8 dynamic ranges", by_tensor)):
        results.step(f"modes|{name}", lambda c=compiler: _judged(model, "fp32", model.settings("int8"), c))
    results.step("modes|profiles", lambda: _profiles(model))
    results.step("modes|serialised again", lambda: _again(model))


def _judged(model: Model, graph: str, settings: Any, compiler: TensorRT | None) -> dict[str, Any]:
    plan, report = model.make(graph, settings, compiler)
    return {**report, "accuracy": model.judged(plan)}


def _batches(model: Model) -> list[Mapping[str, Any]]:
    """Batches to calibrate with; they are the gate's, since the way is shown here and no accuracy claimed."""
    return [{name: array[i : i + 32] for name, array in model.inputs.items()} for i in range(0, 320, 32)]


def _profiles(model: Model) -> dict[str, Any]:
    """Three profiles of one plan: which one a batch gets, equal answers in each, and what fits none."""
    shapes = [(1, 1, 1), (2, 8, 16), (17, 64, 128)]
    profiles = [{"pixels": ShapeRange((a, *ITEM), (b, *ITEM), (c, *ITEM))} for a, b, c in shapes]
    plan, report = model.make("fp32", model.settings("fp32", profiles=profiles))
    with loaded(plan) as runner:
        report["used"] = runner.profiles
        report["accuracy"] = {
            str(size): float(abs(_first(runner, model, size) - model.expected["logits"][:size]).max())
            for size in (1, 2, 16, 17, 128)
        }
        try:
            _first(runner, model, 129)
        except ValueError as error:
            report["129 items"] = str(error)
    return report


def _first(runner: TensorRTRunner, model: Model, size: int) -> Any:
    return runner.run({"pixels": model.inputs["pixels"][:size]})["logits"]


def _again(model: Model) -> dict[str, Any]:
    """A plan that is loaded, serialised, and loaded again answers the same, bit by bit."""
    equal = {}
    for variant, plan in model.plans.items():
        with loaded(plan) as runner:
            before, again = _first(runner, model, 64), runner.serialised()
        with loaded(again) as runner:
            equal[variant] = bool((before == _first(runner, model, 64)).all())
    return equal


def errors(model: Model, results: Results) -> None:
    """Mistakes, which have to end in findings."""
    digits = model.folder / "digits.fp32.onnx"
    other = {"pixels": ShapeRange((1, 3, 8, 8), (1, 3, 8, 8), (1, 3, 8, 8))}
    cases: dict[str, tuple[bytes, Any, TensorRT]] = {
        "no profile": (digits.read_bytes(), model.settings("fp32", profiles=[]), TensorRT()),
        "another shape": (digits.read_bytes(), model.settings("fp32", profiles=[other]), TensorRT()),
        "bf16": (digits.read_bytes(), model.settings("bf16"), TensorRT()),
        "no ranges": (digits.read_bytes(), model.settings("int8", ranges={}), TensorRT()),
        "same compute capability": (
            digits.read_bytes(), model.settings("fp32", hardware="same_compute_capability"), TensorRT(),
        ),
        "unknown operator": (
            digits.read_bytes().replace(b"MaxPool", b"MixPool"), model.settings("fp32"), TensorRT(),
        ),
        "no plugin": (digits.read_bytes(), model.settings("fp32", plugins=["/nowhere/plugin.so"]), TensorRT()),
        "half a graph": (digits.read_bytes()[:4000], model.settings("fp32"), TensorRT()),
        "one second": (digits.read_bytes(), model.settings("fp32"), TensorRT(limit_s=1)),
    }  # fmt: skip
    for name, (graph, settings, compiler) in cases.items():
        results.step(f"errors|{name}", lambda g=graph, s=settings, c=compiler: _said(g, s, c))
    results.step("errors|half a plan", lambda: _loading(model))


def _said(graph: bytes, settings: Any, compiler: TensorRT) -> Any:
    try:
        compiler.compile(graph, settings, lambda _text: None)
    except StageError as error:
        return [[finding.code, finding.message, finding.hint] for finding in error.findings]
    return "built"


def _loading(model: Model) -> Any:
    try:
        run_apart(model.plans["fp32"][:4000], _batches(model)[:1])
        return "loaded"
    except StageError as error:
        return [[finding.code, finding.message, finding.hint] for finding in error.findings]
