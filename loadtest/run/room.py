"""Room for what is made of a run when it is over, so that a disk that fills up meanwhile does not cost the run."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from types import TracebackType
from typing import Self

from loadtest.run.problem import refused
from loadtest.run.writing import is_full, unwritable
from loadtest.samples.record import SAMPLE

COPIES = 3  # of every sample while a run is put together: the sender's, one in the run's time, the merged one
RECORD_BYTES = 2 << 20  # of run.json and the report
ROOM = ".room"


class Room:
    """Of the run in `folder`; a context manager that leaves nothing behind.

    `take` before requests are sent, `give_back` before anything is made of their samples: the senders run into the
    end of the disk then, and tell so, and what they have finds its place.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._file = folder, folder / ROOM
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
            with self._file.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, needed - requests * SAMPLE.itemsize + RECORD_BYTES)
        except OSError as error:
            if is_full(error):
                self.give_back()
                raise unwritable(self._folder, error) from error
            if error.errno not in {errno.EOPNOTSUPP, errno.EINVAL, errno.EFBIG}:  # some disks know no such thing
                raise unwritable(self._folder, error) from error

    def give_back(self) -> None:
        """Again and again, if need be."""
        self._file.unlink(missing_ok=True)
