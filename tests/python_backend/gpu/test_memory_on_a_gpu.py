"""The memory plan's numbers against what a real GPU has less of afterwards."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tritonkit_runtime.buffered.shapes import Size, sizes_of
from tritonkit_runtime.buffered.slot import Slot
from tritonkit_runtime.buffered.tensorrt import TensorRT
from tritonkit_runtime.device.cuda import Cuda
from tritonkit_runtime.parameters import TensorSpec

pytestmark = pytest.mark.gpu

ROOT = Path(__file__).resolve().parents[3]
SIZES, MIB = (1, 64), 1 << 20
PAGE_BYTES = 2 * MIB  # what the driver takes at a time
HANDLES_BYTES = 128 * MIB  # of libraries that a context of TensorRT makes itself, at most
Specs = tuple[list[TensorSpec], list[TensorSpec]]


def test_a_context_takes_no_more_than_is_counted(device: Cuda) -> None:
    from generator.memory.gpu import CONTEXT_BYTES  # which needs more than the others do

    code = (
        f"import sys; sys.path.insert(0, {str(ROOT / 'python_backend')!r})\n"
        "from tritonkit_runtime.device.cuda import Cuda\nCuda()\nprint('there', flush=True)\nsys.stdin.read()"
    )
    before = device.memory()[0]
    other = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    assert other.stdin is not None
    try:
        assert other.stdout.readline() == "there\n"
        taken = before - device.memory()[0]
    finally:
        other.stdin.close()
        other.wait(30)
    assert 64 * MIB < taken <= CONTEXT_BYTES


def test_buffers_take_what_is_derived(device: Cuda, plan: Path, specs: Specs) -> None:
    engine = TensorRT(device, plan, *specs, SIZES)
    tensors = (*engine.inputs, *engine.outputs)
    derived = sum(tensor.bytes_of(SIZES[-1]) for tensor in tensors)
    before = device.memory()[0]
    slot = Slot(device, engine, sizes_of(SIZES, ()), 0)
    taken = before - device.memory()[0]
    slot.close()
    engine.close()
    assert derived - PAGE_BYTES <= taken <= derived + PAGE_BYTES * len(tensors)


def test_an_execution_context_takes_what_tensorrt_says(device: Cuda, plan: Path, specs: Specs) -> None:
    from generator.engine.compile.tensorrt.runner import loaded

    with loaded(plan.read_bytes()) as runner:
        said = runner.activation_bytes
    assert said
    engine = TensorRT(device, plan, *specs, SIZES)
    before = device.memory()[0]
    context = engine.context(engine.engine, Size(SIZES[-1]))
    taken = before - device.memory()[0]
    del context
    engine.close()
    assert said - PAGE_BYTES <= taken <= said + HANDLES_BYTES
