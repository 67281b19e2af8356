"""What this machine can compile engines with: none of it is needed to serve on the CPU."""

from __future__ import annotations

from collections.abc import Iterator

from generator.engine.compile.base import Compiler
from generator.engine.compile.inductor.compiler import InductorCompiler
from generator.engine.compile.onnxruntime import OnnxRuntimeCompiler
from generator.engine.compile.tensorrt import TensorRT
from generator.extras import install, remedy

REMEDIES = {
    "tensorrt": "needed to build TensorRT plans alone: NVIDIA's TensorRT and Triton images have it whole; beside an "
    f"NVIDIA GPU, `{install('tensorrt')}` installs the package, which fetches its libraries from NVIDIA",
    "inductor": f"needed for `engine: inductor` alone: `{install('inductor')}` installs PyTorch",
    "onnxruntime": remedy("build"),
}


def compilers() -> Iterator[tuple[str, bool, str, str]]:
    """Of each engine: its name, whether it can be compiled here, what there is, and what to do."""
    known: tuple[Compiler, ...] = (OnnxRuntimeCompiler(), TensorRT(), InductorCompiler())
    for compiler in known:
        missing = compiler.missing()
        yield f"engine {compiler.name}", not missing, missing or "can be compiled here", REMEDIES[compiler.name]
