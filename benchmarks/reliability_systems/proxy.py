"""HAProxy before the pods, for HTTP and gRPC, told of endpoints through its own socket; and a DNS server for them."""

from __future__ import annotations

import contextlib
import shutil
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

SLOTS = 32
_STARTS_WITHIN_S = 10.0
# Nothing is tried again (`retries 0`), so that the proxy hides no request that a pod has lost.
_CONFIG = """
global
  stats socket {socket} mode 600 level admin
  nbthread 1
defaults
  mode http
  retries 0
  timeout connect 5s
  timeout client 120s
  timeout server 120s
frontend http
  bind 127.0.0.1:{http}
  default_backend http
frontend grpc
  bind 127.0.0.1:{grpc} proto h2
  default_backend grpc
backend http
  balance roundrobin
  {reuse}
  server-template pod 1-{slots} 127.0.0.1:1 disabled
backend grpc
  balance roundrobin
  server-template pod 1-{slots} 127.0.0.1:1 proto h2 disabled
"""


class Follower(Protocol):
    """Something that sends requests to the endpoints."""

    def add(self, address: str) -> None:
        """Of a pod that is ready."""

    def remove(self, address: str) -> None:
        """Of a pod that goes, or is not ready any more."""


def free_ports(count: int) -> list[int]:
    """Ports that are free on every address of this machine."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("0.0.0.0", 0))) for _ in range(count)]  # noqa: S104
        return [one.getsockname()[1] for one in sockets]


class HAProxy:
    """A context manager; `http` and `grpc` are its addresses. Pods listen on `ports`.

    Without `reuse` every HTTP request opens a connection of its own to a pod.
    """

    def __init__(self, folder: Path, ports: Mapping[str, int], *, reuse: bool = True) -> None:
        program = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")
        if program is None:
            raise SystemExit("haproxy is not installed: apt-get install haproxy")
        http, grpc = free_ports(2)
        self.http, self.grpc = f"127.0.0.1:{http}", f"127.0.0.1:{grpc}"
        self._ports, self._socket = ports, folder / "haproxy.sock"
        self._slots: dict[str, int] = {}
        self._free = list(range(SLOTS, 0, -1))
        config = folder / "haproxy.cfg"
        kept = "http-reuse safe" if reuse else "option http-server-close\n  http-reuse never"
        config.write_text(_CONFIG.format(socket=self._socket, http=http, grpc=grpc, slots=SLOTS, reuse=kept))
        with (folder / "haproxy.log").open("wb") as log:
            self._process = subprocess.Popen([program, "-db", "-f", str(config)], stdout=log, stderr=log)
        deadline = time.monotonic() + _STARTS_WITHIN_S
        while not self._socket.exists():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.close()
                raise SystemExit(f"haproxy did not start:\n{(folder / 'haproxy.log').read_text()}")
            time.sleep(0.02)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends it."""
        self._process.terminate()
        self._process.wait()

    def add(self, address: str) -> None:
        """Requests go there from now on."""
        slot = self._slots[address] = self._free.pop()
        for protocol in ("http", "grpc"):
            self._tell(f"set server {protocol}/pod{slot} addr {address} port {self._ports[protocol]}")
            self._tell(f"set server {protocol}/pod{slot} state ready")

    def remove(self, address: str) -> None:
        """No new request goes there; those under way go on."""
        slot = self._slots.pop(address)
        for protocol in ("http", "grpc"):
            self._tell(f"set server {protocol}/pod{slot} state maint")

    def _tell(self, command: str) -> str:
        """One command of its runtime API. Raises RuntimeError when it refuses."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(5)
            connection.connect(str(self._socket))
            connection.sendall(command.encode() + b"\n")
            answer = b"".join(iter(lambda: connection.recv(4096), b"")).decode().strip()
        if answer and not answer.startswith(("IP changed", "no need to change", "port changed")):
            raise RuntimeError(f"haproxy answers {answer!r} to {command!r}")
        return answer


class Names:
    """A DNS server on loopback that gives a headless Service's name the addresses of its pods; none may be kept."""

    def __init__(self) -> None:
        self._addresses: list[str] = []
        self.asked = 0
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"", self._socket.getsockname())
        self._thread.join()
        self._socket.close()

    def add(self, address: str) -> None:
        """One more address of the name."""
        self._addresses = [*self._addresses, address]

    def remove(self, address: str) -> None:
        """One less."""
        self._addresses = [each for each in self._addresses if each != address]

    def _serve(self) -> None:
        while True:
            query, client = self._socket.recvfrom(4096)
            if not query:
                return
            with contextlib.suppress(IndexError, struct.error):
                self._socket.sendto(self._answer(query), client)

    def _answer(self, query: bytes) -> bytes:
        """Every name has the same addresses, of IPv4 alone."""
        end = query.index(b"\0", 12) + 5
        question, (kind,) = query[12:end], struct.unpack("!H", query[end - 4 : end - 2])
        self.asked += kind == 1
        found = self._addresses if kind == 1 else []
        records = b"".join(
            b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 0, 4) + socket.inet_aton(address) for address in found
        )
        return query[:2] + struct.pack("!HHHHH", 0x8580, 1, len(found), 0, 0) + question + records


class Endpoints:
    """The addresses of a Service. A change reaches every follower `delay_s` seconds later, as in a cluster."""

    def __init__(self, followers: list[Follower], delay_s: float) -> None:
        self._followers, self._delay_s = followers, delay_s
        self._timers: list[threading.Timer] = []

    def add(self, address: str, *, at_once: bool = False) -> None:
        """A pod has become ready."""
        self._later([partial(each.add, address) for each in self._followers], 0 if at_once else self._delay_s)

    def remove(self, address: str) -> None:
        """A pod is being deleted."""
        self._later([partial(each.remove, address) for each in self._followers], self._delay_s)

    def settle(self) -> None:
        """Until every follower has heard of everything."""
        for timer in self._timers:
            timer.join()

    def _later(self, tell: Sequence[Callable[[], None]], delay_s: float) -> None:
        def now() -> None:
            for each in tell:
                each()

        if not delay_s:
            now()
            return
        timer = threading.Timer(delay_s, now)
        timer.daemon = True
        timer.start()
        self._timers.append(timer)
