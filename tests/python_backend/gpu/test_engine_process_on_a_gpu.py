"""One engine process for several instances on a real GPU."""

from __future__ import annotations

import ctypes
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tritonkit_runtime.batch import Tensors
from tritonkit_runtime.buffered.engine import BufferedEngine
from tritonkit_runtime.buffered.loading import Loaded
from tritonkit_runtime.buffered.ring import Ring
from tritonkit_runtime.buffered.tensorrt import TensorRT
from tritonkit_runtime.device.cuda import Cuda
from tritonkit_runtime.engine_process import wire, worker
from tritonkit_runtime.engine_process.members import Member
from tritonkit_runtime.engine_process.memory import Shared
from tritonkit_runtime.engine_process.work import Work
from tritonkit_runtime.parameters import ParameterError, TensorSpec

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("limited")]

ROOT = Path(__file__).resolve().parents[3]
SIZES, MOST, MIB = (1, 4, 16, 64), 16, 1 << 20
# An engine is ready in a second, an instance has its batches in less, and a context is gone in one.
READY_S, BATCHES_S, GONE_S = 40.0, 20.0, 10.0
TEST_S = 60.0  # of a whole one
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
        if number == 0:
            print(json.dumps("begun"), flush=True)
        if folder:
            np.savez(Path(folder, f"{seed}-{number}.npz"), **asked, **found)
    print(json.dumps(failed), flush=True)
loaded.close()
"""


class Instance:
    """An instance in a process of its own. Whoever waits for it does so for a time."""

    def __init__(self, work: Work) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", INSTANCE, work.text(), str(MOST)], text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "python_backend"), *filter(None, sys.path)])},
        )  # fmt: skip
        self._lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                self._lines.put(line)
        self._lines.put("")

    def heard(self, patience_s: float = BATCHES_S) -> Any:
        """What it says next."""
        try:
            line = self._lines.get(timeout=patience_s)
        except queue.Empty:
            raise AssertionError(f"an instance says nothing for {patience_s:g} s") from None
        assert line, f"an instance ended with status {self._process.wait(GONE_S)}"
        return json.loads(line)

    def ask(self, seed: int, batches: int, folder: Path | None = None) -> None:
        """Random batches, kept in the folder with their answers. It says when the first was answered, and at the end
        what failed.
        """
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([seed, batches, str(folder or "")]) + "\n")
        self._process.stdin.flush()

    def leave(self) -> None:
        """It is told to."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # it is gone
            self._process.stdin.close()

    def close(self) -> None:
        """It has left; one that does not is ended, and told of."""
        self.leave()
        try:
            status = self._process.wait(timeout=GONE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise AssertionError(f"an instance does not leave within {GONE_S:g} s") from None
        finally:
            self._reader.join(GONE_S)
        assert status == 0


def failed(instances: list[Instance]) -> list[list[str]]:
    """What each of them says of its batches, once all are through."""
    assert [one.heard() for one in instances] == ["begun"] * len(instances)
    return [one.heard() for one in instances]


@pytest.fixture
def work(plan: Path, specs: Specs) -> Work:
    inputs, outputs = specs
    return Work("plain", "tensorrt", plan, tuple(inputs), tuple(outputs), SIZES, 0, True, 1, 2)


@pytest.fixture
def alone(plan: Path) -> Iterator[None]:
    """No engine process of the plan is there before the test, and none afterwards; one that stays is ended."""
    assert within(lambda: not engine_processes(plan)), "an engine process of another test is still there"
    yield
    stayed = [] if within(lambda: not engine_processes(plan)) else engine_processes(plan)
    for process in stayed:
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    assert not stayed, f"{len(stayed)} engine processes stayed"


@pytest.fixture
def instances(work: Work, alone: None) -> Iterator[Callable[[int], list[Instance]]]:
    """Starts so many at once and waits until they are ready; they leave at the end."""
    started: list[Instance] = []

    def start(count: int) -> list[Instance]:
        some = [Instance(work) for _ in range(count)]
        started.extend(some)
        assert [one.heard(READY_S) for one in some] == ["ready"] * count
        return some

    yield start
    for one in started:
        one.leave()
    wrong = []
    for one in started:  # each, or those behind one that hangs would stay
        try:
            one.close()
        except AssertionError as error:
            wrong.append(str(error))
    assert not wrong


@pytest.fixture
def load(work: Work, alone: None) -> Iterator[Callable[[], Loaded]]:
    """Loads an instance in this process, which leaves at the end."""
    loaded: list[Loaded] = []

    def one() -> Loaded:
        loaded.append(worker.load(work, MOST))
        return loaded[-1]

    yield one
    for found in loaded:
        found.close()


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


def within(true: Callable[[], bool], patience_s: float = GONE_S) -> bool:
    until = time.monotonic() + patience_s
    while not (found := true()) and time.monotonic() < until:
        time.sleep(0.02)
    return found


def settled(device: Cuda) -> int:
    """Free bytes, once nothing comes back any more: a process is gone before what it had of the GPU is."""
    since, free = time.monotonic(), device.memory()[0]
    until = since + GONE_S
    while (now_s := time.monotonic()) < since + 0.5:
        assert now_s < until, "the GPU's memory does not come to rest"
        time.sleep(0.05)
        if (now := device.memory()[0]) != free:
            since, free = now_s, now
    return free


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
    assert failed(three) == [[]] * 3
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
    warmed: Cuda, plan: Path, specs: Specs, load: Callable[[], Loaded]
) -> None:
    shared = load()
    engine = TensorRT(warmed, plan, *specs, SIZES)
    ring = Ring(warmed, engine, SIZES, slots=2, copies="beside")
    for items in (1, 3, 4, 16, 2):
        asked = random(engine, items, items)
        found, expected = shared.ring.run(asked), ring.run(asked)
        for name, array in expected.items():
            np.testing.assert_array_equal(found[name], array)
    ring.close()
    engine.close()


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
    before = settled(warmed)
    [first] = instances(1)
    first.ask(0, 5)
    assert failed([first]) == [[]]
    of_one = before - settled(warmed)
    three = [first, *instances(2)]
    for seed, one in enumerate(three):
        one.ask(seed, 10)
    assert failed(three) == [[]] * 3
    of_three = before - settled(warmed)
    assert of_one > 100 * MIB, f"{of_one:,} bytes; a context and an engine take more"
    assert of_three < of_one + 32 * MIB, f"{of_one:,} bytes of one instance, {of_three:,} of three"
    for one in three:
        one.close()
    assert within(lambda: not engine_processes(plan))
    assert within(lambda: warmed.memory()[0] >= before - 32 * MIB), "the driver keeps a little, and no buffers"


def test_when_the_engine_process_is_killed_the_next_batch_has_another(
    plan: Path, instances: Callable[[int], list[Instance]]
) -> None:
    two = instances(2)
    [process] = engine_processes(plan)
    for seed, one in enumerate(two):
        one.ask(seed, 300)
    assert [one.heard() for one in two] == ["begun"] * 2
    os.kill(process, signal.SIGKILL)
    for words in [one.heard(READY_S) for one in two]:
        assert len(words) <= 1, words
        assert all("ended with this batch; the next one starts it again" in one for one in words)
    for one in two:
        one.ask(0, 2)
    assert failed(two) == [[]] * 2
    [after] = engine_processes(plan)
    assert after != process


def test_no_room_is_told_to_the_instance(warmed: Cuda, load: Callable[[], Loaded]) -> None:
    taken = warmed.allocate(settled(warmed) - 128 * MIB)
    try:
        with pytest.raises(ParameterError, match=r"memory|room"):
            load()
    finally:
        warmed.free(taken)
