"""What to tell when the files of a run cannot be written."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from loadtest.results.run import RUN_FILE, SAMPLES_FILE
from loadtest.run.problem import refused

if TYPE_CHECKING:
    from generator.problems import ProblemsError


SEGMENT = "segment-"  # and a number: what the senders of a piece of a run write


def is_full(error: OSError) -> bool:
    """Whether it says that there is no room left, on the disk or for this user."""
    return error.errno in {errno.ENOSPC, errno.EDQUOT}


def holds_run(folder: Path) -> bool:
    """Whether a run lies there, or what is left of one that was killed. Raises OSError."""
    whole = any((folder / name).exists() for name in (RUN_FILE, SAMPLES_FILE))
    return whole or any(folder.glob(f"{SEGMENT}[0-9]*"))


def unwritable(folder: Path, error: OSError, samples: Sequence[Path] = ()) -> ProblemsError:
    """What to tell of files that cannot be written; `samples` are those that stay where they are."""
    full = is_full(error)
    why = "the disk is full" if full else (error.strerror or str(error)).lower()
    hint = "free some space, or give --out on another disk" if full else "give another folder with --out"
    if samples:
        hint += f"; the samples so far stay in {', '.join(str(path.relative_to(folder)) for path in samples)}"
    return refused("TK876", str(folder), f"the run's files cannot be written: {why}", hint)
