"""A Deployment that replaces its pods, as its controller does, while others watch."""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from .kubelet import EndedError, PodProcess
from .pod import Pod
from .proxy import Endpoints

_NUMBERS = count(2)
_STARTS = 3


def new_address() -> str:
    """One that no pod of this process has had."""
    number = next(_NUMBERS)
    return f"127.77.{number // 250}.{number % 250 + 2}"


def _free() -> str:
    """Of what a process dies by signal 7 when it runs out."""
    free = {place: shutil.disk_usage(place).free >> 20 for place in ("/dev/shm", tempfile.gettempdir())}  # noqa: S108
    return ", ".join(f"{count:,} MiB free in {place}" for place, count in free.items())


@dataclass
class Deployment:
    """The replicas of a pod. `events` are what happened when, in seconds of `clock`."""

    pod: Pod
    endpoints: Endpoints
    folder: Path
    clock: Callable[[], float] = time.monotonic
    events: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._pods: list[PodProcess] = []
        self._every: list[PodProcess] = []
        self._going: list[threading.Thread] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for pod in self._every:
            if pod.ended is None:
                pod.end()
        for thread in self._going:
            thread.join()

    @property
    def addresses(self) -> list[str]:
        """Of the pods that are there to stay."""
        return [pod.address for pod in self._pods]

    def start(self) -> None:
        """All replicas, ready and in the endpoints."""
        self._pods = [self._readied(pod) for pod in [self._new() for _ in range(self.pod.replicas)]]
        for pod in self._pods:
            self.endpoints.add(pod.address, at_once=True)
        self.events.clear()

    def roll(self) -> None:
        """Replaces every pod by one of the same kind, and waits until the old ones are gone."""
        began = self.clock()
        self._say("rollout begins")
        for old in list(self._pods):
            if self.pod.surge:
                self._replace(old, self._started())
            else:
                self._delete(old)
                self._replace(None, self._started())
        for thread in self._going:
            thread.join()
        self.endpoints.settle()
        self._say("rollout is over", took_s=round(self.clock() - began, 2))

    def _replace(self, old: PodProcess | None, new: PodProcess) -> None:
        self._pods.append(new)
        self.endpoints.add(new.address)
        if old is not None:
            self._delete(old)

    def _started(self) -> PodProcess:
        pod = self._new()
        self._say("pod starts", pod.address)
        return self._readied(pod)

    def _readied(self, pod: PodProcess) -> PodProcess:
        """The pod, ready. A container that ends while it starts is started again, as the kubelet does."""
        for left in reversed(range(_STARTS)):
            try:
                took_s = pod.becomes_ready()
            except EndedError as error:
                if not left:
                    raise SystemExit(str(error)) from error
                self._say("container ended, and starts again", pod.address, status=pod.ended)
                pod = self._new(pod.address)
            else:
                self._say("pod is ready", pod.address, took_s=round(took_s, 2))
                return pod
        raise AssertionError("the last start returns or raises")

    def _new(self, address: str | None = None) -> PodProcess:
        pod = PodProcess(self.pod, address or new_address(), self.folder)
        self._every.append(pod)
        return pod

    def _delete(self, pod: PodProcess) -> None:
        """It goes by itself while the next one starts: its endpoint and its preStop at the same moment."""
        self._pods.remove(pod)
        if pod.ended is not None:
            raise SystemExit(
                f"a pod ended by itself ({pod.ended}; {_free()}): the run says nothing of rollouts\n{pod.log_end}"
            )
        self._say("pod is deleted", pod.address)
        self.endpoints.remove(pod.address)

        def go() -> None:
            took = pod.delete()
            self._say("pod is gone", pod.address, status=pod.ended, **took)

        thread = threading.Thread(target=go)
        thread.start()
        self._going.append(thread)

    def _say(self, what: str, pod: str = "", **more: Any) -> None:
        self.events.append({"at_s": round(self.clock(), 2), "what": what, "pod": pod, **more})
