"""What is named after the process that made it, so that the next one knows what a killed one has left."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_ENDED = {"Z", "X"}
_OWNER = re.compile(r"(\d+)-(\d+)")


def owner() -> str:
    """This process: its id, and when it began; ids are given again."""
    pid = os.getpid()
    return f"{pid}-{_started(pid)}"


def abandoned(parent: Path, prefix: str) -> Iterator[Path]:
    """This user's entries of `parent` called `<prefix><owner>-…` whose owner has ended."""
    with suppress(OSError):
        for entry in parent.glob(f"{prefix}*"):
            named = _OWNER.match(entry.name.removeprefix(prefix))
            if named is None or _started(int(named[1])) == int(named[2]):
                continue
            with suppress(OSError):
                if entry.lstat().st_uid == os.getuid():
                    yield entry


def _started(pid: int) -> int:
    """In ticks since the machine began; -1 where there is no such process any more."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        fields = text.rpartition(")")[2].split()  # the name before may hold spaces
        return -1 if fields[0] in _ENDED else int(fields[19])
    except (OSError, IndexError, ValueError):
        return -1
