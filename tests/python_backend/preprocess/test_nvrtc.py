"""How CUDA's compiler is found and called, tried on a library of its names that g++ makes here."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tritonkit_runtime.preprocess import nvrtc
from tritonkit_runtime.preprocess.errors import NotOnGpuError

LIBRARY = r"""
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>
struct Program { std::string source, log, made; };
static int live = 0;
extern "C" {
int nvrtcCreateProgram(void** to, const char* source, const char* name, int headers, void*, void*) {
    ++live;
    *to = new Program{std::string(name) + "|" + source, "", ""};
    return headers;
}
int nvrtcCompileProgram(void* of, int count, const char** options) {
    Program* program = (Program*)of;
    for (int i = 0; i < count; ++i) program->made += std::string(options[i]) + "|";
    program->log = "tritonkit.cu(1): error: made up\n  broken\n  ^";
    return program->source.find("broken") == std::string::npos ? 0 : 6;
}
int nvrtcDestroyProgram(void** of) { --live; delete (Program*)*of; *of = nullptr; return 0; }
int nvrtcGetProgramLogSize(void* of, size_t* to) { *to = ((Program*)of)->log.size() + 1; return 0; }
int nvrtcGetProgramLog(void* of, char* to) { strcpy(to, ((Program*)of)->log.c_str()); return 0; }
static std::string whole(void* of, const char* kind) { Program* p = (Program*)of; return std::string(kind) + "|" + p->made + p->source; }
int nvrtcGetCUBINSize(void* of, size_t* to) { *to = whole(of, "CUBIN" WHICH).size(); return 0; }
int nvrtcGetCUBIN(void* of, char* to) { std::string t = whole(of, "CUBIN" WHICH); memcpy(to, t.data(), t.size()); return 0; }
int nvrtcGetPTXSize(void* of, size_t* to) { *to = whole(of, "PTX" WHICH).size(); return 0; }
int nvrtcGetPTX(void* of, char* to) { std::string t = whole(of, "PTX" WHICH); memcpy(to, t.data(), t.size()); return 0; }
int nvrtcGetNumSupportedArchs(int* to) { *to = 3; return 0; }
int nvrtcGetSupportedArchs(int* to) { to[0] = 75; to[1] = 80; to[2] = 90; return 0; }
int still_live() { return live; }
}
"""


@pytest.fixture(scope="session")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as Python packages are in, with an NVRTC of CUDA 12 and one of 13."""
    root = tmp_path_factory.mktemp("packages")
    compiler = shutil.which("g++")
    assert compiler, "a stand-in for NVRTC is compiled here: install g++ (Debian: build-essential)"
    (root / "nvrtc.cpp").write_text(LIBRARY)
    for major, folder in ((12, "nvidia/cuda_nvrtc/lib"), (13, "nvidia/cu13/lib")):
        (root / folder).mkdir(parents=True)
        library = root / folder / f"libnvrtc.so.{major}"
        command = [compiler, "-shared", "-fPIC", f'-DWHICH="{major}"', str(root / "nvrtc.cpp"), "-o", str(library)]
        subprocess.run(command, check=True)
    return root


@pytest.fixture
def installed(libraries: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The packages are on the path, and no loader knows of an NVRTC."""
    load = ctypes.CDLL

    def only_ours(name: str, *arguments: Any) -> ctypes.CDLL:
        if not name.startswith(str(libraries)):
            raise OSError(f"{name}: cannot open shared object file")
        return load(name, *arguments)

    monkeypatch.setattr("tritonkit_runtime.preprocess.nvrtc.ctypes.CDLL", only_ours)
    monkeypatch.setattr(sys, "path", [*sys.path, str(libraries)])
    return libraries


@pytest.mark.parametrize(
    ("cuda", "capability", "made"),
    [
        ("12.8", "9.0", b"CUBIN12|--gpu-architecture=sm_90|-DX=1|tritonkit.cu|source"),
        ("13.0", "8.0", b"CUBIN13|--gpu-architecture=sm_80|-DX=1|tritonkit.cu|source"),
        ("12.8", "12.0", b"PTX12|--gpu-architecture=compute_90|-DX=1|tritonkit.cu|source"),
        ("13.1", "8.9", b"PTX13|--gpu-architecture=compute_80|-DX=1|tritonkit.cu|source"),
    ],
)
@pytest.mark.usefixtures("installed")
def test_what_is_made_for_a_gpu(cuda: str, capability: str, made: bytes) -> None:
    """Machine code where the compiler knows the GPU, else the newest that it knows, for the driver to translate."""
    assert nvrtc.compiled("source", ["-DX=1"], capability=capability, cuda=cuda) == made


def test_an_older_compiler_serves_a_newer_driver(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hidden = installed / "nvidia/cu13/lib/libnvrtc.so.13"
    hidden.rename(hidden.with_suffix(".hidden"))
    try:
        assert nvrtc.compiled("s", [], capability="9.0", cuda="13.0").startswith(b"CUBIN12")
    finally:
        hidden.with_suffix(".hidden").rename(hidden)


@pytest.mark.usefixtures("installed")
def test_a_gpu_that_is_too_old() -> None:
    with pytest.raises(NotOnGpuError, match=r"libnvrtc.so.12 makes nothing for compute capability 7.0"):
        nvrtc.compiled("source", [], capability="7.0", cuda="12.0")


def test_what_it_does_not_compile_is_told_and_freed(installed: Path) -> None:
    told = r"libnvrtc.so.12 does not compile the kernel: tritonkit.cu\(1\): error: made up$"
    with pytest.raises(NotOnGpuError, match=told):
        nvrtc.compiled("broken", [], capability="9.0", cuda="12.0")
    assert ctypes.CDLL(str(installed / "nvidia/cuda_nvrtc/lib/libnvrtc.so.12")).still_live() == 0


def test_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr("tritonkit_runtime.preprocess.nvrtc.ctypes.CDLL", refuse)
    told = r"CUDA's compiler is not here \(neither libnvrtc.so.12 nor libnvrtc.so.13 can be loaded\): install"
    with pytest.raises(NotOnGpuError, match=told):
        nvrtc.compiled("source", [], capability="9.0", cuda="12.8")
