"""The three loopback ports of a server: free ones, or the ones a user asked for."""

from __future__ import annotations

import socket
from dataclasses import dataclass, fields

from deploy.embedded import processes, supervisor
from generator.problems import UserError

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Ports:
    """TCP ports of the HTTP, gRPC and metrics services; 0 means any free one."""

    http: int = 0
    grpc: int = 0
    metrics: int = 0

    def numbers(self) -> set[int]:
        """All three port numbers."""
        return {self.http, self.grpc, self.metrics}


class PortTakenError(UserError):
    """A port that the user asked for cannot be had; the message names the port and its holder."""


def _bind(port: int) -> socket.socket:
    """Bind a loopback port the way the server does: connections of an ended server do not block it."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1 if port else 0)
        sock.bind((LOOPBACK, port))
    except (OSError, OverflowError):
        sock.close()
        raise
    return sock


def is_free(port: int) -> bool:
    """True if the loopback port can be bound now."""
    try:
        _bind(port).close()
    except (OSError, OverflowError):
        return False
    return True


def taken_sentence(port: int, service: str) -> str:
    """Who holds the port, as far as /proc tells, in one sentence."""
    pid = processes.port_holder(port)
    if pid and (owner := _tritonkit(pid)):
        serves = f"`tritonkit serve` is already running here (process {owner})"
        return f"port {port}, wanted for {service}, is taken: {serves}"
    holder = f"process {pid} ({processes.command_line(pid)[:80]})" if pid else "another process"
    return f"port {port}, wanted for {service}, is taken by {holder}"


def _tritonkit(pid: int) -> int | None:
    """The process that started this embedded server, by way of its supervisor; None if it is no such server."""
    ours = any(f"shm-region-prefix-name={supervisor.SHM_NAME}" in word for word in processes.arguments(pid))
    return processes.parent(processes.parent(pid)) if ours else None


def _bind_wanted(port: int, service: str) -> socket.socket:
    """Bind a port that the user named. Raises PortTakenError with the reason."""
    other = "choose another port, 0 for a free one"
    if not 0 < port <= 65535:
        raise PortTakenError(f"{port}, wanted for {service}, is no TCP port", f"valid: 1 to 65535, {other}")
    try:
        return _bind(port)
    except PermissionError as error:
        raise PortTakenError(f"port {port}, wanted for {service}, needs root", "choose one above 1023") from error
    except OSError as error:
        pid = processes.port_holder(port)
        if pid and _tritonkit(pid):
            remedy = f"stop that one (Ctrl-C where it runs), or {other}"
        else:
            remedy = f"end that process (kill {pid}) or {other}" if pid else other
        raise PortTakenError(taken_sentence(port, service), remedy) from error


def choose(wanted: Ports) -> Ports:
    """Fill the zeros with free ports. Raises PortTakenError if a wanted port is not free or not a port."""
    named = {field.name: getattr(wanted, field.name) for field in fields(wanted) if getattr(wanted, field.name)}
    for port in named.values():
        services = [service for service, wanted_port in named.items() if wanted_port == port]
        if len(services) > 1:
            sentence = f"port {port} is wanted for {' and '.join(services)}, and each service needs its own"
            raise PortTakenError(sentence, "name different ports, or 0 for a free one")
    held: dict[str, socket.socket] = {}
    try:
        # The named ones first; all stay bound until all are known, so that no number comes twice.
        for service, port in named.items():
            held[service] = _bind_wanted(port, service)
        for field in fields(wanted):
            if field.name not in held:
                held[field.name] = _bind(0)
        return Ports(**{service: int(sock.getsockname()[1]) for service, sock in held.items()})
    finally:
        for sock in held.values():
            sock.close()
