"""Named ranges for NVIDIA's Nsight Systems, and the command that records a server with it."""

from __future__ import annotations

import importlib
import shlex
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def nvtx_range(name: str) -> Iterator[None]:
    """A range around the block where the package `nvtx` is installed; nothing elsewhere."""
    try:
        nvtx = importlib.import_module("nvtx")
    except ImportError:
        yield
        return
    with nvtx.annotate(name, domain="tritonkit"):
        yield


def nsys_command(pipeline: str, repository: str) -> str:
    """The command that serves `repository` and records CUDA, cuDNN, cuBLAS and NVTX of it and its child processes."""
    words = [
        "nsys", "profile", "--trace=cuda,nvtx,cudnn,cublas,osrt", "--sample=none", "--trace-fork-before-exec=true",
        "--output", f"{pipeline}-nsys", "tritonkit", "serve", "--repository", repository,
    ]  # fmt: skip
    return shlex.join(words)
