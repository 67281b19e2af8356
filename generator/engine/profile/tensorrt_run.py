"""A TensorRT plan of a graph, built on this machine for these lengths, and timed by TensorRT's own profiler."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from generator.engine.errors import Finding, StageError
from generator.engine.inspect.layers import layer_names, layers_of
from generator.engine.inspect.shapes import fixed, infer
from generator.engine.inspect.words import one_line
from generator.engine.profile.inputs import made_inputs
from generator.engine.profile.rows import Profile
from generator.engine.profile.tensorrt import profile_of
from generator.engine.profile.work import with_work

if TYPE_CHECKING:
    import onnx


class Timed(Protocol):
    """What is needed of a loaded plan; `generator.engine.compile.tensorrt.TensorRTRunner` is one."""

    def layers(self, tensors: Mapping[str, Any], runs: int) -> list[tuple[str, float]]:
        """Name and mean milliseconds of every layer."""

    def time_us(self, tensors: Mapping[str, Any], runs: int) -> list[float]:
        """Microseconds of each run as a whole, without the profiler."""

    def information(self) -> Any:
        """What the inspector says of the plan, parsed."""


def profile_tensorrt(
    model: onnx.ModelProto, lengths: Mapping[str, int], batch: int | None, *, runs: int,
    progress: Callable[[str], None], seed: int = 1,
) -> Profile:  # fmt: skip
    """Builds a plan of the graph as it is (FP32 where it is FP32) and times it. Raises StageError."""
    from generator.engine.compile.base import Settings, ShapeRange
    from generator.engine.compile.tensorrt import TensorRT, TensorRTRunner

    given = fixed(model, lengths, batch)
    tensors = made_inputs(model, given, seed)
    compiler = TensorRT()
    if reason := compiler.missing():
        raise StageError(Finding("TK918", reason, "profile with `--engine onnxruntime`, or on the GPU's machine"))
    named = _named(model)
    shapes = {name: ShapeRange(array.shape, array.shape, array.shape) for name, array in tensors.items()}
    plan = compiler.compile(named.SerializeToString(), Settings("fp32", [shapes]), progress).data
    runner = TensorRTRunner(plan)
    try:
        return profile_timed(runner, named, given, tensors, runs)
    finally:
        runner.close()


def profile_plan(
    plan: bytes, model: onnx.ModelProto, lengths: Mapping[str, int], batch: int | None, *, runs: int,
    plugins: Sequence[str] = (), seed: int = 1,
) -> Profile:  # fmt: skip
    """Times a plan that was built of `model`, at lengths that one of its profiles takes. Raises StageError."""
    from generator.engine.compile.tensorrt import TensorRT, TensorRTRunner

    given = fixed(model, lengths, batch)
    tensors = made_inputs(model, given, seed)
    if reason := TensorRT().missing():
        raise StageError(Finding("TK918", f"a TensorRT plan cannot be run here: {reason}",
                                 "profile it on the GPU's machine, or leave out --installed"))  # fmt: skip
    runner = TensorRTRunner(plan, plugins=plugins)
    try:
        return profile_timed(runner, _named(model), given, tensors, runs)
    except ValueError as error:
        raise StageError(Finding("TK918", f"the plan cannot be run: {one_line(error)}",
                                 "--batch and --length within what it was built for")) from error  # fmt: skip
    finally:
        runner.close()


def _named(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy whose nodes all have names, no two alike."""
    import onnx

    named = onnx.ModelProto()
    named.CopyFrom(model)
    for node, name in zip(named.graph.node, layer_names(model.graph), strict=True):
        node.name = name
    return named


def profile_timed(
    runner: Timed, model: onnx.ModelProto, lengths: Mapping[str, int], tensors: Mapping[str, Any], runs: int
) -> Profile:
    """The rows of a loaded plan of `model`, whose node names are unlike. Means, because TensorRT's profiler adds up;
    it slows the layers down, so their sum may be more than the median of whole runs, which are timed without it."""
    rows = runner.layers(tensors, runs)
    total_ms = statistics.median(runner.time_us(tensors, runs)) / 1e3
    found = profile_of([rows], [total_ms], runner.information(), [node.name for node in model.graph.node])
    shapes = infer(model, lengths)
    counted = with_work(found.rows, model.graph, layers_of(model.graph, shapes), shapes)
    return replace(found, rows=counted, runs=runs)
