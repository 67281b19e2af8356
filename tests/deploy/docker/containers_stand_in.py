"""Containers of an engine that says what a test wants it to, as the Docker SDK has them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import docker.errors

from deploy.docker.engine import Engine


def nothing() -> None:
    """Happens."""


@dataclass
class Containers:
    """`there` are their names. `when` says what happens instead of, or within, a call of that name: it may raise."""

    there: list[str] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    when: dict[str, Callable[[], None]] = field(default_factory=dict)

    def engine(self) -> Engine:
        api = SimpleNamespace(remove_container=self._remove)
        return Engine(SimpleNamespace(api=api, containers=SimpleNamespace(create=self._create)))

    def happens(self, what: str) -> None:
        """Counts a call, and does what the test has set for it."""
        self.calls.append(what)
        self.when.get(what, nothing)()

    def _create(self, *_image: str, name: str, **_options: Any) -> Container:
        self.there.append(name)
        self.happens("create")
        return Container(name, self)

    def _remove(self, name: str, *, force: bool, v: bool) -> None:
        assert (force, v) == (True, True)
        self.happens("remove")
        if name not in self.there:
            raise docker.errors.NotFound(f"No such container: {name}")
        self.there.remove(name)


@dataclass
class Container:
    """One that is healthy at once."""

    name: str
    engine: Containers

    @property
    def attrs(self) -> dict[str, Any]:
        ports = {f"{inside}/tcp": [{"HostPort": str(inside)}] for inside in (8000, 8001, 8002)}
        state = {"Running": True, "ExitCode": 0, "Health": {"Status": "healthy"}}
        return {"State": state, "NetworkSettings": {"Ports": ports}}

    def reload(self) -> None:
        self.engine.happens("reload")
        if self.name not in self.engine.there:
            raise docker.errors.NotFound(f"No such container: {self.name}")

    def start(self) -> None:
        self.engine.happens("start")

    def stop(self, *, timeout: int) -> None:
        assert timeout > 0
        self.engine.happens("stop")

    def wait(self, *, timeout: float) -> dict[str, int]:
        assert timeout > 0
        self.engine.happens("wait")
        return {"StatusCode": 0}

    def logs(self, **_asked: Any) -> bytes:
        return b""
