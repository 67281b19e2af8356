"""Pools of a server: derived, and refused before anything starts where they are too small."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from deploy.embedded import pools
from deploy.embedded.flags import ServerFlags, ServerNeeds
from deploy.embedded.needs import needs_of
from deploy.embedded.pools import PoolError
from deploy.embedded.ports import Ports
from deploy.embedded.server import EmbeddedServer
from generator.memory import CUDA_POOL_BYTES, PINNED_POOL_BYTES, Memory
from generator.memory.flags import TooSmall, in_one_word, too_small
from generator.plan import Plan
from generator.workspace import open_workspace
from generator_projects import make_project

MIB = 1 << 20
NEEDS = ServerNeeds(
    gpus=(0, 1), cuda_memory_pool_bytes=64 * MIB, pinned_pool_bytes=256 * MIB,
    cuda_pool_needed_bytes=64 * MIB, pinned_pool_needed_bytes=256 * MIB,
)  # fmt: skip
# Two classes that pass FP32 [1024, 1024] on the GPU: 8 items of 4 MiB, 4 batches, in each of two instances; and of an
# input from a client's GPU 2 batches, whose 8 items take 512 bytes each.
ONE = 4 * 8 * 1024 * 1024 * 4 + 2 * 8 * 512
SPEC = """\
name: pair
inputs: {a: {type: fp32, dims: [1]}}
outputs: {c: {type: fp32, dims: [1]}}
models:
  one:
    python: steps/pair.py:One
    inputs: {a: {type: fp32, dims: [1]}}
    outputs: {b: {type: fp32, dims: [1024, 1024]}}
    instances: [{kind: gpu, count: 2}]
    parameters: {FORCE_CPU_ONLY_INPUT_TENSORS: "no"}
  two:
    python: steps/pair.py:Two
    inputs: {b: {type: fp32, dims: [1024, 1024]}}
    outputs: {c: {type: fp32, dims: [1]}}
flow: [{model: one}, {model: two}]
batching: {max_batch_size: 8}
targets: {production: {server: "26.07", gpu: h200}}
"""


def plan(root: Path, spec: str = SPEC) -> Plan:
    project = make_project(root / "project", {"pair": spec})
    (project.root / "steps").mkdir()
    (project.root / "steps" / "pair.py").write_text(
        "class One:\n    def run(self, tensors, fail):\n        return tensors\n\n\nclass Two(One):\n    pass\n"
    )
    work = open_workspace(project, target="production")
    work.stop_on_errors()
    return work.plans["production"][0]


def test_a_pool_of_what_is_needed_is_enough_and_a_byte_less_is_not() -> None:
    pools.check(NEEDS)
    for name, what in (("cuda_memory_pool_bytes", "CUDA pool of each GPU"), ("pinned_pool_bytes", "pinned pool")):
        has = getattr(NEEDS, name) - 1
        with pytest.raises(PoolError) as error:
            pools.check(replace(NEEDS, **{name: has}))
        assert str(error.value).startswith(
            f"TK241: the {what} has {has:,} bytes, and the pipelines need {has + 1:,}:"
        )
        assert "wrong data with status 200" in str(error.value)
    pools.check(replace(NEEDS, gpus=(), cuda_memory_pool_bytes=0))


def test_a_server_with_too_small_a_pool_is_not_started(tmp_path: Path) -> None:
    server = EmbeddedServer(tmp_path, replace(NEEDS, cuda_memory_pool_bytes=1))
    with pytest.raises(PoolError, match="TK241: the CUDA pool of each GPU has 1 bytes"):
        server.start()


def test_the_pools_are_those_of_the_plan(tmp_path: Path) -> None:
    needs = needs_of([plan(tmp_path)])
    wanted = 2 * ONE
    assert wanted > CUDA_POOL_BYTES
    assert (needs.gpus, needs.cuda_memory_pool_bytes, needs.cuda_pool_needed_bytes) == (
        (0,), {0: wanted}, {0: wanted},
    )  # fmt: skip
    assert needs.pinned_pool_bytes == max(PINNED_POOL_BYTES, needs.pinned_pool_needed_bytes)
    pools.check(needs)
    flags = ServerFlags(needs, (tmp_path,), tmp_path, tmp_path, Ports(1, 2, 3), "prefix", "key").arguments()
    assert f"--cuda-memory-pool-byte-size=0:{wanted}" in flags
    assert f"--pinned-memory-pool-byte-size={needs.pinned_pool_bytes}" in flags


@pytest.mark.parametrize(
    ("flags", "found"),
    [
        (["--cuda-memory-pool-byte-size=0:99", "--cuda-memory-pool-byte-size=1:100"], [(0, 99, 100)]),
        (["--pinned-memory-pool-byte-size=199", "--pinned-memory-pool-byte-size=200"], [(0, 199, 200)]),
        (["--cuda-memory-pool-byte-size=7:1", "--cuda-memory-pool-byte-size=1:9"], [(1, 9, 100)]),
        (["--log-info=true", 7, "--pinned-memory-pool-byte-size=lots", "--cuda-memory-pool-byte-size=0:"], []),
    ],
)
def test_flags_that_somebody_wrote(flags: list[object], found: list[tuple[int, int, int]]) -> None:
    memory = Memory((), {0: 100, 1: 100}, 200, (), ())
    assert list(too_small(flags, memory)) == [TooSmall(str(flags[at]), said, need) for at, said, need in found]


def test_flags_in_two_words_are_read_too() -> None:
    cuda, pinned = "--cuda-memory-pool-byte-size", "--pinned-memory-pool-byte-size"
    memory = Memory((), {0: 100, 1: 50}, 200, (), ())
    flags = ["--log-verbose", pinned, "199", cuda, "0:99", cuda, "1:50", pinned]
    assert list(too_small(flags, memory)) == [
        TooSmall(f"{pinned}=199", 199, 200), TooSmall(f"{cuda}=0:99", 99, 100),
    ]  # fmt: skip
    assert list(in_one_word(flags)) == [
        "--log-verbose", f"{pinned}=199", f"{cuda}=0:99", f"{cuda}=1:50", pinned,
    ]  # fmt: skip


def test_each_gpu_has_a_pool_of_what_runs_on_it(tmp_path: Path) -> None:
    """Two instances on GPU 0 and one on GPU 2; what is needed is held to by GPU."""
    groups = "[{kind: gpu, count: 2, gpus: [0]}, {kind: gpu, count: 1, gpus: [2]}]"
    needs = needs_of([plan(tmp_path, SPEC.replace("[{kind: gpu, count: 2}]", groups))])
    one = ONE
    assert (needs.gpus, needs.cuda_memory_pool_bytes) == ((0, 2), {0: 2 * one, 2: one})
    flags = ServerFlags(needs, (tmp_path,), tmp_path, tmp_path, Ports(1, 2, 3), "prefix", "key").arguments()
    assert [flag.rpartition("=")[2] for flag in flags if "cuda-memory-pool" in flag] == [f"0:{2 * one}", f"2:{one}"]
    pools.check(needs)
    with pytest.raises(PoolError, match="the CUDA pool of GPU 2 has 1 bytes"):
        pools.check(replace(needs, cuda_memory_pool_bytes={0: 2 * one, 2: 1}))
