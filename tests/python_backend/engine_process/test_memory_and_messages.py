"""What both sides rely on: sealed memory, messages that are checked, and an address of this very work."""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from engine_instances import descriptors, work_of

from tritonkit_runtime.buffered.shapes import Fixed
from tritonkit_runtime.device.errors import CudaError
from tritonkit_runtime.engine_process import wire
from tritonkit_runtime.engine_process.members import Member, job_of
from tritonkit_runtime.engine_process.memory import Mapped, Shared, aligned, is_sealed
from tritonkit_runtime.engine_process.work import Work

Pair = tuple[socket.socket, socket.socket]


# Memory -----------------------------------------------------------------------------------------------------------


def test_shared_memory_is_whole_pages_whose_size_is_sealed() -> None:
    shared = Shared(mmap.PAGESIZE + 1)
    assert shared.mapped.size_bytes == os.fstat(shared.descriptor).st_size == 2 * mmap.PAGESIZE
    assert is_sealed(shared.descriptor)
    for size in (0, mmap.PAGESIZE, 4 * mmap.PAGESIZE):
        with pytest.raises(PermissionError):
            os.ftruncate(shared.descriptor, size)
    assert not os.get_inheritable(shared.descriptor)
    shared.close()


def test_its_parts_begin_at_cache_lines_and_end_with_it() -> None:
    shared = Shared(mmap.PAGESIZE)
    first, second = shared.pinned(1), shared.pinned(65)
    assert (first, second) == (shared.mapped.address, shared.mapped.address + 64)
    assert first % 64 == 0
    with pytest.raises(CudaError, match="3,905 bytes of shared memory are wanted, 3,904 are left"):
        shared.pinned(mmap.PAGESIZE - 192 + 1)
    assert shared.pinned(mmap.PAGESIZE - 192) == first + 192
    shared.free_pinned(first)  # goes as a whole
    shared.close()
    assert [aligned(size) for size in (0, 1, 64, 65)] == [64, 64, 64, 128]


def test_what_one_mapping_writes_another_reads_and_outlives_the_first() -> None:
    shared = Shared(100)
    other = Mapped(shared.descriptor, shared.mapped.size_bytes)
    ctypes.memmove(shared.mapped.address + 7, b"rows", 4)
    shared.close()
    assert ctypes.string_at(other.address + 7, 4) == b"rows"
    other.close()


# Messages ---------------------------------------------------------------------------------------------------------


def test_a_batch_and_what_is_none() -> None:
    asked = wire.Asked(3, (0, 64, 1 << 40))
    assert wire.Asked.unpacked(asked.packed(), 3) == asked
    for message in (b"", b"x", asked.packed()[:-1], asked.packed() + b"0"):
        with pytest.raises(ValueError, match=f"a message of {len(message)} bytes for 3 tensors"):
            wire.Asked.unpacked(message, 3)


def test_words_come_as_they_were_said_or_are_cut(pair: Pair) -> None:
    for words in ("", "no room: GPU 0 — Größe", "x" * 40_000):
        wire.send_words(pair[0], words)
        assert wire.receive_words(pair[1]) == words[:32768]
    wire.send_words(pair[0], "\ud800")
    assert wire.receive_words(pair[1]) == "?"
    pair[0].close()
    with pytest.raises(EOFError):
        wire.receive_words(pair[1])


def test_who_reads_no_answers_holds_nobody_up(pair: Pair) -> None:
    def say_much() -> None:
        for _ in range(10_000):
            wire.send_words(pair[0], "x" * 1000)

    with pytest.raises(BlockingIOError):
        say_much()


def test_words_to_nobody_are_an_error_and_no_signal(pair: Pair) -> None:
    pair[1].close()
    with pytest.raises(OSError, match=r"pipe|reset|refused"):
        wire.send_words(pair[0], "gone")


def test_a_hello_brings_memory(pair: Pair) -> None:
    shared = Shared(1)
    wire.send_hello(pair[0], shared.descriptor, shared.mapped.size_bytes)
    descriptor, size = wire.receive_hello(pair[1])
    assert size == mmap.PAGESIZE == os.fstat(descriptor).st_size
    assert descriptor != shared.descriptor
    os.close(descriptor)
    shared.close()


def hello(size: int) -> bytes:
    return wire._HELLO.pack(wire._NAME, size)


@pytest.mark.parametrize(
    "message", [b"x", b"{}", b"[1]", b"\xff" * 16, hello(4096) + b"0", hello(4096)[:-1], b"[" * 60_000]
)
@pytest.mark.parametrize("brings", [0, 1, 2])
def test_what_is_no_hello_is_refused_and_its_descriptors_are_closed(pair: Pair, message: bytes, brings: int) -> None:
    before = descriptors()
    shared = Shared(1)
    socket.send_fds(pair[0], [message], [shared.descriptor] * brings)
    with pytest.raises(ValueError, match="no hello"):
        wire.receive_hello(pair[1])
    shared.close()
    assert descriptors() == before


def test_a_hello_without_memory_and_none_at_all(pair: Pair) -> None:
    pair[0].send(hello(4096))
    with pytest.raises(ValueError, match="no hello"):
        wire.receive_hello(pair[1])
    pair[0].close()
    with pytest.raises(EOFError):
        wire.receive_hello(pair[1])


class Plain:
    """A device that registers, or does not."""

    def __init__(self, refuses: bool = False) -> None:
        self.calls: list[tuple[str, int]] = []
        self._refuses = refuses

    def use(self) -> None:
        pass

    def register(self, host: int, size_bytes: int) -> None:
        if self._refuses:
            raise CudaError("cuMemHostRegister_v2 failed with 2", 2)
        self.calls.append(("register", size_bytes))

    def unregister(self, host: int) -> None:
        ctypes.string_at(host, 1)  # still mapped
        self.calls.append(("unregister", host))


def member_of(pair: Pair, device: Plain | None = None, size: int = mmap.PAGESIZE) -> tuple[Member, Shared]:
    shared = Shared(size)
    wire.send_hello(pair[0], shared.descriptor, shared.mapped.size_bytes)
    return Member(pair[1], cast("Any", device or Plain())), shared


def test_memory_of_a_member_is_let_go_with_the_last_who_holds_it(
    pair: Pair, capfd: pytest.CaptureFixture[str]
) -> None:
    device = Plain()
    member, shared = member_of(pair, device)
    assert member.registered
    assert capfd.readouterr().err == ""
    assert device.calls == [("register", mmap.PAGESIZE)]
    member.hold()
    member.release()
    ctypes.string_at(member.memory.address, 1)
    assert len(device.calls) == 1
    member.release()
    assert device.calls[1:] == [("unregister", member.memory.address)]
    shared.close()


def test_memory_that_the_device_does_not_take_is_used_all_the_same_and_the_log_says_so(
    pair: Pair, capfd: pytest.CaptureFixture[str]
) -> None:
    device = Plain(refuses=True)
    member, shared = member_of(pair, device)
    assert not member.registered
    assert capfd.readouterr() == (
        "",
        f"tritonkit: engine process: {mmap.PAGESIZE:,} bytes that an instance shares cannot be page-locked "
        "(cuMemHostRegister_v2 failed with 2): its batches are copied through memory of the driver's, slower\n",
    )
    member.release()
    assert device.calls == []
    shared.close()


def unsealed() -> int:
    descriptor = os.memfd_create("open", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(descriptor, mmap.PAGESIZE)
    return descriptor


def plain_file() -> int:
    descriptor = os.open("/tmp", os.O_TMPFILE | os.O_RDWR)
    os.ftruncate(descriptor, mmap.PAGESIZE)
    return descriptor


def of_no_size() -> int:
    return os.memfd_create("empty", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)


def grows_alone() -> int:
    descriptor = unsealed()
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_GROW)
    return descriptor


@pytest.mark.parametrize("make", [unsealed, plain_file, of_no_size, grows_alone])
def test_memory_that_could_be_cut_off_is_not_taken(pair: Pair, make: Any) -> None:
    before = descriptors()
    descriptor = make()
    wire.send_hello(pair[0], descriptor, os.fstat(descriptor).st_size)
    with pytest.raises((ValueError, OSError)):
        Member(pair[1], cast("Any", Plain()))
    os.close(descriptor)
    assert descriptors() == before


def test_memory_of_another_size_than_was_said_is_not_taken(pair: Pair) -> None:
    shared = Shared(1)
    wire.send_hello(pair[0], shared.descriptor, 1 << 30)
    with pytest.raises(ValueError, match="another size"):
        Member(pair[1], cast("Any", Plain()))
    shared.close()


def test_another_users_process_is_no_instance(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    assert wire.user_of(pair[0]) == os.getuid()
    monkeypatch.setattr(wire, "user_of", lambda _: os.getuid() + 1)
    with pytest.raises(ValueError, match="another user's process"):
        Member(pair[1], cast("Any", Plain()))


# Batches ----------------------------------------------------------------------------------------------------------

X, K, Y = Fixed("x", "FP32", (4,)), Fixed("k", "INT64", ()), Fixed("y", "FP32", (4,))
MEMBER = cast("Any", SimpleNamespace(memory=SimpleNamespace(address=1 << 20, size_bytes=4096)))


def asked(items: int, *offsets: int) -> Any:
    return job_of(MEMBER, wire.Asked(items, offsets), (X, K), (Y,), 8)


def test_a_batch_lies_where_it_says() -> None:
    job = asked(8, 0, 128, 4096 - 128)
    assert (job.inputs, job.outputs) == ((1 << 20, (1 << 20) + 128), ((1 << 20) + 4096 - 128,))
    assert job.size_bytes == 8 * (16 + 8)
    first, second = job.placed((X, K), 5, batched=True)
    assert (first.name, first.row, first.rows, first.tensor.shape) == ("x", 5, 8, (8, 4))
    assert (second.name, second.tensor.pointer, second.tensor.shape) == ("k", (1 << 20) + 128, (8,))
    assert first.on_host


@pytest.mark.parametrize(
    ("items", "offsets", "sentence"),
    [
        (0, (0, 128, 256), "a batch of 0 items, where the engine takes 1 to 8"),
        (9, (0, 128, 256), "a batch of 9 items"),
        (1 << 31, (0, 128, 256), "a batch of 2147483648 items"),
        (8, (0, 128, 4096 - 64), "128 bytes at 4032 are not in the 4096 that were shared"),
        (8, (1 << 63, 128, 256), "bytes at 9223372036854775808 are not in the 4096"),
        (1, (4, 128, 256), "16 bytes at 4 are not"),
        (1, (0, 96, 256), "8 bytes at 96 are not"),
    ],
)  # fmt: skip
def test_what_does_not_lie_in_the_memory_is_refused(items: int, offsets: tuple[int, ...], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        asked(items, *offsets)


# Address ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "model.onnx").write_bytes(b"weights")
    return tmp_path / "model.onnx"


def test_a_work_comes_back_from_the_command_line(file: Path) -> None:
    work = work_of(file, gpu=1)
    assert Work.of(work.text()) == work
    assert work.about == "model spins on GPU 1"
    assert work_of(file).about == "model spins on the CPU"


def test_instances_of_one_server_find_the_same_address(file: Path) -> None:
    work = work_of(file)
    assert work.address() == Work.of(work.text()).address()
    assert work.address().startswith("\0tritonkit-engine-")
    code = "import sys; from tritonkit_runtime.engine_process.work import Work; print(Work.of(sys.argv[1]).address()[1:])"
    run = [sys.executable, "-c", code, work.text()]
    found = {subprocess.run(run, capture_output=True, text=True, check=True).stdout for _ in range(2)}
    assert len(found) == 1
    assert found != {work.address()[1:] + "\n"}, "they are children of this process, which is a child of another"


@pytest.mark.parametrize(
    "fields", [{"gpu": 0}, {"buckets": (1, 2)}, {"slots": 3}, {"model": "other"}, {"threads": 2}, {"batched": False}]
)  # fmt: skip
def test_another_work_has_another_address(file: Path, fields: dict[str, Any]) -> None:
    assert work_of(file, **fields).address() != work_of(file).address()


def test_a_file_that_was_replaced_has_another_address(file: Path) -> None:
    before = work_of(file).address()
    status = file.stat()
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    touched = work_of(file).address()
    new = file.with_name("new")
    new.write_bytes(b"weights")
    os.utime(new, ns=(status.st_atime_ns, status.st_mtime_ns))
    new.replace(file)
    assert len({before, touched, work_of(file).address()}) == 3


def test_another_server_has_another_address(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = work_of(file).address()
    monkeypatch.setattr(os, "getppid", lambda: 1)
    assert work_of(file).address() != before
    monkeypatch.setattr(os, "getppid", lambda: 1 << 30)  # one that is gone
    assert work_of(file).address() != before
