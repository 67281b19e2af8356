"""Puts the samples of several senders into one file, in the order in which they were due, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from loadtest.samples.file import SampleFile, SampleWriter, open_samples
from loadtest.samples.record import SAMPLE, Samples

if TYPE_CHECKING:
    UInt64s = np.ndarray[Any, np.dtype[np.uint64]]

_BLOCK = 1 << 18  # records that are read at once: 6 MB
_SLICE = 1 << 20  # records that are sorted at once, about: 25 MB, three times while they are
_STRIDE = 1 << 8  # of so many records one says how the others are spread over time


def merge(paths: Sequence[Path], out: Path, meta: Mapping[str, Any]) -> int:
    """Writes `out` from all of `paths`, whatever order each has. Returns how many samples it has.

    They are in the order in which they were due; those of the same microsecond keep the order of the files and their
    own. `meta["cut"]` of `out` is true when that of one of `paths` is. `out` appears when it is complete, and may be
    one of `paths`. Memory hardly grows with the number of samples, unless millions of them were due in the same
    microsecond. Raises OSError or UserError, and leaves `out` as it was then.
    """
    files = [open_samples(path) for path in paths]
    blocks = [block for file in files for block in _blocks(file)]
    temporary = out.with_name(out.name + ".part")
    try:
        with SampleWriter(temporary, {**meta, "cut": any(file.cut for file in files)}) as writer:
            for low, high in _slices(blocks):
                writer.append(_between(blocks, low, high))
        temporary.replace(out)
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()
    return writer.count


class _Block:
    """A stretch of a file, and between which times its samples were due."""

    def __init__(self, file: SampleFile, first: int, count: int) -> None:
        self._file, self._first, self._count = file, first, count
        due = self.read()["due_us"]
        self.low, self.high = int(due.min()), int(due.max())
        self.some: UInt64s = due[::_STRIDE].copy()

    def read(self) -> Samples:
        """Its records: a copy, and no mapping, so that it is gone after use."""
        offset = self._file.start + self._first * SAMPLE.itemsize
        return np.fromfile(self._file.path, SAMPLE, self._count, offset=offset)


def _blocks(file: SampleFile) -> Iterator[_Block]:
    for first in range(0, file.count, _BLOCK):
        yield _Block(file, first, min(_BLOCK, file.count - first))


def _slices(blocks: Sequence[_Block]) -> Iterator[tuple[int, int]]:
    """The first and the last time of each slice: they leave no gap, and have about _SLICE samples each."""
    if not blocks:
        return
    due = np.sort(np.concatenate([block.some for block in blocks]))
    lows = np.unique(due[:: _SLICE // _STRIDE])
    lows[0] = min(block.low for block in blocks)
    for low, after in pairwise(lows):
        yield int(low), int(after) - 1
    yield int(lows[-1]), max(block.high for block in blocks)


def _between(blocks: Sequence[_Block], low: int, high: int) -> Samples:
    """The samples that were due from `low` to `high`, both included, in order."""
    parts = []
    for block in blocks:
        if block.low <= high and block.high >= low:
            records = block.read()
            inside = (records["due_us"] >= low) & (records["due_us"] <= high)
            parts.append(records[inside])
    every = np.concatenate(parts)
    found: Samples = every[np.argsort(every["due_us"], kind="stable")]
    return found
