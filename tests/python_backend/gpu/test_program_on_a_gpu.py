"""A model's program whose plan runs in buffers on a real GPU, as the server loads it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tritonkit_runtime import parameters
from tritonkit_runtime.batch import concatenate
from tritonkit_runtime.device.cuda import Cuda
from tritonkit_runtime.dtypes import NUMPY_DTYPES
from tritonkit_runtime.parameters import ParameterError, TensorSpec
from tritonkit_runtime.programs import Program

pytestmark = pytest.mark.gpu

SIZES = (1, 4, 16, 64)
Specs = tuple[list[TensorSpec], list[TensorSpec]]


def program(plan: Path, specs: Specs, folder: Path, gpu: int | None) -> Program:
    shutil.copy(plan, folder / "model.plan")
    sides = [[{"name": t.name, "dtype": t.dtype, "dims": list(t.dims)} for t in tensors] for tensors in specs]
    document: dict[str, Any] = {
        "format": 1, "pipeline": "p", "model": "m", "max_batch_size": SIZES[-1],
        "inputs": sides[0], "outputs": sides[1], "limits": {"max_bytes": 1, "max_pixels": 1},
        "program": {
            "kind": "engine", "engine": "tensorrt", "file": "model.plan", "intra_op_threads": 1,
            "buffers": {"buckets": list(SIZES), "slots": 2, "copies": "auto"},
        },
    }  # fmt: skip
    return Program(parameters.parse(document), folder, print, gpu)


@pytest.mark.usefixtures("device")
def test_batches_of_every_size_are_answered_as_the_plan_does(plan: Path, specs: Specs, tmp_path: Path) -> None:
    from generator.engine.compile.tensorrt.runner import loaded

    lot = np.random.default_rng(3)
    ready = program(plan, specs, tmp_path, 0)
    with loaded(plan.read_bytes()) as runner:
        for items in (1, 2, 4, 5, 16, 33, 64):
            shapes = {t.name: ((items, *t.dims), NUMPY_DTYPES[t.dtype]) for t in specs[0]}
            tensors = {
                n: lot.standard_normal(shape, np.float32).astype(dtype) for n, (shape, dtype) in shapes.items()
            }
            found = ready.run(concatenate([tensors]))
            for name, expected in runner.run(tensors).items():
                apart = np.abs(found[name].astype(np.float64) - expected).max() / np.ptp(expected)
                assert apart < 0.01
    ready.close()


def test_a_gpu_that_is_not_there(warmed: Cuda, plan: Path, specs: Specs, tmp_path: Path) -> None:
    assert warmed.facts()["gpu"]
    with pytest.raises(ParameterError, match="the model wants GPU 99, and it cannot be used"):
        program(plan, specs, tmp_path, 99)
