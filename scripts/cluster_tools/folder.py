"""Where the tools are, and which of them are there in the version that is wanted."""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

VARIABLE = "TRITONKIT_CLUSTER_TOOLS"
WAITS_S = 3600.0  # longer than any installation: each of its parts ends within half an hour
_LOOK_S = 0.2


class ToolsError(Exception):
    """The tools cannot be installed or are not there; the message says why and what to do."""


@dataclass(frozen=True)
class Folder:
    """`bin/`, `scanner/`, `crds/` and `schemas/`, each with a stamp that says what it was made of.

    A part is made beside its place and moved there when it is whole, and its stamp is written last: what was
    interrupted has no stamp and is made again.
    """

    path: Path

    @property
    def programs(self) -> Path:
        """The folder of the executables."""
        return self.path / "bin"

    @property
    def dockle(self) -> Path:
        """The scanner of images."""
        return self.path / "scanner" / "dockle"

    @property
    def crds(self) -> Path:
        """The folder of the custom resources' definitions, a YAML file each."""
        return self.path / "crds"

    @property
    def schemas(self) -> Path:
        """What `kubeconform -schema-location` takes."""
        return self.path / "schemas"

    def has(self, part: str, stamp: str) -> bool:
        """Whether `part` is there, made of what `stamp` says."""
        try:
            return (self.path / "stamps" / part).read_text(encoding="utf-8") == stamp
        except OSError:
            return False

    def put(self, part: str, stamp: str, make: Callable[[Path], None]) -> None:
        """Lets `make` fill a new folder, which then takes the place of `part`. The lock has to be held."""
        stamps, new = self.path / "stamps", self.path / f"{part}.new"
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir()
        try:
            make(new)
            (stamps / part).unlink(missing_ok=True)
            shutil.rmtree(self.path / part, ignore_errors=True)
            new.rename(self.path / part)
        finally:
            shutil.rmtree(new, ignore_errors=True)
        written = stamps / f"{part}.new"
        written.write_text(stamp, encoding="utf-8")
        written.replace(stamps / part)

    @contextmanager
    def locked(self, waiting: Callable[[], None]) -> Iterator[None]:
        """One installation at a time; `waiting` is called when another one has to end first.

        Raises ToolsError when that takes more than WAITS_S.
        """
        (self.path / "stamps").mkdir(parents=True, exist_ok=True)
        with locked(self.path / "lock", waiting, WAITS_S):
            yield


@contextmanager
def locked(file: Path, waiting: Callable[[], None], longest_s: float) -> Iterator[None]:
    """Holds the lock of a file, of which the system lets go however this process ends.

    `waiting` is called when another process has it. Raises ToolsError when that takes more than `longest_s`.
    """
    with file.open("w") as lock:
        deadline, said = time.monotonic() + longest_s, False
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not said:
                    waiting()
                    said = True
            if time.monotonic() > deadline:
                raise ToolsError(
                    f"another process has held {file} for {longest_s:.0f} s: see which one (`fuser {file}`), end it"
                    " if it hangs, and start again"
                )
            time.sleep(_LOOK_S)
        yield


def folder() -> Folder:
    """The one that $TRITONKIT_CLUSTER_TOOLS names, or else ~/.cache/tritonkit/cluster-tools."""
    named = os.environ.get(VARIABLE)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Folder(Path(named).absolute() if named else cache / "tritonkit" / "cluster-tools")
