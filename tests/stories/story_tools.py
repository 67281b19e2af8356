"""What the stories share: projects in a temporary folder, their trees, the command line, and what is left behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import psutil

from deploy.embedded.needs import for_updates, needs_of
from deploy.embedded.server import EmbeddedServer
from generator.gate_set import Encoding, GateSet, read_gate_set
from generator.plan import Plan
from generator.project import Project
from generator.workspace import open_workspace, render_trees
from generator.write import write

Array = np.ndarray[Any, Any]
Protocol = Literal["grpc", "http"]
PROTOCOLS: tuple[Protocol, ...] = ("grpc", "http")

CLONE = Path(__file__).parents[2]
READY_S, GONE_S = 60.0, 10.0


# Projects and their trees ----------------------------------------------------------------------------------


def make_project(root: Path, specs: Mapping[str, str] | None = None, *, copied: Sequence[str] = ()) -> Project:
    """A project with `specs` (file name → text) and `copied` specs of the clone, and the clone's models and data."""
    (root / "specs").mkdir(parents=True)
    for name in ("models", "data"):
        (root / name).symlink_to(CLONE / name)
    shutil.copytree(CLONE / "steps", root / "steps")
    for name in copied:
        shutil.copy(CLONE / "specs" / name, root / "specs")
    for name, text in (specs or {}).items():
        (root / "specs" / name).write_text(text, encoding="utf-8")
    return Project(root)


@dataclass(frozen=True)
class Rendered:
    """The embedded tree of a project, in memory and on disk."""

    plans: Mapping[str, Plan]
    files: Mapping[str, bytes]
    repository: Path

    def server(self, *, updatable: bool = False, **options: Any) -> EmbeddedServer:
        """A server for it, not yet started."""
        needs = needs_of(list(self.plans.values()))
        return EmbeddedServer(self.repository, for_updates(needs) if updatable else needs, **options)


def render_to(repository: Path, project: Project, *, self_contained: bool = False) -> Rendered:
    """Renders every spec of the project for the embedded server."""
    work = open_workspace(project, target="embedded")
    work.stop_on_errors()
    [tree] = render_trees(work, self_contained=self_contained)
    write(tree.files, repository, owner_of=tree.owners.__getitem__, prune=True, whole=True)
    return Rendered({plan.name: plan for plan in work.plans["embedded"]}, tree.files, repository)


# Running servers -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Running:
    """A server that answers, and what it was rendered from."""

    server: EmbeddedServer
    rendered: Rendered

    def address(self, protocol: Protocol) -> str:
        """`host:port` of the protocol."""
        return self.server.grpc_address if protocol == "grpc" else self.server.http_address


@contextmanager
def running(rendered: Rendered, **options: Any) -> Iterator[Running]:
    """Serves it. Nothing is in flight at a test's end, so the server is ended at once."""
    server = rendered.server(**options)
    try:
        server.start()
        yield Running(server, rendered)
    finally:
        server.stop(grace_s=0)


# Data ------------------------------------------------------------------------------------------------------


def gate(name: str, encoding: Encoding = "png") -> GateSet:
    """The held-out images of `digits` or `canvas`, encoded."""
    from generator.plan import Tensor

    return read_gate_set(
        CLONE / "data" / f"{name}-gate.npz", [Tensor("image", "STRING", (1,), encoded=True)], encoding
    )


def encoded(items: Sequence[bytes]) -> Array:
    """Encoded files as one batch, object [N, 1]."""
    return np.array([[item] for item in items], dtype=np.object_)


def texts(values: Any) -> Any:
    """Nested lists of text, whether the array holds bytes or text."""
    if isinstance(values, np.ndarray):
        return texts(values.tolist())
    if isinstance(values, list):
        return [texts(value) for value in values]
    return values.decode() if isinstance(values, bytes) else values


# Processes -------------------------------------------------------------------------------------------------


def eventually(condition: Callable[[], Any], timeout_s: float = GONE_S) -> bool:
    """Polls until the condition holds; False when it does not within the time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def lives(process: psutil.Process) -> bool:
    """Whether it still runs; one that only waits for its parent to take note does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def shm_segments(prefix: str) -> list[str]:
    """Shared memory segments whose names start so."""
    return [path.name for path in Path("/dev/shm").glob(f"{prefix}*")]


def _environment() -> dict[str, str]:
    """As in a plain terminal of 120 columns, whatever runs the tests. Telemetry is the product's to turn off."""
    dropped = ("NO_COLOR", "FORCE_COLOR", "PYTHONPATH", "TRITONKIT", "ORT_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    return {**kept, "COLUMNS": "120", "PATH": f"{Path(sys.executable).parent}:{kept.get('PATH', os.defpath)}"}


def command_line(*arguments: str) -> list[str]:
    """`tritonkit` of the environment that runs the tests."""
    return [str(Path(sys.executable).with_name("tritonkit")), *arguments]


def tritonkit(folder: Path, *arguments: str, timeout_s: float = 60.0) -> subprocess.CompletedProcess[str]:
    """Runs one command in `folder` to its end."""
    return subprocess.run(
        command_line(*arguments),
        cwd=folder,
        env=_environment(),
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


def paste(program: Sequence[str], text: str, folder: Path) -> str:
    """What a shell or a Python prints for pasted lines."""
    done = subprocess.run(
        program, input=text, cwd=folder, env=_environment(), capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@contextmanager
def children_heed_interrupts() -> Iterator[None]:
    """A job in the background of a script ignores Ctrl-C, and so would all that it starts.

    With a handler here, what starts within begins with the system's own.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


class Serving:
    """A running `tritonkit serve` on ports of the system's choice, and everything that it started."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self._out, self._err = folder / "serve.out", folder / "serve.err"
        self.temporary = folder / "tmp"
        self.temporary.mkdir()
        ports = [word for name in ("http", "grpc", "metrics") for word in (f"--{name}-port", "0")]
        with children_heed_interrupts(), self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                command_line("serve", *ports, *options),
                cwd=folder,
                env={**_environment(), "TMPDIR": str(self.temporary)},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
        self.family: list[psutil.Process] = []
        self.prefix = ""

    @property
    def out(self) -> str:
        """Standard output so far."""
        return self._out.read_text()

    @property
    def err(self) -> str:
        """Standard error so far."""
        return self._err.read_text()

    def wait_until_ready(self, lines: int) -> None:
        """Until `lines` lines of addresses stand on standard output; then its family is known."""
        ready = eventually(lambda: self.out.count("\n") >= lines or self.process.poll() is not None, READY_S)
        assert ready, f"not ready:\n{self.err}"
        assert self.process.poll() is None, f"ended:\n{self.err}"
        self.family = psutil.Process(self.process.pid).children(recursive=True)
        words = psutil.Process(self.record()["pid"]).cmdline()
        [flag] = [word for word in words if "shm-region-prefix-name=" in word]
        self.prefix = flag.rpartition("=")[2]

    def records(self) -> list[Path]:
        """The files by which other commands find it."""
        return list((self.folder / "build" / "run").glob("server-*.json"))

    def record(self) -> Any:
        """The one record."""
        [file] = self.records()
        return json.loads(file.read_text())

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal to the command itself, as `kill` does."""
        self.process.send_signal(number)

    def survivors(self) -> list[str]:
        """What of it still stands: processes, shared memory, temporary files (ONNX Runtime's telemetry leaves one)."""
        files = [path.name for path in self.temporary.iterdir()]
        return [str(process) for process in self.family if lives(process)] + shm_segments(self.prefix) + files

    def end(self) -> None:
        """Ends it whatever its state."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        for process in self.family:
            if lives(process):
                process.kill()


@contextmanager
def serving(folder: Path, *options: str, lines: int = 3) -> Iterator[Serving]:
    """`tritonkit serve` in `folder`, ready; ended on the way out."""
    process = Serving(folder, *options)
    try:
        process.wait_until_ready(lines)
        yield process
    finally:
        process.end()
