"""TensorRT and the GPU's driver stood in for, around a whole `tritonkit build`."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

STAND_INS = Path(__file__).parents[1] / "compile" / "tensorrt" / "stand_ins"
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def tensorrt_driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a libcuda.so.1 whose device memory is memory."""
    folder = tmp_path_factory.mktemp("tensorrt_driver")
    command = ["cc", "-shared", "-fPIC", "-w", "-Wl,-soname,libcuda.so.1", STAND_INS / "cuda.c"]
    subprocess.run([*command, "-o", folder / "libcuda.so.1"], check=True)
    return folder


@pytest.fixture(scope="session")
def no_tensorrt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that hides a TensorRT which may be installed."""
    folder = tmp_path_factory.mktemp("no_tensorrt")
    for name in ("tensorrt", "tensorrt_bindings"):
        (folder / f"{name}.py").write_text(f"raise ModuleNotFoundError('hidden', name={name!r})\n")
    return folder


@pytest.fixture
def command(tensorrt_driver: Path, no_tensorrt: Path) -> Run:
    """Runs `tritonkit` in a folder; `tensorrt` and `gpu` are stood in for. More is the environment."""

    def run(
        root: Path, *words: str, tensorrt: str = "", gpu: bool = False, **more: str
    ) -> subprocess.CompletedProcess[str]:
        kept = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "TRTEXEC"}}
        env = {**kept, "COLUMNS": "200", "NO_COLOR": "1", "PYTHONPATH": str(no_tensorrt), **more}
        if tensorrt:
            env |= {"PYTHONPATH": str(STAND_INS), "STAND_IN_VERSION": tensorrt, "STAND_IN_BUILD": "plan"}
        if tensorrt or gpu:
            env["LD_LIBRARY_PATH"] = str(tensorrt_driver)
        return subprocess.run(
            [Path(sys.executable).with_name("tritonkit"), *words], cwd=root, env=env, capture_output=True, text=True,
            timeout=240, check=False,
        )  # fmt: skip

    return run
