"""One engine process for several instances on a real GPU."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tritonkit_runtime.batch import Tensors
from tritonkit_runtime.buffered.engine import BufferedEngine
from tritonkit_runtime.buffered.ring import Ring
from tritonkit_runtime.buffered.tensorrt import TensorRT
from tritonkit_runtime.device.cuda import Cuda
from tritonkit_runtime.engine_process import wire, worker
from tritonkit_runtime.engine_process.members import Member
from tritonkit_runtime.engine_process.memory import Shared
from tritonkit_runtime.engine_process.work import Work
from tritonkit_runtime.parameters import ParameterError, TensorSpec

pytestmark = pytest.mark.gpu

ROOT = Path(__file__).resolve().parents[3]
SIZES, MOST, MIB = (1, 4, 16, 64), 16, 1 << 20
Specs = tuple[list[TensorSpec], list[TensorSpec]]
INSTANCE = """
import json, sys
import numpy as np
from pathlib import Path
from tritonkit_runtime.engine_process import worker
from tritonkit_runtime.engine_process.work import Work
from tritonkit_runtime.buffered.errors import BatchError

most = int(sys.argv[2])
loaded = worker.load(Work.of(sys.argv[1]), most)
print(json.dumps("ready"), flush=True)
for line in sys.stdin:
    seed, batches, folder = json.loads(line)
    lot, failed = np.random.default_rng(seed), []
    rows = {t.name: lot.standard_normal((2 * most, *t.item), np.float32).astype(t.dtype) for t in loaded.engine.inputs}
    for number in range(batches):
        first, items = int(lot.integers(most)), int(lot.integers(1, most + 1))
        asked = {name: array[first : first + items] for name, array in rows.items()}
        try:
            found = loaded.ring.run(asked)
        except BatchError as error:
            failed.append(str(error))
            continue
        if folder:
            np.savez(Path(folder, f"{seed}-{number}.npz"), **asked, **found)
    print(json.dumps(failed), flush=True)
loaded.close()
"""


class Instance:
    """An instance in a process of its own."""

    def __init__(self, work: Work) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", INSTANCE, work.text(), str(MOST)], text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "python_backend"), *filter(None, sys.path)])},
        )  # fmt: skip

    def heard(self) -> Any:
        """What it says next."""
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())

    def ask(self, seed: int, batches: int, folder: Path | None = None) -> None:
        """Random batches, kept in the folder with their answers."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([seed, batches, str(folder or "")]) + "\n")
        self._process.stdin.flush()

    def leave(self) -> None:
        """It is told to."""
        assert self._process.stdin is not None
        self._process.stdin.close()

    def close(self) -> None:
        """It has left. Its output may end later: the engine process that it has started has it too."""
        self.leave()
        self._process.wait(timeout=60)
        assert self._process.stdout is not None
        self._process.stdout.close()


@pytest.fixture
def work(plan: Path, specs: Specs) -> Work:
    inputs, outputs = specs
    return Work("plain", "tensorrt", plan, tuple(inputs), tuple(outputs), SIZES, 0, True, 1, 2)


@pytest.fixture
def instances(work: Work) -> Iterator[Callable[[int], list[Instance]]]:
    """Starts so many at once and waits until they are ready; they leave at the end."""
    started: list[Instance] = []

    def start(count: int) -> list[Instance]:
        some = [Instance(work) for _ in range(count)]
        started.extend(some)
        assert [one.heard() for one in some] == ["ready"] * count
        return some

    yield start
    for one in started:
        one.leave()
    for one in started:
        one.close()


def engine_processes(plan: Path) -> list[int]:
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                words = (folder / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if b"tritonkit_runtime.engine_process" in words and any(os.fsencode(plan) in word for word in words):
                found.append(int(folder.name))
    return found


def within(true: Callable[[], bool], patience_s: float = 10.0) -> bool:
    until = time.monotonic() + patience_s
    while not true() and time.monotonic() < until:
        time.sleep(0.02)
    return true()


def apart(one: Any, other: Any) -> float:
    return float(np.abs(one.astype(np.float64) - other).max() / max(float(np.ptp(other)), 1e-9))


def random(engine: BufferedEngine, items: int, seed: int) -> Tensors:
    lot = np.random.default_rng(seed)
    return {t.name: lot.standard_normal(t.shape(items, True), np.float32).astype(t.dtype) for t in engine.inputs}


def test_answers_of_three_instances_are_those_of_a_ring(
    warmed: Cuda, plan: Path, specs: Specs, tmp_path: Path, instances: Callable[[int], list[Instance]]
) -> None:
    """Merged batches run in other buckets than alone, whose kernels round differently: by a hundredth at most."""
    three = instances(3)
    for seed, one in enumerate(three):
        one.ask(seed, 10, tmp_path)
    assert [one.heard() for one in three] == [[]] * 3
    assert len(engine_processes(plan)) == 1
    engine = TensorRT(warmed, plan, *specs, SIZES)
    ring = Ring(warmed, engine, SIZES, slots=2)
    files = sorted(tmp_path.glob("*.npz"))
    assert len(files) == 30
    for file in files:
        with np.load(file) as kept:
            expected = ring.run({tensor.name: kept[tensor.name] for tensor in engine.inputs})
            assert all(apart(kept[name], array) < 0.01 for name, array in expected.items()), file.name
    ring.close()
    engine.close()


def test_alone_an_instance_has_the_rings_answers_to_the_bit(
    warmed: Cuda, plan: Path, specs: Specs, work: Work
) -> None:
    shared = worker.load(work, MOST)
    engine = TensorRT(warmed, plan, *specs, SIZES)
    ring = Ring(warmed, engine, SIZES, slots=2, copies="beside")
    for items in (1, 3, 4, 16, 2):
        asked = random(engine, items, items)
        found, expected = shared.ring.run(asked), ring.run(asked)
        for name, array in expected.items():
            np.testing.assert_array_equal(found[name], array)
    ring.close()
    engine.close()
    shared.close()


def test_memory_of_instances_is_locked_and_let_go(device: Cuda) -> None:
    shared = Shared(64 * MIB)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        wire.send_hello(ours, shared.descriptor, shared.mapped.size_bytes)
        member = Member(theirs, device)
        assert member.registered
        pointer, stream = device.allocate(MIB), device.stream()
        rows = np.random.default_rng(0).bytes(MIB)
        ctypes.memmove(shared.mapped.address, rows, MIB)
        device.copy_in(pointer, member.memory.address, MIB, stream)
        device.copy_out(member.memory.address + MIB, pointer, MIB, stream)
        device.wait(stream)
        assert ctypes.string_at(shared.mapped.address + MIB, MIB) == rows
        device.free_stream(stream)
        device.free(pointer)
        member.release()
        assert member.memory._map.closed
    shared.close()


def test_three_instances_take_what_one_does_and_give_all_of_it_back(
    warmed: Cuda, plan: Path, instances: Callable[[int], list[Instance]]
) -> None:
    assert within(lambda: not engine_processes(plan))
    before = warmed.memory()[0]
    [first] = instances(1)
    first.ask(0, 5)
    assert first.heard() == []
    of_one = before - warmed.memory()[0]
    others = instances(2)
    for seed, one in enumerate([first, *others]):
        one.ask(seed, 10)
    assert [one.heard() for one in (first, *others)] == [[]] * 3
    of_three = before - warmed.memory()[0]
    assert of_one > 100 * MIB, "a context and an engine"
    assert of_three < of_one + 32 * MIB, f"{of_one:,} bytes of one instance, {of_three:,} of three"
    for one in (first, *others):
        one.close()
    assert within(lambda: not engine_processes(plan))
    assert within(lambda: warmed.memory()[0] >= before - 32 * MIB), "the driver keeps a little, and no buffers"


def test_when_the_engine_process_is_killed_the_next_batch_has_another(
    warmed: Cuda, plan: Path, work: Work, instances: Callable[[int], list[Instance]]
) -> None:
    two = instances(2)
    [process] = engine_processes(plan)
    for seed, one in enumerate(two):
        one.ask(seed, 300)
    time.sleep(0.1)
    os.kill(process, signal.SIGKILL)
    for failed in [one.heard() for one in two]:
        assert len(failed) <= 1, failed
        assert all("ended with this batch; the next one starts it again" in words for words in failed)
    for one in two:
        one.ask(0, 2)
    assert [one.heard() for one in two] == [[]] * 2
    [after] = engine_processes(plan)
    assert after != process


def test_no_room_is_told_to_the_instance(warmed: Cuda, plan: Path, work: Work) -> None:
    free = warmed.memory()[0]
    taken = warmed.allocate(free - 128 * MIB)
    try:
        with pytest.raises(ParameterError, match=r"memory|room"):
            worker.load(work, MOST).close()
    finally:
        warmed.free(taken)
    assert within(lambda: not engine_processes(plan))
