"""Which server a command talks to: the one that is named, else the one that `tritonkit serve` runs here."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from generator.problems import UserError
from generator.project import NoProjectError, Project

if TYPE_CHECKING:
    from deploy.embedded.state import ServerRecord

Protocol = Literal["grpc", "http"]
RUNS = Path("build") / "run"  # where `tritonkit serve` records its servers


@dataclass(frozen=True)
class Address:
    """`host:port` of a server, and its record where it is one of ours."""

    address: str
    record: ServerRecord | None = None


def find(address: str | None, protocol: Protocol) -> Address:
    """The server to talk to. Raises UserError for what is no address, and where none, or several, are running."""
    if address is not None:
        named = address.removeprefix("http://").removeprefix("grpc://").rstrip("/")
        found = re.fullmatch(r"(?:[^\s:/?#@\[\]]+|\[[0-9a-fA-F:]+\]):([0-9]{1,5})", named)
        if found is None or not 0 < int(found[1]) < 65536:
            usual = 8001 if protocol == "grpc" else 8000
            raise UserError(f"`{address}` is no address of a server", f"give host:port, such as localhost:{usual}")
        return Address(named)
    record = only_running()
    return Address(record.grpc_address if protocol == "grpc" else record.http_address, record)


def recorded(address: str | None) -> ServerRecord:
    """A server that runs for this project: the one at `address` (of either protocol), else the only one.

    Raises UserError when there is none, or more than one and no address.
    """
    if address is None:
        return only_running()
    from deploy.embedded import state

    named = find(address, "http").address.replace("localhost", "127.0.0.1")
    running = state.running(Project.find().root / RUNS)
    for record in running:
        if named in (record.http_address, record.grpc_address):
            return record
    known = ", ".join(record.http_address for record in running) or "none"
    raise UserError(
        f"no server of this project runs at {address}; there is {known}",
        "only the one who started a server may change it",
    )


def recorded_if_any(address: str | None) -> ServerRecord | None:
    """As `recorded`; None when no server of this project runs and no address is given."""
    from deploy.embedded import state

    if address is None and not state.running(Project.find().root / RUNS):
        return None
    return recorded(address)


def only_running() -> ServerRecord:
    """The one server that runs for this project. Raises UserError when there is none, or more than one."""
    from deploy.embedded import state

    try:
        project: Path | None = Project.find().root
    except NoProjectError:
        project = None  # `tritonkit serve --repository` leaves its record in the current folder then
    running = state.running((project or Path.cwd()) / RUNS)
    if not running and project is None:
        raise UserError(
            f"{Path.cwd()} is in no project, so a server cannot be found by itself",
            "run this inside the project (where `specs/` is), or give --address",
        )
    if not running:
        raise UserError("no server of this project is running", "start one with `tritonkit serve`, or give --address")
    if len(running) > 1:
        addresses = ", ".join(f"{r.grpc_address} ({r.target})" for r in running)
        raise UserError(f"{len(running)} servers of this project are running: {addresses}", "name one with --address")
    return running[0]


@contextmanager
def naming_the_known(server: Address, pipeline: str) -> Iterator[None]:
    """Adds to the error that a server of ours lacks a pipeline which it has, or that this one was rendered later."""
    from tritonkit.client.errors import UnknownPipelineError

    try:
        yield
    except UnknownPipelineError as error:
        if server.record is not None:
            repositories = map(Path, server.record.repositories)
            known = sorted(file.parent.name for path in repositories for file in path.glob("*/config.pbtxt"))
            if pipeline in known:
                # What lies there was rendered after the server had loaded its models.
                error.hint = f"`{pipeline}` is rendered, but not served: the server was started before. " + (
                    "`tritonkit update` serves it" if server.record.updatable else "Start `tritonkit serve` again"
                )
            else:
                close = difflib.get_close_matches(pipeline, known, n=1)
                error.hint = f"did you mean `{close[0]}`?" if close else f"it has {', '.join(known)}"
        raise
