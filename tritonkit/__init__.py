"""tritonkit: one short spec and an ONNX model become a served pipeline; `Pipeline` calls it.

The names below are imported at their first use, so that `import tritonkit` costs nothing.
"""

from __future__ import annotations

TYPE_CHECKING = False  # type checkers take it as true; `typing` alone would cost more than the rest of this file

if TYPE_CHECKING:
    from tritonkit.client.aio import AsyncPipeline
    from tritonkit.client.answer import Answer
    from tritonkit.client.contract import Contract, TensorContract
    from tritonkit.client.errors import (
        ContractError,
        ItemError,
        ItemFailedError,
        PipelineError,
        ServerUnreachableError,
        UnknownPipelineError,
        UnknownVersionError,
    )
    from tritonkit.client.pipeline import Pipeline
    from tritonkit.client.retry import Retry

_MODULES = {
    "Answer": "answer",
    "AsyncPipeline": "aio",
    "Contract": "contract",
    "ContractError": "errors",
    "ItemError": "errors",
    "ItemFailedError": "errors",
    "Pipeline": "pipeline",
    "PipelineError": "errors",
    "Retry": "retry",
    "ServerUnreachableError": "errors",
    "TensorContract": "contract",
    "UnknownPipelineError": "errors",
    "UnknownVersionError": "errors",
}

__all__ = [
    "Answer",
    "AsyncPipeline",
    "Contract",
    "ContractError",
    "ItemError",
    "ItemFailedError",
    "Pipeline",
    "PipelineError",
    "Retry",
    "ServerUnreachableError",
    "TensorContract",
    "UnknownPipelineError",
    "UnknownVersionError",
]


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module 'tritonkit' has no attribute {name!r}")
    import importlib

    value: object = getattr(importlib.import_module(f"tritonkit.client.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
