"""The samples of several senders in one file: in the order in which they were due, without holding them all."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from generator.problems import UserError
from loadtest.samples import merge as module
from loadtest.samples.file import SampleWriter, read_samples
from loadtest.samples.merge import merge
from loadtest.samples.record import SAMPLE, Samples

CLONE = Path(__file__).parents[3]


def records(due_us: Sequence[int], number: int = 0) -> Samples:
    """Due at these times; `payload` says which one of them it is, and `pipeline` of which file."""
    found: Samples = np.zeros(len(due_us), SAMPLE)
    found["due_us"] = np.array(due_us, np.uint64)
    found["payload"], found["pipeline"] = np.arange(len(due_us)), number
    return found


def write(folder: Path, *files: Sequence[int]) -> list[Path]:
    paths = []
    for number, due_us in enumerate(files):
        paths.append(folder / f"{number}.bin")
        with SampleWriter(paths[-1], {}) as writer:
            writer.append(records(due_us, number))
    return paths


def in_order(*files: Sequence[int]) -> list[tuple[int, ...]]:
    """What is expected: a stable sort of everything."""
    every = [tuple(row) for number, due_us in enumerate(files) for row in records(due_us, number).tolist()]
    return sorted(every, key=lambda row: row[0])


@settings(max_examples=300)
@given(
    st.lists(st.lists(st.integers(0, 60) | st.integers(0, 2**64 - 1), max_size=60), max_size=4),
    st.integers(1, 9), st.sampled_from([(1, 1), (4, 2), (8, 1), (16, 16)]),
)  # fmt: skip
def test_everything_is_there_in_order(
    tmp_path_factory: pytest.TempPathFactory, files: list[list[int]], block: int, slices: tuple[int, int]
) -> None:
    folder = tmp_path_factory.mktemp("merged")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_BLOCK", block)
        patch.setattr(module, "_SLICE", slices[0])
        patch.setattr(module, "_STRIDE", slices[1])
        count = merge(write(folder, *files), folder / "out.bin", {"pipelines": ["a"]})
    meta, samples = read_samples(folder / "out.bin")
    assert meta == {"pipelines": ["a"], "cut": False}
    assert samples.tolist() == in_order(*files)
    assert count == len(samples)


def test_two_senders_of_one_schedule(tmp_path: Path) -> None:
    """Real sizes: each answered in an order of its own, 800,000 together."""
    random = np.random.default_rng(3)
    due = np.sort(random.integers(0, 10**9, 800_000))
    parts = [due[number::2] for number in range(2)]
    mixed = [part[np.argsort(part + random.exponential(50_000, len(part)))] for part in parts]
    assert merge(write(tmp_path, *[part.tolist() for part in mixed]), tmp_path / "out.bin", {}) == len(due)
    assert (read_samples(tmp_path / "out.bin")[1]["due_us"] == due).all()


def test_the_result_may_take_the_place_of_a_part(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    paths = write(tmp_path, [1, 5], [0, 7])
    merge(paths, paths[0], {"round": 1})
    assert read_samples(paths[0])[1]["due_us"].tolist() == [0, 1, 5, 7]
    [more] = write(tmp_path_factory.mktemp("more"), [3])
    merge([paths[0], more], paths[0], {"round": 2})
    assert read_samples(paths[0])[1]["due_us"].tolist() == [0, 1, 3, 5, 7]
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["0.bin", "1.bin"]


def test_what_was_cut_stays_marked(tmp_path: Path) -> None:
    paths = write(tmp_path, [1, 5, 9], [0, 7])
    with paths[0].open("r+b") as file:
        file.truncate(paths[0].stat().st_size - 1)
    for _ in range(2):
        merge(paths, tmp_path / "out.bin", {})
        meta, samples = read_samples(tmp_path / "out.bin")
        assert meta["cut"] is True
        assert samples["due_us"].tolist() == [0, 1, 5, 7]
        paths = [tmp_path / "out.bin"]


def test_a_part_that_cannot_be_read_leaves_the_result_as_it_was(tmp_path: Path) -> None:
    paths = write(tmp_path, [1], [2])
    paths[1].write_bytes(b"nothing of the kind, and longer than a header")
    out = tmp_path / "out.bin"
    out.write_bytes(b"before")
    with pytest.raises(UserError, match=r"1\.bin holds no samples"):
        merge(paths, out, {})
    with pytest.raises(FileNotFoundError):
        merge([paths[0], tmp_path / "none.bin"], out, {})
    assert out.read_bytes() == b"before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.bin", "1.bin", "out.bin"]


def test_a_full_disk_leaves_the_result_as_it_was(tmp_path: Path) -> None:
    write(tmp_path, range(600), range(600))
    (tmp_path / "out.bin").write_bytes(b"before")
    program = (
        "import resource, sys\nfrom pathlib import Path\nfrom loadtest.samples.merge import merge\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
        "folder = Path(sys.argv[1])\n"
        "try:\n"
        "    merge([folder / '0.bin', folder / '1.bin'], folder / 'out.bin', {})\n"
        "except OSError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        capture_output=True,
        text=True,
        cwd=CLONE,
        check=True,
        timeout=60,
    )
    assert "File too large" in done.stdout
    assert (tmp_path / "out.bin").read_bytes() == b"before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.bin", "1.bin", "out.bin"]


def test_memory_does_not_grow_with_the_samples(tmp_path: Path) -> None:
    """6 million are 144 MB in the files; sorting them at once would take twice that and more."""
    count, chunk = 3_000_000, 500_000
    for number in range(2):
        with SampleWriter(tmp_path / f"{number}.bin", {}) as writer:
            for first in range(0, count, chunk):
                part: Samples = np.zeros(chunk, SAMPLE)
                part["due_us"] = np.arange(first, first + chunk) * 2 + number
                writer.append(part)
    program = (
        "import sys\nfrom pathlib import Path\nfrom loadtest.samples.merge import merge\n"
        "def peak_mb():\n"
        "    return int(next(l for l in open('/proc/self/status') if l.startswith('VmHWM')).split()[1]) / 1024\n"
        "before, folder = peak_mb(), Path(sys.argv[1])\n"
        "count = merge([folder / '0.bin', folder / '1.bin'], folder / 'out.bin', {})\n"
        "print(count, peak_mb() - before)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        capture_output=True,
        text=True,
        cwd=CLONE,
        check=True,
        timeout=250,
    )
    merged, more_mb = done.stdout.split()
    assert int(merged) == 2 * count
    assert float(more_mb) < 150
    assert (read_samples(tmp_path / "out.bin")[1]["due_us"] == np.arange(2 * count)).all()
