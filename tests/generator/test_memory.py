"""What pipelines of the clone need of memory, and the flags."""

from __future__ import annotations

from pathlib import Path

from generator.memory import PINNED_POOL_BYTES, Memory, memory_of
from generator.project import Project
from generator.workspace import open_workspace

ROOT = Path(__file__).parents[2]
MIB = 1 << 20


def memory(name: str, target: str, **given: int) -> Memory:
    work = open_workspace(Project(ROOT), [ROOT / "specs" / f"{name}.yaml"], target)
    work.stop_on_errors()
    return memory_of(work.plans[target][0], Project(ROOT), given)


def test_shared_memory_is_of_two_batches_in_every_instance() -> None:
    found = memory("digits", "embedded", image=MIB - 4, label=1)
    by_name = {model.model: model for model in found.models}
    first = by_name["digits_preprocess"]
    assert first.batch_bytes == 32 * (MIB + 64 * 4)
    assert first.region_bytes == 65 * MIB  # twice that, and the headers, in whole MiB
    assert found.shm_bytes == 2 * 65 * MIB + 2 * MIB + 1 * MIB
    assert found.flags() == [f"--backend-config=python,shm-default-byte-size={65 * MIB}"]
    assert found.assumptions == ()


def test_an_engine_in_python_is_loaded_by_each_instance() -> None:
    found = memory("digits", "embedded")
    assert found.file_bytes == 2 * (ROOT / "models" / "digits.onnx").stat().st_size
    assert len(found.unknown) == 1


def test_what_goes_between_steps_on_a_gpu_is_counted_four_times() -> None:
    found = memory("digits", "production")
    assert found.cuda_pool_bytes == 4 * 32 * 10 * 4
    # Copies of the engine's own tensors, and the pixels that the step before it made on the host.
    assert found.pinned_pool_bytes == 2 * 32 * (64 + 10) * 4 + 4 * 32 * 64 * 4
    assert not any("pool" in flag for flag in found.flags())
    assert found.file_bytes == 0
    assert "file" in found.unknown[0]


def test_pools_larger_than_the_servers_own_are_flags() -> None:
    found = Memory((), {0: (64 << 20) + 1, 1: 64 << 20}, PINNED_POOL_BYTES + 1, (), ())
    assert found.flags() == [
        f"--pinned-memory-pool-byte-size={PINNED_POOL_BYTES + 1}",
        f"--cuda-memory-pool-byte-size=0:{(64 << 20) + 1}",
    ]
    assert memory("digits", "embedded").cuda_pool_bytes == 0
