"""Room for what is made of a run when it is over, so that a disk that fills up meanwhile does not cost the run."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from loadtest.run.problem import refused
from loadtest.run.writing import is_full, unwritable
from loadtest.samples.record import SAMPLE

COPIES = 3  # of every sample while a run is put together: the sender's, one in the run's time, the merged one
RECORD_BYTES = 2 << 20  # of run.json and the report


class Room:
    """Of the run in `folder`; a context manager. Nothing is left behind, nor of a killed run: the file has no name.

    `take` before requests are sent, `give_back` before anything is made of their samples: the senders run into the
    end of the disk then, and tell so, and what they have finds its place.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file: IO[bytes] | None = None
        self._samples = 0  # of the segments before, which are merged again with each that follows

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.give_back()

    def take(self, requests: int) -> None:
        """For so many more. Raises ProblemsError (TK876) when the disk has too little left for them."""
        needed = (requests * COPIES + self._samples) * SAMPLE.itemsize
        free = shutil.disk_usage(self._folder).free
        if free < needed:
            raise refused(
                "TK876", str(self._folder), f"the samples of {requests:,} requests take {needed / 1e6:,.3g} MB while "
                f"they are put together, and the disk has {free / 1e6:,.3g} MB left",
                "free some space, or give --out elsewhere",
            )  # fmt: skip
        self._samples += requests
        try:
            self._file = self._file or tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115  (give_back closes it)
            os.posix_fallocate(self._file.fileno(), 0, needed - requests * SAMPLE.itemsize + RECORD_BYTES)
        except OSError as error:
            if is_full(error):
                self.give_back()
                raise unwritable(self._folder, error) from error
            if error.errno not in {errno.EOPNOTSUPP, errno.EINVAL, errno.EFBIG}:  # some disks know no such thing
                raise unwritable(self._folder, error) from error

    def give_back(self) -> None:
        """Again and again, if need be."""
        if self._file is not None:
            self._file.close()
            self._file = None

    @property
    def taken_bytes(self) -> int:
        """Of the disk, at present."""
        return 0 if self._file is None else os.fstat(self._file.fileno()).st_blocks * 512
