"""The runtime's files that a self-contained model brings along."""

from __future__ import annotations

from generator.plan import EngineProgram, FlowProgram, ModelPlan


def runtime_sources(model: ModelPlan) -> dict[str, bytes]:
    """Path beside model.py (`tritonkit_runtime/…`) → content, of what `model` imports."""
    from tritonkit_runtime.self_contained import sources

    program = model.program
    inside = [stage.model.program for stage in program.stages] if isinstance(program, FlowProgram) else [program]
    engines = [part for part in inside if isinstance(part, EngineProgram)]
    return sources(
        {engine.engine for engine in engines if engine.buffers is None},
        {engine.engine for engine in engines if engine.buffers is not None},
        preprocess=any(engine.buffers is not None and engine.buffers.preprocess != "cpu" for engine in engines),
        shared=any(engine.buffers is not None and engine.buffers.is_shared for engine in engines),
    )
