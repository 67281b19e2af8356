"""What a spec says of building that changes nothing about the engine that it asks for."""

from __future__ import annotations

from collections.abc import Collection

from generator.engine.errors import Finding
from generator.plan import EngineProgram
from generator.spec.build import Build

PREFER_NHWC = (
    "of Triton's ONNX Runtime that is `config: {optimization: {execution_accelerators: {gpu_execution_accelerator: "
    "[{name: cuda, parameters: {prefer_nhwc: '1'}}]}}}`"
)
# What only a plan of TensorRT is built with. `int8_by` is looked at with the precision.
_OF_TENSORRT = (
    "nms", "plugins", "version_compatible", "hardware", "refit", "workspace_mib", "optimization_level",
    "timing_cache",
)  # fmt: skip


def _said(build: Build) -> set[str]:
    """The settings that are not what they are when nothing is said."""
    return set(build.model_dump(exclude_defaults=True))


def unused_of_lowering(program: EngineProgram, operators: Collection[str]) -> list[Finding]:
    """What means nothing to this precision, and to a graph of these operators."""
    build, precision, found = program.build, program.asked_precision, []
    for operator in build.keep.operators:
        if operator not in operators:
            text = f"`keep` names the operator {operator}, of which the graph has none"
            found.append(Finding("TK930", text, "`tritonkit inspect --layers` lists what it has", "build"))
    if build.mixed and precision != "int8":
        found.append(Finding("TK993", f"`mixed` is for int8, and the precision is {precision}", "remove it", "build"))
    asked = f"{program.asked} {precision}"
    if build.int8_by != "qdq" and asked not in {"tensorrt int8", "auto int8"}:
        text = f"`int8_by` is for TensorRT in int8, and this target's engine is {asked}"
        found.append(Finding("TK993", text, "it counts where the engine is TensorRT", "build"))
    return found


def unused(program: EngineProgram, *, on_gpu: bool) -> list[Finding]:
    """A note for each; of `auto`, which tries Inductor too, only what nothing that it tries goes by."""
    build, engine, found = program.build, program.engine, []
    if build.quantizer != "tritonkit" and program.asked_precision not in ("int8", "fp8"):
        text = f"`quantizer` is for int8 and fp8, and the precision is {program.asked_precision}"
        found.append(Finding("TK993", text, "remove it", "build"))
    if program.asked in ("auto", "inductor"):
        return found
    if engine != "tensorrt" and (named := [f"`{name}`" for name in _OF_TENSORRT if name in _said(build)]):
        text = f"{', '.join(named)}: for TensorRT alone, and this target's engine is {engine}"
        found.append(Finding("TK993", text, "it counts where the engine is TensorRT", "build"))
    if build.factory is not None:
        text = f"`factory` is for Inductor, and the engine is {engine}"
        found.append(Finding("TK993", text, "`engine: auto` measures Inductor too", "build"))
    if build.channels_last is not None:
        text = f"`channels_last` is for Inductor; {engine} chooses its layouts itself"
        hint = PREFER_NHWC if engine == "onnxruntime" and on_gpu else "remove it"
        found.append(Finding("TK993", text, hint, "build"))
    return found
