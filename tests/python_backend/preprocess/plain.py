"""The kernel as plain C++ on the CPU: compiled with g++ and called through ctypes, thread after thread."""

from __future__ import annotations

import atexit
import ctypes
import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tritonkit_runtime.preprocess.source import SOURCE

BEFORE = r"""
#include <cmath>
#define __global__
#define __device__
#define __launch_bounds__(threads)
struct Index { unsigned x, y, z; };
static Index blockIdx, threadIdx, blockDim;
static inline int __float2int_rn(float value) { return (int)__builtin_lrintf(value); }
static inline int __double2int_rn(double value) { return (int)__builtin_lrint(value); }
"""
AFTER = r"""
extern "C" unsigned image_bytes() { return sizeof(Image); }

extern "C" void run(unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, void** arguments) {
    blockDim = {bx, by, bz};
    for (blockIdx.z = 0; blockIdx.z < gz; ++blockIdx.z)
    for (blockIdx.y = 0; blockIdx.y < gy; ++blockIdx.y)
    for (blockIdx.x = 0; blockIdx.x < gx; ++blockIdx.x)
    for (threadIdx.y = 0; threadIdx.y < by; ++threadIdx.y)
    for (threadIdx.x = 0; threadIdx.x < bx; ++threadIdx.x)
        preprocess((const Image*)arguments[0], (const VALUE*)arguments[1], (VALUE*)arguments[2]);
}
"""
_FOLDER = Path(tempfile.mkdtemp(prefix="kernel-"))
atexit.register(shutil.rmtree, _FOLDER, ignore_errors=True)


def compiled(source: str, options: Sequence[str]) -> bytes:
    """The kernel as a shared library, instead of what NVRTC makes of the same source and definitions."""
    assert source == SOURCE
    compiler = shutil.which("g++")
    assert compiler, "the kernel's maths are tested as C++: install g++ (Debian: build-essential)"
    definitions = [option for option in options if option.startswith("-D")]
    name = hashlib.sha256(" ".join(definitions).encode()).hexdigest()[:16]
    library = _FOLDER / f"{name}.so"
    if not library.exists():
        text = _FOLDER / f"{name}.cpp"
        text.write_text(BEFORE + source + AFTER)
        command = [compiler, "-O2", "-ffp-contract=off", "-Wall", "-Werror", "-shared", "-fPIC", *definitions,
                   str(text), "-o", str(library)]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    return library.read_bytes()


class Library:
    """What `compiled` gave, loaded; `run` is one launch."""

    def __init__(self, image: bytes) -> None:
        with tempfile.NamedTemporaryFile(suffix=".so", dir=_FOLDER) as file:
            file.write(image)
            file.flush()
            self._library = ctypes.CDLL(file.name)

    @property
    def image_bytes(self) -> int:
        """The size of a row of the table."""
        return int(self._library.image_bytes())

    def run(self, grid: tuple[int, int, int], block: tuple[int, int, int], pointers: Sequence[int]) -> None:
        arguments = (ctypes.c_void_p * len(pointers))(*pointers)
        self._library.run(*map(ctypes.c_uint, (*grid, *block)), arguments)
