"""What happens to the others when one of the processes ends, or is none."""

from __future__ import annotations

import json
import mmap
import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from threading import Thread

import pytest
from engine_instances import LONG, Instance, Spin, batch, descriptors, ended, right, wait_until

from tritonkit_runtime.batch import Tensors
from tritonkit_runtime.buffered.errors import BatchError
from tritonkit_runtime.buffered.loading import Loaded
from tritonkit_runtime.engine_process import starting, wire
from tritonkit_runtime.engine_process.memory import Shared
from tritonkit_runtime.parameters import ParameterError

Start = Callable[..., Instance]
ENDED = "the batch was not run: the engine process of model spins on the CPU ended with this batch; the next one starts it again"


def mapped(process: int) -> int:
    """How much memory of instances a process has mapped."""
    maps = Path(f"/proc/{process}/maps").read_text()
    return sum("memfd:tritonkit-rows" in line for line in maps.splitlines())


def busy(spins: Spin) -> bool:
    """Whether its engine process computes: a batch takes seconds, and nothing else more than a moment."""
    [process] = spins.processes
    stat = Path(f"/proc/{process}/stat")

    def ticks() -> int:
        return sum(map(int, stat.read_text().rpartition(")")[2].split()[11:13]))

    before = ticks()
    return wait_until(lambda: ticks() > before + 5)


def test_when_it_is_killed_its_batches_fail_and_the_next_start_another(spins: Spin, instance: Start) -> None:
    instances = [instance() for _ in range(2)]
    for one in instances:
        one.heard()
    [process] = spins.processes
    for number, one in enumerate(instances):
        one.say(seed=number, items=2, spins=LONG, batches=1)
    assert busy(spins)
    os.kill(process, signal.SIGKILL)
    assert [one.heard() for one in instances] == [{"failed": ENDED, "done": 0}] * 2
    for one in instances:
        one.say(seed=1, items=2, spins=0, batches=3)
    assert [one.heard() for one in instances] == [{"done": 3}] * 2
    assert len(spins.processes) == 1
    assert process not in spins.processes


def test_when_it_is_killed_with_nothing_to_do_nobody_notices(spins: Spin) -> None:
    loaded, asked = spins.load(), batch(3, 0)
    [process] = spins.processes
    os.kill(process, signal.SIGKILL)
    assert wait_until(lambda: not Path(f"/proc/{process}").exists())
    assert right(asked, loaded.ring.run(asked))
    assert process not in spins.processes
    loaded.close()


def test_when_its_file_is_gone_as_well_that_is_told(spins: Spin) -> None:
    loaded = spins.load()
    [process] = spins.processes
    os.kill(process, signal.SIGKILL)
    assert wait_until(lambda: not Path(f"/proc/{process}").exists())
    spins.path.rename(spins.path.with_name("elsewhere"))
    for _ in range(2):
        with pytest.raises(
            BatchError, match=r"cannot be started again: the engine process .* cannot be reached: .*spins\.onnx"
        ):
            loaded.ring.run(batch(1, 0))
    spins.path.with_name("elsewhere").rename(spins.path)
    assert right(batch(1, 0), loaded.ring.run(batch(1, 0)))
    loaded.close()


def test_when_an_instance_is_killed_the_others_go_on_and_its_memory_goes(spins: Spin, instance: Start) -> None:
    killed, other = instance(), instance()
    for one in (killed, other):
        one.heard()
    [process] = spins.processes
    assert mapped(process) == 2
    killed.say(seed=0, items=2, spins=LONG, batches=1)
    assert busy(spins)
    other.say(seed=1, items=3, spins=0, batches=5)
    killed.kill()
    assert other.heard() == {"done": 5}
    assert wait_until(lambda: mapped(process) == 1)
    assert spins.processes == [process]


@pytest.mark.parametrize("computing", [True, False])
def test_when_all_instances_are_killed_it_ends(spins: Spin, instance: Start, computing: bool) -> None:
    instances = [instance() for _ in range(3)]
    for one in instances:
        one.heard()
    if computing:
        for number, one in enumerate(instances):
            one.say(seed=number, items=2, spins=LONG // 2, batches=9)
        assert busy(spins)
    for one in instances:
        one.kill()
    assert ended(spins.path.parent)


def test_an_instance_that_is_ended_while_the_engine_loads_takes_nobody_along(spins: Spin, instance: Start) -> None:
    first = instance()
    assert wait_until(lambda: spins.processes)
    first.kill()
    second = instance()
    assert second.heard() == {"ready": True}
    assert second.asked(seed=0, items=1, spins=0, batches=2) == {"done": 2}


def test_an_engine_process_that_is_killed_while_it_loads_is_started_again(spins: Spin, instance: Start) -> None:
    instances = [instance() for _ in range(2)]
    assert wait_until(lambda: spins.processes)
    os.kill(spins.processes[0], signal.SIGKILL)
    assert [one.heard() for one in instances] == [{"ready": True}] * 2


def test_an_engine_process_that_always_ends_is_not_started_for_ever(
    spins: Spin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(starting, "_interpreter", lambda: "/bin/false")
    with pytest.raises(
        ParameterError, match="the engine process of model spins on the CPU ended 3 times before it was ready"
    ):
        spins.load()


# Who is no instance -----------------------------------------------------------------------------------------------


def stranger(spins: Spin) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    connection.settimeout(30)
    connection.connect(spins.work().address())
    return connection


def introduced(spins: Spin, shared: Shared) -> socket.socket:
    """A stranger whose hello was taken."""
    connection = stranger(spins)
    wire.send_hello(connection, shared.descriptor, shared.mapped.size_bytes)
    assert wire.receive_words(connection) == ""
    return connection


def dropped(connection: socket.socket) -> bool:
    """Whether the other side closed it."""
    try:
        return connection.recv(1000) == b""
    except ConnectionResetError:
        return True


@pytest.mark.parametrize(
    "message", [b"GET / HTTP/1.1\r\n\r\n", b"[1]", b"{}", b'{"bytes": 4096}', b"[" * 60_000, b"\0" * 16, b"\xff"]
)  # fmt: skip
def test_rubbish_instead_of_a_hello_costs_its_sender_alone(spins: Spin, message: bytes) -> None:
    loaded = spins.load()
    with stranger(spins) as connection:
        connection.send(message)
        assert dropped(connection)
    assert right(batch(2, 0), loaded.ring.run(batch(2, 0)))
    loaded.close()


def test_rubbish_after_a_hello_costs_its_sender_alone(spins: Spin) -> None:
    loaded = spins.load()
    [process] = spins.processes
    good = wire.Asked(1, (0, 64, 128, 192))
    bad = [
        b"x", b"\0" * 4096, good.packed()[:-1], wire.Asked(0, good.offsets).packed(),
        wire.Asked(17, good.offsets).packed(), wire.Asked(1, (0, 64, 128, mmap.PAGESIZE)).packed(),
        wire.Asked(1, (1, 64, 128, 192)).packed(), json.dumps({"bytes": 1}).encode(),
    ]  # fmt: skip
    for message in bad:
        shared = Shared(1)
        with introduced(spins, shared) as connection:
            connection.send(good.packed())
            assert wire.receive_words(connection) == ""
            connection.send(message)
            assert dropped(connection)
        shared.close()
    assert right(batch(2, 0), loaded.ring.run(batch(2, 0)))
    assert wait_until(lambda: mapped(process) == 1)
    loaded.close()


def test_memory_that_was_not_sealed_is_refused(spins: Spin) -> None:
    loaded = spins.load()
    descriptor = os.memfd_create("open")
    os.ftruncate(descriptor, mmap.PAGESIZE)
    with stranger(spins) as connection:
        wire.send_hello(connection, descriptor, mmap.PAGESIZE)
        assert dropped(connection)
    os.close(descriptor)
    assert right(batch(2, 0), loaded.ring.run(batch(2, 0)))
    loaded.close()


def test_who_asks_and_reads_no_answers_holds_nobody_up(spins: Spin) -> None:
    loaded, shared = spins.load(), Shared(1)
    with introduced(spins, shared) as connection:
        for _ in range(2000):
            connection.send(wire.Asked(1, (0, 64, 128, 192)).packed())
        for seed in range(5):
            assert right(batch(2, seed), loaded.ring.run(batch(2, seed)))
    shared.close()
    loaded.close()


def test_who_says_nothing_does_not_keep_it_from_answering(spins: Spin) -> None:
    loaded = spins.load()
    silent = stranger(spins)
    assert right(batch(2, 0), loaded.ring.run(batch(2, 0)))
    silent.close()
    loaded.close()


def test_a_stranger_does_not_end_it_for_who_waits_behind(spins: Spin) -> None:
    """The first connection of all is rubbish: the instance behind it is taken by the same process."""
    found: list[Loaded] = []
    helper = Thread(target=lambda: found.append(spins.load()))
    helper.start()
    assert wait_until(lambda: spins.processes)
    [process] = spins.processes
    connections = [stranger(spins) for _ in range(5)]
    for connection in connections:
        connection.send(b"rubbish")
        connection.close()
    helper.join(60)
    [loaded] = found
    assert spins.processes == [process]
    assert right(batch(1, 0), loaded.ring.run(batch(1, 0)))
    loaded.close()


# Time and numbers -------------------------------------------------------------------------------------------------


def threads(process: int) -> int:
    return sum(1 for _ in Path(f"/proc/{process}/task").iterdir())


def resident_kib(process: int) -> int:
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


def test_nothing_is_left_of_who_came_and_went(spins: Spin) -> None:
    loaded = spins.load()
    [process] = spins.processes

    def come_and_go(times: int) -> None:
        for _ in range(times):
            other = spins.load()
            other.ring.run(batch(1, 0))
            other.close()

    def level() -> tuple[int, ...]:
        return descriptors(process), threads(process), mapped(process), descriptors(os.getpid())

    come_and_go(5)
    time.sleep(0.1)
    before, memory = level(), resident_kib(process)
    come_and_go(200)
    assert wait_until(lambda: level() == before), (before, level())
    assert resident_kib(process) < memory + 3000
    loaded.close()


def test_ten_thousand_batches_take_no_memory(spins: Spin) -> None:
    loaded = [spins.load() for _ in range(2)]
    [process] = spins.processes
    asked: Tensors = batch(4, 0)

    def run(batches: int) -> None:
        def some(one: Loaded) -> None:
            for _ in range(batches // 2):
                one.ring.run(asked)

        helpers = [Thread(target=some, args=(one,)) for one in loaded]
        for helper in helpers:
            helper.start()
        for helper in helpers:
            helper.join()

    run(1000)
    before = resident_kib(process)
    run(10_000)
    assert resident_kib(process) < before + 2000
    for one in loaded:
        one.close()
