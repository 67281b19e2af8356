"""What the driver is given when a kernel is loaded and launched, tried on a library of its names that g++ makes here."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tritonkit_runtime.device.cuda import Cuda
from tritonkit_runtime.device.errors import CudaError

LIBRARY = r"""
#include <cstring>
static char seen[256];
static unsigned long long numbers[16];
extern "C" {
int cuInit(unsigned) { return 0; }
int cuDeviceGet(int* device, int index) { *device = index; return 0; }
int cuDevicePrimaryCtxRetain(void** context, int) { *context = (void*)0x7000000000001; return 0; }
int cuCtxSetCurrent(void* context) { return context == (void*)0x7000000000001 ? 0 : 1; }
int cuGetErrorString(int, const char** text) { *text = "made up"; return 0; }
int cuModuleLoadData(void** module, const void* image) {
    memcpy(seen, image, 12);
    *module = (void*)0x7000000000002;
    return seen[0] == 'C' ? 0 : 200;
}
int cuModuleGetFunction(void** function, void* module, const char* name) {
    if (module != (void*)0x7000000000002) return 1;
    *function = (void*)0x7000000000003;
    return strcmp(name, "preprocess") ? 500 : 0;
}
int cuModuleUnload(void* module) { return module == (void*)0x7000000000002 ? 0 : 1; }
int cuLaunchKernel(void* function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                   unsigned shared, void* stream, void** arguments, void** extra) {
    unsigned long long given[] = {(unsigned long long)function, gx, gy, gz, bx, by, bz, shared,
        (unsigned long long)stream, *(unsigned long long*)arguments[0], *(unsigned long long*)arguments[1],
        *(unsigned long long*)arguments[2], (unsigned long long)extra};
    memcpy(numbers, given, sizeof given);
    return 0;
}
const char* what_was_loaded() { return seen; }
unsigned long long* what_was_launched() { return numbers; }
}
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """The driver's stand-in."""
    compiler = shutil.which("g++")
    assert compiler, "a stand-in for the driver is compiled here: install g++ (Debian: build-essential)"
    folder: Path = tmp_path_factory.mktemp("driver")
    (folder / "cuda.cpp").write_text(LIBRARY)
    subprocess.run(
        [compiler, "-shared", "-fPIC", str(folder / "cuda.cpp"), "-o", str(folder / "cuda.so")], check=True
    )
    return ctypes.CDLL(str(folder / "cuda.so"))


@pytest.fixture
def cuda(library: ctypes.CDLL, monkeypatch: pytest.MonkeyPatch) -> Cuda:
    def load(name: str) -> Any:
        assert name == "libcuda.so.1"
        return library

    monkeypatch.setattr("tritonkit_runtime.device.cuda.ctypes.CDLL", load)
    return Cuda()


def test_addresses_of_all_bits_arrive(cuda: Cuda, library: ctypes.CDLL) -> None:
    function = cuda.function(cuda.module(b"CUBIN\0with\0s"), "preprocess")
    pointers = (0x7123456789ABC0, 0x7123456789ABC1, 0x7123456789ABC2)
    cuda.run(function, (64, 28, 7), (32, 8, 1), pointers, 0x7000000000009)
    library.what_was_launched.restype = ctypes.POINTER(ctypes.c_ulonglong)
    found = library.what_was_launched()[:13]
    assert found == [0x7000000000003, 64, 28, 7, 32, 8, 1, 0, 0x7000000000009, *pointers, 0]


def test_machine_code_goes_to_the_driver_whole(cuda: Cuda, library: ctypes.CDLL) -> None:
    cuda.free_module(cuda.module(b"CUBIN\0with\0s"))
    library.what_was_loaded.restype = ctypes.c_void_p
    assert ctypes.string_at(library.what_was_loaded(), 12) == b"CUBIN\0with\0s"


def test_what_the_driver_refuses_is_told(cuda: Cuda) -> None:
    with pytest.raises(CudaError, match="cuModuleLoadData failed with 200: made up"):
        cuda.module(b"no code at all")
    with pytest.raises(CudaError, match="cuModuleGetFunction failed with 500: made up"):
        cuda.function(cuda.module(b"CUBIN       "), "another")
    with pytest.raises(CudaError, match="cuModuleUnload failed with 1"):
        cuda.free_module(5)
