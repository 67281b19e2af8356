"""TensorRT 8.6, 10 and 11: plans built in a process of their own, run, timed and looked into.

Nothing here needs more than the standard library, numpy where tensors are handled, and TensorRT's own bindings.
"""

from generator.engine.compile.tensorrt.compiler import TensorRT
from generator.engine.compile.tensorrt.runner import TensorRTRunner

__all__ = ["TensorRT", "TensorRTRunner"]
