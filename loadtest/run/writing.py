"""What to tell when the files of a run cannot be written."""

from __future__ import annotations

import errno
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from generator.problems import Place, Problem, Severity
from loadtest.results.run import RUN_FILE, SAMPLES_FILE
from loadtest.results.sweep import PLAN_FILE, SWEEP_FILE
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


def holds_sweep(folder: Path) -> bool:
    """Whether a sweep lies there, whole or begun. Raises OSError."""
    return any((folder / name).exists() for name in (SWEEP_FILE, PLAN_FILE))


def unwritable(folder: Path, error: OSError, samples: Sequence[Path] = ()) -> ProblemsError:
    """What to tell of files that cannot be written; `samples` are those that stay where they are."""
    hint = "free some space, or give --out on another disk" if is_full(error) else "give another folder with --out"
    if samples:
        hint += f"; the samples so far stay in {', '.join(str(path.relative_to(folder)) for path in samples)}"
    return refused("TK876", str(folder), f"the run's files cannot be written: {_why(error)}", hint)


def no_page(folder: Path, page: Path, error: OSError) -> Problem:
    """What to tell of a run whose page cannot be written: everything else of it lies in `folder`."""
    command = f"tritonkit load report {shlex.quote(str(folder))}"
    elsewhere = f"`{command} --out FILE.html` writes it elsewhere"
    hint = f"free some space, then `{command}`" if is_full(error) else elsewhere
    message = f"the run is kept, but its page cannot be written: {_why(error)}"
    return Problem("TK876", Place(str(page)), "", message, hint, Severity.WARNING)


def _why(error: OSError) -> str:
    return "the disk is full" if is_full(error) else (error.strerror or str(error)).lower()
