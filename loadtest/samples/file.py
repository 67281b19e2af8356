"""The file of a run's samples: written as they come, whole up to wherever it is cut, read without loading it.

Layout, little-endian: the magic bytes, the version (u32), the bytes of the JSON after it (u32), the number of records
(u64; all ones while the file is being written), the JSON, and from there on records of 24 bytes.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from generator.problems import UserError
from loadtest.samples.record import SAMPLE, Samples

MAGIC, VERSION = b"tkSAMPLE", 1
_HEAD = struct.Struct("<8sIIQ")
_OPEN = 2**64 - 1
_COUNT_OFFSET = _HEAD.size - 8
_MOST_JSON_BYTES = 1 << 24


class SampleWriter:
    """Writes `path` anew: the header at once, records as they are appended, and their number when it is closed.

    A context manager. Every append reaches the operating system before it returns, so the end of the process loses
    none of it. Raises OSError, on a full disk with `errno.ENOSPC`; the records written so far stay whole, and
    `count` says how many.
    """

    def __init__(self, path: Path, meta: Mapping[str, Any]) -> None:
        self.path, self.count = path, 0
        text = json.dumps(dict(meta), allow_nan=False).encode()
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        self._start = _HEAD.size + len(text)
        self._closed = False
        try:
            self._write(memoryview(_HEAD.pack(MAGIC, VERSION, len(text), _OPEN) + text), 0)
        except BaseException:
            self._closed = True
            os.close(self._file)
            raise

    def __enter__(self) -> SampleWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def append(self, records: Samples) -> None:
        """Adds records of dtype SAMPLE, [n]. Raises OSError; then none of these count."""
        if records.dtype != SAMPLE:
            raise TypeError(f"records are {records.dtype}, and not samples")
        if self._closed:
            raise ValueError(f"{self.path} is closed")
        data = np.ascontiguousarray(records).view(np.uint8).data
        self._write(data, self._start + self.count * SAMPLE.itemsize)
        self.count += len(records)

    def close(self) -> None:
        """Says in the header that these are all. A second time does nothing. Raises OSError."""
        if self._closed:
            return
        self._closed = True
        try:
            # What an append that failed left behind the last whole record is cut off.
            os.ftruncate(self._file, self._start + self.count * SAMPLE.itemsize)
            os.pwrite(self._file, struct.pack("<Q", self.count), _COUNT_OFFSET)
        finally:
            os.close(self._file)

    def _write(self, left: memoryview, offset: int) -> None:
        """All of it, or OSError: a write that hits the end of the disk writes a part first."""
        try:
            while left:
                done = os.pwrite(self._file, left, offset)
                left, offset = left[done:], offset + done
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self.path)) from error


@dataclass(frozen=True)
class SampleFile:
    """What a file says of itself. `start` is the offset of the first record in bytes; `cut`: there should be more,
    or its writer has not closed it.
    """

    path: Path
    meta: dict[str, Any]
    start: int
    count: int
    cut: bool


def open_samples(path: Path) -> SampleFile:
    """Reads the header. Raises OSError, or UserError when it is no such file."""
    with path.open("rb") as file:
        head = file.read(_HEAD.size)
        if len(head) < _HEAD.size or not head.startswith(MAGIC):
            raise UserError(f"{path} holds no samples of a load test", "give the samples.bin that a run has written")
        _, version, length, count = _HEAD.unpack(head)
        if version != VERSION:
            raise UserError(f"{path} has samples of version {version}; this release reads version {VERSION}")
        text = file.read(min(length, _MOST_JSON_BYTES))
        size = os.fstat(file.fileno()).st_size
    try:
        meta = json.loads(text)
    except ValueError:
        meta = None
    if len(text) < length or not isinstance(meta, dict):
        raise UserError(f"{path} holds no samples: its header is damaged or cut short")
    start = _HEAD.size + length
    there = (size - start) // SAMPLE.itemsize
    whole = count <= there
    return SampleFile(path, meta, start, count if whole else there, not whole or bool(meta.get("cut")))


def read_samples(path: Path) -> tuple[dict[str, Any], Samples]:
    """What is known of the samples, and the samples, [n], read-only and mapped into memory: no more than is used.

    `meta["cut"]` is true for a file that was cut short, or not closed by its writer: then the samples are the whole
    records that it has. Raises OSError, or UserError when it is no such file.
    """
    found = open_samples(path)
    meta = {**found.meta, "cut": found.cut}
    if not found.count:
        nothing: Samples = np.empty(0, SAMPLE)
        nothing.flags.writeable = False
        return meta, nothing
    return meta, np.memmap(path, SAMPLE, "r", found.start, (found.count,))
