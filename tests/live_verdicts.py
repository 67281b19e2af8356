"""The live server's verdict on repositories: what it loads, what it refuses, and why."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

from corpus_cases import Case

from deploy.embedded.control import READY, Control, LoadFailedError
from deploy.embedded.flags import ServerFlags, ServerNeeds
from deploy.embedded.server import EmbeddedServer

LETTERS = ("", "A", "B")


@dataclass(frozen=True)
class Verdict:
    """Whether a model was loaded; if not, what the server answered, and what it logged meanwhile."""

    accepted: bool
    reason: str = ""
    logged: str = ""


class LiveServer:
    """A running server in explicit mode over three empty repositories, which cases are written to in turn."""

    def __init__(self, root: Path, control: Control, log_path: Path) -> None:
        self._root, self._control, self._log_path = root, control, log_path

    def verdicts(self, case: Case) -> dict[str, Verdict]:
        """The verdict on each model that the case names, loaded in the order of its lists, each by itself."""
        wanted = [*case.accepts, *case.refuses]
        for letter, files in case.repositories.items():
            target = Case(case.path, repositories={"": files})
            target.write(self._root / (letter or "plain"))
        try:
            return {name: self._verdict(name) for name in wanted}
        finally:
            loaded = {name for name, versions in self._control.index().items() if READY in versions.values()}
            # Those that use others first: unloading a member ends what is above it.
            for name in sorted(loaded, key=lambda n: n not in wanted):
                self._control.unload(name)
            for letter in LETTERS:
                folder = self._root / (letter or "plain")
                shutil.rmtree(folder)
                folder.mkdir()

    def _verdict(self, name: str) -> Verdict:
        before = self._log_path.stat().st_size
        answered = ""
        try:
            self._control.load(name)
        except LoadFailedError as error:
            answered = "; ".join(f"{cause.model} {cause.sentence}" for cause in error.causes)
        with self._log_path.open("rb") as log:
            log.seek(before)
            logged = log.read().decode(errors="replace")
        states = self._control.index().get(name, {}).values()
        if not answered and READY not in states:
            answered = f"not ready: {', '.join(states) or 'no version'}"
        return Verdict(not answered, answered, logged)


@contextmanager
def live_server(*, auto_complete: bool = False, gpus: int = 0) -> Iterator[LiveServer]:
    """Starts the server of the wheel, and ends it. Without `gpus` it sees none that the machine may have."""
    with tempfile.TemporaryDirectory(prefix="tritonkit-corpus-") as made:
        home = Path(made)
        folders = [home / "models" / (letter or "plain") for letter in LETTERS]
        for folder in folders:
            folder.mkdir(parents=True)
        needs = ServerNeeds(
            control_mode="explicit", restricted_apis=(), gpus=tuple(range(gpus)), cuda_memory_pool_bytes=64 << 20
        )
        seen = {"CUDA_VISIBLE_DEVICES": ",".join(str(gpu) for gpu in range(gpus))}
        server = EmbeddedServer(folders, needs, log_path=home / "log")
        arguments = ServerFlags.arguments

        def flags(self: ServerFlags) -> list[str]:
            return [flag for flag in arguments(self) if not (auto_complete and "auto-complete" in flag)]

        try:
            with patch.dict(os.environ, seen), patch.object(ServerFlags, "arguments", flags):
                server.start()
            with Control(server.record()) as control:
                yield LiveServer(home / "models", control, home / "log")
        finally:
            server.stop(grace_s=0)
