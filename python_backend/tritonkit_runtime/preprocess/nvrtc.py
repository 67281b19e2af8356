"""CUDA's compiler as a library (NVRTC), through ctypes: source to what the driver loads."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator, Sequence
from ctypes import POINTER, byref, c_char_p, c_int, c_size_t, c_void_p
from pathlib import Path
from typing import Any

from tritonkit_runtime.preprocess.errors import NotOnGpuError

# Of CUDA 12 and 13. In Python packages of NVIDIA they lie where no loader looks.
_IN_PACKAGES = {13: "nvidia/cu13/lib", 12: "nvidia/cuda_nvrtc/lib"}

_TAKES: dict[str, tuple[Any, ...]] = {
    "nvrtcCreateProgram": (POINTER(c_void_p), c_char_p, c_char_p, c_int, c_void_p, c_void_p),
    "nvrtcCompileProgram": (c_void_p, c_int, POINTER(c_char_p)),
    "nvrtcDestroyProgram": (POINTER(c_void_p),),
    "nvrtcGetProgramLogSize": (c_void_p, POINTER(c_size_t)),
    "nvrtcGetProgramLog": (c_void_p, c_char_p),
    "nvrtcGetCUBINSize": (c_void_p, POINTER(c_size_t)),
    "nvrtcGetCUBIN": (c_void_p, c_char_p),
    "nvrtcGetPTXSize": (c_void_p, POINTER(c_size_t)),
    "nvrtcGetPTX": (c_void_p, c_char_p),
    "nvrtcGetNumSupportedArchs": (POINTER(c_int),),
    "nvrtcGetSupportedArchs": (POINTER(c_int),),
}


def compiled(source: str, options: Sequence[str], *, capability: str, cuda: str) -> bytes:
    """What the driver loads for a GPU of this compute capability (`9.0`); `cuda` is the driver's version (`12.8`).

    NotOnGpuError where no NVRTC is found, or where it refuses.
    """
    library = _Library(_found(int(cuda.split(".", maxsplit=1)[0])))
    architecture = int(capability.replace(".", ""))
    known = library.architectures()
    if architecture in known:
        return library.made(source, [f"--gpu-architecture=sm_{architecture}", *options], "CUBIN")
    older = [number for number in known if number < architecture]
    if not older:
        raise NotOnGpuError(f"{library.name} makes nothing for compute capability {capability}")
    # The driver translates for a GPU that is newer than the compiler.
    return library.made(source, [f"--gpu-architecture=compute_{max(older)}", *options], "PTX")


def _found(driver: int) -> tuple[str, ctypes.CDLL]:
    """The library that fits best: not newer than the driver, which could not load what it makes."""
    for path in _places(driver):
        try:
            return path, ctypes.CDLL(path)
        except OSError:
            continue
    raise NotOnGpuError(
        "CUDA's compiler is not here (neither libnvrtc.so.12 nor libnvrtc.so.13 can be loaded): install "
        f"`nvidia-cuda-nvrtc-cu12`, or `nvidia-cuda-nvrtc` of CUDA {driver}"
    )


def _places(driver: int) -> Iterator[str]:
    for major in sorted(_IN_PACKAGES, key=lambda major: (major > driver, -major)):
        name = f"libnvrtc.so.{major}"
        yield name
        for folder in sys.path:
            path = Path(folder, _IN_PACKAGES[major], name)
            if path.is_file():
                yield str(path)


class _Library:
    """A loaded NVRTC."""

    def __init__(self, found: tuple[str, ctypes.CDLL]) -> None:
        self.name, self._library = found
        for name, takes in _TAKES.items():
            function = getattr(self._library, name)
            function.argtypes, function.restype = takes, c_int

    def _call(self, name: str, *arguments: Any) -> None:
        if status := getattr(self._library, name)(*arguments):
            raise NotOnGpuError(f"{name} of {self.name} failed with {status}")

    def architectures(self) -> list[int]:
        """Compute capabilities that it compiles for: 90 is 9.0."""
        count = c_int()
        self._call("nvrtcGetNumSupportedArchs", byref(count))
        numbers = (c_int * count.value)()
        self._call("nvrtcGetSupportedArchs", numbers)
        return list(numbers)

    def made(self, source: str, options: Sequence[str], kind: str) -> bytes:
        """CUBIN (machine code) or PTX of a source."""
        program = c_void_p()
        self._call("nvrtcCreateProgram", byref(program), source.encode(), b"tritonkit.cu", 0, None, None)
        try:
            words = (c_char_p * len(options))(*(option.encode() for option in options))
            if self._library.nvrtcCompileProgram(program, len(options), words):
                log = self._text(program, "ProgramLog").rstrip(b"\0").decode(errors="replace").strip()
                raise NotOnGpuError(f"{self.name} does not compile the kernel: {log.partition(chr(10))[0]}")
            return self._text(program, kind)
        finally:
            self._call("nvrtcDestroyProgram", byref(program))

    def _text(self, program: c_void_p, what: str) -> bytes:
        size = c_size_t()
        self._call(f"nvrtcGet{what}Size", program, byref(size))
        text = ctypes.create_string_buffer(size.value)
        self._call(f"nvrtcGet{what}", program, text)
        return text.raw
