"""`tritonkit load run` through Locust: its coordinator and workers started, watched, and ended, whatever happens."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generator.problems import ProblemsError

if TYPE_CHECKING:
    from loadtest.results.run import Run
    from loadtest.run.prepare import Prepared
    from loadtest.run.serving import Serving

LOOPBACK = "127.0.0.1"
LOCUSTFILE = Path(__file__).parents[1] / "loadtest" / "locustfile.py"
LOG = "locust.log"
LOOK_S, STOP_S = 0.1, 30.0
_LOG_LINES = 8


@dataclass(frozen=True)
class Through:
    """How: with so many `workers` (0: one process does all), and with the web page or without.

    `told` are the options of the command line by name; `judged` is called when the run is there.
    """

    workers: int
    web: bool
    told: Mapping[str, Any]
    judged: Callable[[Run], None]


def through_locust(
    through: Through, prepared: Prepared, serving: Serving, progress: Callable[[str], None]
) -> Run:  # fmt: skip
    """Runs it. With the page it returns when Locust is ended (Ctrl-C).

    Raises ProblemsError (TK879) when Locust fails; an interrupt before the run is judged has Locust keep what it has,
    and is raised again.
    """
    from loadtest.locust_driver.options import arguments
    from loadtest.results.run import RUN_FILE, read_run
    from tritonkit.cli.signals import forget_interrupt

    words = arguments(
        {**through.told, "url": serving.http_address, "grpc_url": serving.grpc_address,
         "out": str(prepared.folder.resolve()), "allowed": (*through.told["allowed"], *_hosts(serving))}
    )  # fmt: skip
    file = prepared.folder / RUN_FILE
    prepared.folder.mkdir(parents=True, exist_ok=True)
    found: Run | None = None
    began = time.monotonic()
    try:
        page = f"{LOOPBACK}:{_free_port()}" if through.web else None
        with _started(through, words, page, prepared.folder / LOG) as processes:
            where = f"Locust's page: http://{page} (Ctrl-C ends it)" if page else "Locust is at it"
            progress(where)
            while not _is_over(processes, found):
                time.sleep(LOOK_S)
                if found is None and file.is_file():
                    found = read_run(file)
                    through.judged(found)
                    progress(where)
                elif found is None:
                    progress(f"{where}, has sent for {time.monotonic() - began:.0f} s")
    except KeyboardInterrupt:
        if found is None:
            raise
        forget_interrupt()  # that is how one ends the page
    if found is None and file.is_file():
        found = read_run(file)
        through.judged(found)
    if found is None:
        raise _failed(prepared.folder / LOG)
    return found


def _is_over(processes: Sequence[subprocess.Popen[bytes]], found: Run | None) -> bool:
    """Whether the coordinator has ended; or a worker has, and there is nothing to wait for any more."""
    if processes[0].poll() is not None:
        return True
    return found is None and any(process.poll() is not None for process in processes[1:])


def _hosts(serving: Serving) -> tuple[str, ...]:
    """The numeric hosts that were allowed already, so that Locust's processes allow them too."""
    return tuple({address.rpartition(":")[0].strip("[]") for address in (serving.http_address, serving.grpc_address)})


@contextmanager
def _started(
    through: Through, words: Sequence[str], page: str | None, log_file: Path
) -> Iterator[list[subprocess.Popen[bytes]]]:
    """The coordinator first. On the way out all of them are gone; Ctrl-C has them keep what they have."""
    base = [sys.executable, "-m", "locust", "-f", str(LOCUSTFILE)]
    port = _free_port()
    head = [*base, *words]
    if through.workers:
        head += ["--master", "--master-bind-host", LOOPBACK, "--master-bind-port", str(port)]
        head += ["--expect-workers", str(through.workers)]
    if page is not None:
        head += ["--autostart", "--web-host", LOOPBACK, "--web-port", page.rpartition(":")[2]]
    else:
        head += ["--headless"]
    worker = [*base, "--worker", "--master-host", LOOPBACK, "--master-port", str(port)]
    with ExitStack() as stack:
        log = stack.enter_context(log_file.open("wb"))
        processes = [_process(argv, log) for argv in (head, *[worker] * through.workers)]
        try:
            yield processes
        finally:
            # The coordinator tells its workers to end; those that do not are ended after it.
            for process in processes:
                _end(process)


def _process(argv: Sequence[str], log: Any) -> subprocess.Popen[bytes]:
    from loadtest.locust_driver.owner import OWNED

    path = os.pathsep.join([str(LOCUSTFILE.parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True,
        env={**os.environ, OWNED: "1", "PYTHONPATH": path},
    )  # fmt: skip


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    finally:
        if process.stdin is not None:
            process.stdin.close()


def _free_port() -> int:
    with socket.create_server((LOOPBACK, 0)) as listening:
        port: int = listening.getsockname()[1]
    return port


def _failed(log: Path) -> ProblemsError:
    """What Locust said last."""
    from loadtest.run.problem import refused

    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    told = [line for line in lines if "tritonkit:" in line and "/ERROR/" in line]
    last = " | ".join(line.rpartition("tritonkit: ")[2] for line in told) or " | ".join(lines[-_LOG_LINES:])
    return refused("TK879", str(log), f"Locust ended without a run: {last}", "the file has all that it printed")
