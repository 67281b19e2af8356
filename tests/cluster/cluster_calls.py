"""kubectl and helm for tests: they run to their end, and a failure is an exception with what was said."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

CLONE = Path(__file__).parents[2]
CHART = CLONE / "deploy" / "charts" / "triton"

T = TypeVar("T")


class CallError(AssertionError):
    """A command failed; the message has its words."""


def call(*command: str | Path, stdin: str = "", env: dict[str, str] | None = None, timeout_s: float = 120) -> str:
    """What a command prints. Raises CallError when it fails."""
    __tracebackhide__ = True
    words = [str(word) for word in command]
    done = subprocess.run(
        words,
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout_s,
        env={**os.environ, **(env or {})},
    )
    if done.returncode:
        raise CallError(f"{' '.join(words)}: status {done.returncode}\n{done.stderr}{done.stdout}")
    return done.stdout


def until(what: str, ask: Callable[[], T | None], *, within_s: float = 60, every_s: float = 0.1) -> T:
    """The first answer of `ask` that is something. Raises AssertionError, with the last error, when none comes in time.

    An `ask` that fails has no answer yet.
    """
    __tracebackhide__ = True
    deadline, error = time.monotonic() + within_s, ""
    while time.monotonic() < deadline:
        try:
            if answer := ask():
                return answer
            error = ""
        except AssertionError as failed:
            error = f"; last: {failed}"
        time.sleep(every_s)
    raise AssertionError(f"not within {within_s:g} s: {what}{error}")


@dataclass(frozen=True)
class Calls:
    """kubectl and helm as one user, in one namespace."""

    kubectl_program: Path
    helm_program: Path
    kubeconfig: Path
    namespace: str
    scratch: Path  # where helm keeps its caches, away from those of whoever runs the tests

    def kubectl(self, *arguments: str | Path, stdin: str = "") -> str:
        """What `kubectl ARGUMENTS` prints."""
        options = (f"--kubeconfig={self.kubeconfig}", f"--namespace={self.namespace}")
        return call(self.kubectl_program, *options, *arguments, stdin=stdin)

    def helm(self, *arguments: str | Path, stdin: str = "") -> str:
        """What `helm ARGUMENTS` prints."""
        options = (f"--kubeconfig={self.kubeconfig}", f"--namespace={self.namespace}")
        folders = {f"HELM_{name}_HOME": str(self.scratch / name.lower()) for name in ("CACHE", "CONFIG", "DATA")}
        return call(self.helm_program, *arguments, *options, stdin=stdin, env=folders)

    def get(self, kind: str, *arguments: str) -> dict[str, Any]:
        """An object, or with no name the list of them (`items`)."""
        found: dict[str, Any] = json.loads(self.kubectl("get", kind, *arguments, "--output=json"))
        return found

    def items(self, kind: str, *arguments: str) -> list[dict[str, Any]]:
        """The objects of a kind in the namespace."""
        found: list[dict[str, Any]] = self.get(kind, *arguments)["items"]
        return found

    def apply(self, *manifests: dict[str, Any], dry_run: bool = False) -> None:
        """Applies objects; with `dry_run` the API server does all but keep them."""
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(manifests)})
        self.kubectl("apply", "-f", "-", *(["--dry-run=server"] if dry_run else []), stdin=text)
