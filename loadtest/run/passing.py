"""Folders of a load test that are gone with it: by itself, or by the next one where it was killed."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from generator.whole_file import passing_folder
from loadtest.owner import abandoned, owner


@contextmanager
def owned_folder(what: str) -> Iterator[Path]:
    """A new folder among the system's temporary ones, `tritonkit-<what>-…`, that is gone in the end. Raises OSError.

    Those of processes that were killed are removed before. It is locked meanwhile: in another container, which may
    share the folder, the id of a process says nothing.
    """
    parent, prefix = Path(tempfile.gettempdir()), f"tritonkit-{what}-"
    for folder in abandoned(parent, prefix):
        with suppress(OSError):
            _remove(folder)
    with passing_folder(parent, f"{prefix}{owner()}-") as folder:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            with suppress(OSError):  # some disks know no locks of folders
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield folder
        finally:
            os.close(descriptor)


def _remove(folder: Path) -> None:
    """Raises OSError where it is no folder, or still held."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(descriptor)
