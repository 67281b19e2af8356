"""The file of samples: whole wherever it is cut, and honest about it."""

from __future__ import annotations

import errno
import os
import signal
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from generator.problems import UserError
from loadtest.samples.file import MAGIC, SampleWriter, open_samples, read_samples
from loadtest.samples.record import SAMPLE, Samples

CLONE = Path(__file__).parents[3]
META = {"pipelines": ["digits"], "deadline_us": 1_000_000, "note": "größer"}


def some(count: int, first: int = 0) -> Samples:
    """Records that all differ, in every field."""
    found: Samples = np.zeros(count, SAMPLE)
    for place, name in enumerate(SAMPLE.names or ()):
        most = np.iinfo(SAMPLE[name]).max
        found[name] = ((np.arange(first, first + count) * (7 + place)) % most).astype(SAMPLE[name])
    return found


def written(path: Path, *chunks: int) -> Samples:
    with SampleWriter(path, META) as writer:
        for chunk in chunks:
            writer.append(some(chunk, writer.count))
    return some(sum(chunks))


@pytest.mark.parametrize("chunks", [(), (0,), (1,), (5, 0, 1, 100), (1000, 1)])
def test_what_is_appended_is_read(tmp_path: Path, chunks: tuple[int, ...]) -> None:
    path = tmp_path / "samples.bin"
    expected = written(path, *chunks)
    meta, samples = read_samples(path)
    assert meta == {**META, "cut": False}
    assert samples.dtype == SAMPLE
    assert samples.tolist() == expected.tolist()
    assert not samples.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        samples["due_us"] = 1


def test_a_record_has_24_bytes_and_the_layout_is_as_stated(tmp_path: Path) -> None:
    path = tmp_path / "samples.bin"
    expected = written(path, 3)
    data = path.read_bytes()
    magic, version, length, count = struct.unpack("<8sIIQ", data[:24])
    assert (magic, version, count) == (MAGIC, 1, 3)
    assert data[24 + length :] == expected.tobytes()
    assert len(expected.tobytes()) == 3 * 24
    assert struct.unpack("<QIIIBBH", data[24 + length + 24 :][:24]) == tuple(expected[1].tolist())


def test_samples_are_mapped_and_not_loaded(tmp_path: Path) -> None:
    path = tmp_path / "samples.bin"
    written(path, 10)
    assert isinstance(read_samples(path)[1], np.memmap)


def test_parts_of_arrays_are_appended_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "samples.bin"
    with SampleWriter(path, {}) as writer:
        writer.append(some(10)[::-2])
    assert read_samples(path)[1].tolist() == some(10)[::-2].tolist()


def test_a_file_is_written_anew(tmp_path: Path) -> None:
    path = tmp_path / "samples.bin"
    written(path, 1000)
    written(path, 2)
    assert len(read_samples(path)[1]) == 2


# Cut short -------------------------------------------------------------------------------------------------


def test_wherever_it_is_cut_whole_records_are_read(tmp_path: Path) -> None:
    path, cut = tmp_path / "samples.bin", tmp_path / "cut.bin"
    expected = written(path, 4)
    data = path.read_bytes()
    start = open_samples(path).start
    for length in range(len(data)):
        cut.write_bytes(data[:length])
        if length < start:
            with pytest.raises(UserError, match="holds no samples"):
                read_samples(cut)
            continue
        meta, samples = read_samples(cut)
        assert meta["cut"] is True
        assert samples.tolist() == expected[: (length - start) // 24].tolist()


def test_what_has_come_so_far_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "samples.bin"
    with SampleWriter(path, META) as writer:
        for count in (0, 5, 8):
            writer.append(some(count - writer.count, writer.count))
            meta, samples = read_samples(path)
            assert (len(samples), meta["cut"]) == (count, True)
    assert read_samples(path)[0]["cut"] is False


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_a_process_that_is_killed_leaves_what_it_appended(tmp_path: Path, end: signal.Signals) -> None:
    path = tmp_path / "samples.bin"
    program = (
        "import sys, numpy as np\nfrom pathlib import Path\n"
        "from loadtest.samples.file import SampleWriter\nfrom loadtest.samples.record import SAMPLE\n"
        "writer = SampleWriter(Path(sys.argv[1]), {})\n"
        "while True:\n"
        "    records = np.zeros(100, SAMPLE)\n"
        "    records['due_us'] = np.arange(writer.count, writer.count + 100)\n"
        "    writer.append(records)\n"
        "    print(writer.count, flush=True)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, cwd=CLONE) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if int(line) >= 5000:
                process.send_signal(end)
                break
        told = [int(line), *(int(rest) for rest in process.stdout)][-1]
    meta, samples = read_samples(path)
    assert meta["cut"] is True
    assert told <= len(samples) <= told + 100
    assert samples["due_us"].tolist() == list(range(len(samples)))


# A full disk -----------------------------------------------------------------------------------------------


def test_a_disk_that_is_full_at_once() -> None:
    with pytest.raises(OSError, match=r"No space left on device: '/dev/full'") as error:
        SampleWriter(Path("/dev/full"), META)
    assert error.value.errno == errno.ENOSPC


def test_what_fits_on_the_disk_is_kept(tmp_path: Path) -> None:
    """A file may grow to 10,000 bytes: the write that goes beyond writes a part, and then fails."""
    path = tmp_path / "samples.bin"
    program = (
        "import resource, sys\nfrom pathlib import Path\nimport numpy as np\n"
        "from loadtest.samples.file import SampleWriter\nfrom loadtest.samples.record import SAMPLE\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))\n"
        "with SampleWriter(Path(sys.argv[1]), {}) as writer:\n"
        "    try:\n"
        "        while True:\n"
        "            writer.append(np.full(7, writer.count, SAMPLE))\n"
        "    except OSError as error:\n"
        "        print(error.errno, error.filename, writer.count, Path(sys.argv[1]).stat().st_size)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, cwd=CLONE, check=True, timeout=60
    )
    number, filename, count, size = done.stdout.split()
    assert (int(number), filename, int(size)) == (errno.EFBIG, str(path), 10_000)
    meta, samples = read_samples(path)
    assert len(samples) == int(count) == (10_000 - 26) // (7 * 24) * 7
    assert meta == {"cut": False}
    assert samples["due_us"].tolist() == [count // 7 * 7 for count in range(len(samples))]
    assert path.stat().st_size == 26 + len(samples) * 24


def test_appending_goes_on_when_there_is_room_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "samples.bin"
    real = os.pwrite
    with SampleWriter(path, META) as writer:
        writer.append(some(3))
        room = [30]

        def full(file: int, data: memoryview, offset: int) -> int:
            if not room[0]:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            room[0], taken = 0, room[0]
            return real(file, data[:taken], offset)

        monkeypatch.setattr(os, "pwrite", full)
        with pytest.raises(OSError, match=r"No space left on device: '.*samples.bin'") as error:
            writer.append(some(5, 3))
        assert (error.value.errno, writer.count) == (errno.ENOSPC, 3)
        monkeypatch.undo()
        assert len(read_samples(path)[1]) == 4, "a record that did fit"
        writer.append(some(2, 3))
    assert read_samples(path)[1].tolist() == some(5).tolist()


# Misuse ----------------------------------------------------------------------------------------------------


def test_only_samples_are_appended(tmp_path: Path) -> None:
    with SampleWriter(tmp_path / "samples.bin", {}) as writer, pytest.raises(TypeError, match="not samples"):
        writer.append(np.zeros(3))
    writer.close()
    with pytest.raises(ValueError, match="is closed"):
        writer.append(some(1))


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        SampleWriter(tmp_path / "none" / "samples.bin", {})
    with pytest.raises(FileNotFoundError):
        read_samples(tmp_path / "samples.bin")


def corrupt(change: Callable[[bytearray], Any]) -> Callable[[bytes], bytes]:
    def changed(data: bytes) -> bytes:
        copy = bytearray(data)
        change(copy)
        return bytes(copy)

    return changed


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda _: b"", "holds no samples of a load test"),
        (lambda _: b"due_us,latency_us\n1,2\n" * 9, "holds no samples of a load test"),
        (corrupt(lambda data: data.__setitem__(8, 2)), "has samples of version 2; this release reads version 1"),
        (corrupt(lambda data: data.__setitem__(24, 0)), "its header is damaged or cut short"),
        (corrupt(lambda data: data.__setitem__(slice(12, 16), b"\xff\xff\xff\xff")), "damaged or cut short"),
        (lambda data: struct.pack("<8sIIQ", MAGIC, 1, 2, 0) + b"[]", "damaged or cut short"),
    ],
    ids=["empty", "CSV", "version", "JSON", "length", "a list"],
)
def test_other_files(tmp_path: Path, damage: Callable[[bytes], bytes], said: str) -> None:
    path = tmp_path / "samples.bin"
    written(path, 4)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UserError, match=said) as error:
        read_samples(path)
    assert str(path) in error.value.message


@settings(max_examples=300)
@given(st.integers(0, 400), st.integers(0, 255))
def test_a_changed_byte_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, place: int, value: int) -> None:
    path = tmp_path_factory.mktemp("changed") / "samples.bin"
    written(path, 8)
    data = bytearray(path.read_bytes())
    data[place % len(data)] = value
    path.write_bytes(data)
    try:
        _, samples = read_samples(path)
    except UserError:
        return
    assert len(samples) <= 8 + 4
    samples.tolist()
