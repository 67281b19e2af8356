"""Is the server ready, and is it this one; what its log tells while it starts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from deploy.embedded import log, processes
from deploy.embedded.ports import LOOPBACK, Ports

_ANSWER_TIMEOUT_S = 2.0


def _answers_ready(port: int) -> bool:
    import http.client

    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=_ANSWER_TIMEOUT_S)
    try:
        # Without "close" the server's drain would later wait for this connection.
        connection.request("GET", "/v2/health/ready", headers={"Connection": "close"})
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def is_ready(ports: Ports, pid: int) -> bool:
    """True if the process with this id listens on all three ports and says that all models are ready.

    The listeners are looked up because a stranger on the HTTP port could answer as well, and because the
    server answers for a moment even when its metrics port is taken, and ends after that.
    """
    return processes.listens_on(pid, ports.numbers()) and _answers_ready(ports.http)


class LogFollower:
    """Reads a growing log, keeps its text, and reports models that load."""

    def __init__(self, path: Path, report: Callable[[str], None]) -> None:
        self.text = ""
        self.loading: set[str] = set()
        self._loaded: set[str] = set()
        self._path = path
        self._offset = 0
        self._partial = ""
        self._report = report

    def read(self) -> None:
        """Read what has come since the last call."""
        data = log.read(self._path, self._offset)
        self._offset += len(data)
        new = data.decode(errors="replace")
        self.text += new
        *lines, self._partial = (self._partial + new).split("\n")
        for line in lines:
            if step := log.progress(line):
                self._note(*step)

    def _note(self, word: str, model: str) -> None:
        if word == "loading":
            self.loading.add(model)
            return
        self.loading.discard(model)
        self._loaded.add(model)
        self._report(f"loaded {model}")
