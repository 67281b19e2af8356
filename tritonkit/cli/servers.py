"""Which server a command talks to: the one that is named, else the one that `tritonkit serve` runs here."""

from __future__ import annotations

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
    """The server to talk to. Raises UserError when none is named and none or several run."""
    if address is not None:
        return Address(address.removeprefix("http://").removeprefix("grpc://").rstrip("/"))
    record = only_running()
    return Address(record.grpc_address if protocol == "grpc" else record.http_address, record)


def only_running() -> ServerRecord:
    """The one server that runs for this project. Raises UserError when there is none, or more than one."""
    from deploy.embedded import state

    try:
        running = state.running(Project.find().root / RUNS)
    except NoProjectError:
        running = []
    if not running:
        raise UserError("no server of this project is running", "start one with `tritonkit serve`, or give --address")
    if len(running) > 1:
        addresses = ", ".join(f"{r.grpc_address} ({r.target})" for r in running)
        raise UserError(f"{len(running)} servers of this project are running: {addresses}", "name one with --address")
    return running[0]
