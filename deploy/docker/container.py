"""Running an image: a container that may do nothing but serve, on this machine's loopback, until it is stopped."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from deploy.docker.engine import Engine, explanation, new_name
from deploy.docker.flags import KEY
from deploy.docker.problem import refused
from deploy.docker.request import Request
from deploy.embedded import log

if TYPE_CHECKING:
    from docker.models.containers import Container

LOOPBACK = "127.0.0.1"
TMP_BYTES = 64 << 20
PIDS = 4096
_LOOK_S = 0.2
_PORTS = {"http": "8000/tcp", "grpc": "8001/tcp", "metrics": "8002/tcp"}


@dataclass(frozen=True)
class Ports:
    """Where the services are published on this machine; 0: any free port."""

    http: int = 8000
    grpc: int = 8001
    metrics: int = 8002


@dataclass(frozen=True)
class Running:
    """A container whose server is ready. `addresses` are `host:port` by service."""

    container: Container
    addresses: dict[str, str]

    def status(self) -> int | None:
        """How the server ended; None while it runs. Raises ProblemsError (TK477) when its container is gone."""
        state = _state(self.container)
        return None if state["Running"] else int(state["ExitCode"])


def options(request: Request, image: str, ports: Ports, key: str) -> dict[str, Any]:
    """What the container may do and have, as the SDK takes it. The key goes in through the environment alone."""
    published = dict(zip(_PORTS.values(), (ports.http, ports.grpc, ports.metrics), strict=True))
    made: dict[str, Any] = {
        "image": image,
        "read_only": True,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "shm_size": int(request.values["sharedMemoryBytes"]),
        "tmpfs": {"/tmp": f"size={TMP_BYTES},mode=1777"},  # noqa: S108 - the container's own
        "pids_limit": PIDS,
        "ports": {inside: (LOOPBACK, outside or None) for inside, outside in published.items()},
        "environment": {KEY: key} if key else {},
        "labels": {"io.tritonkit.run": request.name},
    }
    if request.gpus:
        from docker.types import DeviceRequest

        made["device_requests"] = [DeviceRequest(count=request.gpus, capabilities=[["gpu"]])]
    return made


def stop_timeout_s(request: Request) -> int:
    """How long a stopping server may take before it is killed: what the chart gives a pod after preStop."""
    drain = request.values["drain"]
    return int(drain["exitTimeoutSeconds"]) + int(drain["marginSeconds"])


@contextlib.contextmanager
def running(
    engine: Engine,
    request: Request,
    image: str,
    ports: Ports,
    *,
    key: str = "",
    on_line: Callable[[str], None],
    ready_timeout_s: float,
) -> Iterator[Running]:
    """The container, ready. On the way out it drains, stops and is removed, whatever happens.

    `on_line` gets the server's log line by line, from a thread. Raises ProblemsError (TK471, TK472, TK477).
    """
    import docker.errors

    name = new_name()
    created = False
    try:
        try:
            container = engine.client.containers.create(name=name, **options(request, image, ports, key))
            created = True
            container.start()
        except docker.errors.APIError as error:
            raise _refused(image, explanation(error)) from error
        follower = threading.Thread(target=_follow, args=(container, on_line), daemon=True)
        follower.start()
        _wait_until_healthy(container, image, time.monotonic() + ready_timeout_s)
        try:
            yield Running(container, _addresses(container))
        finally:
            with contextlib.suppress(docker.errors.APIError):
                container.stop(timeout=stop_timeout_s(request))
    finally:  # after a second interrupt too, which breaks off the drain
        engine.remove(name, may_appear=not created)


def _state(container: Container) -> dict[str, Any]:
    """As the engine says it now. Raises ProblemsError (TK477) when it has no such container any more."""
    import docker.errors

    try:
        container.reload()
    except docker.errors.APIError as error:
        raise refused(
            "TK477",
            str(container.name),
            f"the container `{container.name}` cannot be looked at any more: {explanation(error)}",
            "somebody else has removed it, or the engine has failed; `run` makes a new one",
        ) from error
    state: dict[str, Any] = container.attrs["State"]
    return state


def _follow(container: Container, on_line: Callable[[str], None]) -> None:
    """Until the container is gone."""
    rest = b""
    with contextlib.suppress(Exception):  # the connection ends with the container, in whatever way it likes
        for data in container.logs(stream=True, follow=True):
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                on_line(line.decode(errors="replace"))


def _wait_until_healthy(container: Container, image: str, deadline: float) -> None:
    while True:
        state = _state(container)
        if state.get("Health", {}).get("Status") == "healthy":
            return
        said = _said(container)
        if not state["Running"] or log.hangs(said):
            causes = list(map(str, log.causes(said))) or said.splitlines()[-3:]
            raise refused(
                "TK472",
                image,
                f"the server in the container did not start: {'; '.join(causes) or 'it says nothing'}",
                "was the image built of these specs as they are now? `tritonkit deploy image build` brings it there",
            )
        if time.monotonic() > deadline:
            raise refused(
                "TK472",
                image,
                "the server in the container is not ready within the time",
                "give it more with --ready-timeout, or look at its log above",
            )
        time.sleep(_LOOK_S)


def _said(container: Container) -> str:
    """The end of its log; nothing when it was removed meanwhile, which the next look tells."""
    import docker.errors

    try:
        return str(container.logs(tail=2000).decode(errors="replace"))
    except docker.errors.APIError:
        return ""


def _addresses(container: Container) -> dict[str, str]:
    published = container.attrs["NetworkSettings"]["Ports"]
    return {name: f"{LOOPBACK}:{published[inside][0]['HostPort']}" for name, inside in _PORTS.items()}


def _refused(image: str, reason: str) -> Exception:
    if "could not select device driver" in reason:
        hint = "install the NVIDIA Container Toolkit on that machine, or run `--embedded`, which needs no GPU"
    elif "already allocated" in reason or "address already in use" in reason:
        hint = "name other ports: --http-port, --grpc-port, --metrics-port; 0 is any free one"
    elif "No such image" in reason:
        hint = "build it first: `tritonkit deploy image build`"
    else:
        hint = ""
    return refused("TK471", image, f"the container cannot be started: {reason}", hint)


def key_of_environment() -> str:
    """The key of the restricted APIs, from the environment; without one the image makes one up that nobody knows."""
    return os.environ.get(KEY, "")
