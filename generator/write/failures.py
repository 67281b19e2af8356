"""What the operating system refuses, as one clear sentence with a remedy."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from generator.problems import Place, Problem, ProblemsError


@contextlib.contextmanager
def one_sentence_each(root: Path) -> Iterator[None]:
    """Turns an OSError in its body into a ProblemsError about the repository `root`."""
    try:
        yield
    except OSError as error:
        raise ProblemsError([problem_of(error, root)]) from error


def problem_of(error: OSError, root: Path) -> Problem:
    """The problem that `error`, met while the repository `root` was read or written, is for the user."""
    name = error.filename if isinstance(error.filename, str) else ""
    # A file of the new tree, still under its temporary name, would tell the user nothing.
    where = Path(name) if name and ".tritonkit-" not in name else root
    match error.errno:
        case errno.EACCES | errno.EPERM:
            return no_permission(where)
        case errno.ENOSPC | errno.EDQUOT:
            message = f"the disk is full, so {root} was not written"
            return _problem("TK405", root, message, "free some space, or render into a directory elsewhere")
        case errno.EROFS:
            return read_only(where)
        case errno.ENOTDIR | errno.EEXIST:
            return not_a_directory(where)
        case _:
            reason = os.strerror(error.errno) if error.errno else str(error)
            message = f"{where} could not be read or written: {reason[:1].lower()}{reason[1:]}"
            return _problem("TK408", where, message, "mend that, and render again")


def no_permission(place: Path) -> Problem:
    """TK404."""
    message = f"this user has no permission to read and write {place}"
    return _problem("TK404", place, message, "change its permissions, or render into a directory of your own")


def read_only(place: Path) -> Problem:
    """TK406."""
    message = f"{place} is on a file system that is mounted read-only"
    return _problem("TK406", place, message, "mount it writable, or render into a directory elsewhere")


def not_a_directory(place: Path) -> Problem:
    """TK407."""
    message = f"{place} is not a directory, and a repository has to be one, in a directory"
    return _problem("TK407", place, message, "name another path, or move that file away")


def in_use(root: Path, message: str) -> Problem:
    """TK409."""
    return _problem("TK409", root, message, "wait until that has ended, and render again")


def _problem(code: str, place: Path, message: str, hint: str) -> Problem:
    return Problem(code, Place(str(place)), "", message, hint)
