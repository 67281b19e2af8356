"""Stand-ins for TensorRT and the GPU's driver, for what cannot be run without a GPU."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

STAND_INS = Path(__file__).parent / "stand_ins"


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a libcuda.so.1 whose device memory is memory."""
    folder = tmp_path_factory.mktemp("driver")
    source, library = STAND_INS / "cuda.c", folder / "libcuda.so.1"
    subprocess.run(["cc", "-shared", "-fPIC", "-w", "-Wl,-soname,libcuda.so.1", source, "-o", library], check=True)
    return folder


@pytest.fixture
def stand_in(driver: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Puts a TensorRT of that version in the way of processes that are started from now on."""

    def put(version: str = "8.6.1", build: str = "plan") -> None:
        monkeypatch.setenv("PYTHONPATH", str(STAND_INS))
        monkeypatch.setenv("LD_LIBRARY_PATH", f"{driver}{os.pathsep}{os.environ.get('LD_LIBRARY_PATH', '')}")
        monkeypatch.setenv("STAND_IN_VERSION", version)
        monkeypatch.setenv("STAND_IN_BUILD", build)

    return put
