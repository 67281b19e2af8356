"""What a spec says of building that changes nothing about the engine that it asks for."""

from __future__ import annotations

from generator.engine.errors import Finding
from generator.plan import EngineProgram

PREFER_NHWC = (
    "of Triton's ONNX Runtime that is `config: {optimization: {execution_accelerators: {gpu_execution_accelerator: "
    "[{name: cuda, parameters: {prefer_nhwc: '1'}}]}}}`"
)


def unused(program: EngineProgram, *, on_gpu: bool) -> list[Finding]:
    """A note for each; of `auto`, which tries Inductor too, only what nothing that it tries goes by."""
    build, engine, found = program.build, program.engine, []
    if build.quantizer != "tritonkit" and program.asked_precision not in ("int8", "fp8"):
        text = f"`quantizer` is for int8 and fp8, and the precision is {program.asked_precision}"
        found.append(Finding("TK993", text, "remove it", "build"))
    if program.asked in ("auto", "inductor"):
        return found
    if build.factory is not None:
        text = f"`factory` is for Inductor, and the engine is {engine}"
        found.append(Finding("TK993", text, "`engine: auto` measures Inductor too", "build"))
    if build.channels_last is not None:
        text = f"`channels_last` is for Inductor; {engine} chooses its layouts itself"
        hint = PREFER_NHWC if engine == "onnxruntime" and on_gpu else "remove it"
        found.append(Finding("TK993", text, hint, "build"))
    return found
