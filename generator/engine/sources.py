"""The runtime's files that a self-contained model brings along."""

from __future__ import annotations

from generator.plan import EngineProgram, ModelPlan


def runtime_sources(model: ModelPlan) -> dict[str, bytes]:
    """Path beside model.py (`tritonkit_runtime/…`) → content, of what `model` imports."""
    from tritonkit_runtime.self_contained import sources

    return sources(model.program.engine if isinstance(model.program, EngineProgram) else None)
