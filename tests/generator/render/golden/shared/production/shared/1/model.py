# Rendered by tritonkit from specs/shared.yaml for target `production`: edit the spec, not this file.
"""Triton calls this; what it does is in tritonkit_runtime, and its parameters are in tritonkit.json beside it."""

from tritonkit_runtime.adapter import TritonPythonModel

__all__ = ["TritonPythonModel"]
