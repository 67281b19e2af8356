"""`tritonkit deploy` for the stories: a project with the digits, and commands against the test's cluster."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cluster_calls import CLONE, Calls

DIGITS = "specs/digits.yaml"
FROM_CONFIG_MAP = ("--set", "modelRepository.source=configMap")
BROKEN = ("--set", "workload.podAnnotations={tritonkit.test/broken: ImagePullBackOff}")
WITHIN_S = 240.0  # of a command: the machine may be busy


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    status: int
    out: str
    err: str


def digits_project(root: Path) -> Path:
    """A project with the digits, whose target `production` needs no plan: nobody here can build one."""
    (root / "specs").mkdir(parents=True)
    for name in ("models", "data"):
        (root / name).symlink_to(CLONE / name)
    text = (CLONE / DIGITS).read_text(encoding="utf-8")
    text, count = re.subn(r"engine: tensorrt, precision: fp16, ", "", text)
    assert count == 1
    (root / DIGITS).write_text(text, encoding="utf-8")
    return root


@dataclass(frozen=True)
class Deploy:
    """`tritonkit deploy` in a project, with the cluster of the test as the kubeconfig's current context."""

    folder: Path
    cluster: Calls
    kubeconfig: Path | None = None
    more: Mapping[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        path = f"{self.cluster.kubectl_program.parent}:{self.cluster.helm_program.parent}:/usr/bin:/bin"
        scratch = {
            f"HELM_{name}_HOME": str(self.cluster.scratch / name.lower()) for name in ("CACHE", "CONFIG", "DATA")
        }
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("KUBE", "HELM_", "TRITON"))}
        config = str(self.kubeconfig or self.cluster.kubeconfig)
        return {**kept, **scratch, "PATH": path, "KUBECONFIG": config, "COLUMNS": "120", **self.more}

    def words(self, command: str, *arguments: str) -> list[str]:
        """The command line, in the test's namespace unless it names another."""
        program = str(Path(sys.executable).with_name("tritonkit"))
        where = [] if "--namespace" in arguments or command == "values" else ["--namespace", self.cluster.namespace]
        return [program, "deploy", command, *arguments, *where]

    def run(self, command: str, *arguments: str, stdin: str = "") -> Ended:
        """Runs it to its end. No traceback is a part of any answer."""
        done = subprocess.run(
            self.words(command, *arguments), cwd=self.folder, env=self.environment, input=stdin, capture_output=True,
            text=True, timeout=WITHIN_S, check=False,
        )  # fmt: skip
        assert "Traceback" not in done.stderr, done.stderr
        return Ended(done.returncode, done.stdout, done.stderr)

    def ok(self, command: str, *arguments: str) -> Ended:
        """Runs it, and it is fine."""
        ended = self.run(command, *arguments)
        assert ended.status == 0, ended.err
        return ended

    def refused(self, code: str, words: str, command: str, *arguments: str) -> Ended:
        """Runs it, and it is refused with this code and these words (a regular expression)."""
        ended = self.run(command, *arguments)
        assert ended.status == 1, ended.err
        assert f"error[{code}]: " in ended.err, ended.err
        assert re.search(words, ended.err), ended.err
        return ended

    def interrupted(self, command: str, *arguments: str, when: Callable[[str], object]) -> Ended:
        """Runs it and sends SIGINT as soon as its standard error is so."""
        err = self.folder / "interrupted.err"
        with err.open("wb") as stream:
            before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
            try:
                process = subprocess.Popen(
                    self.words(command, *arguments), cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE, stderr=stream, text=True, start_new_session=True,
                )  # fmt: skip
            finally:
                signal.signal(signal.SIGINT, before)
        deadline = time.monotonic() + WITHIN_S
        while not when(err.read_text()) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGINT)
        out, _ = process.communicate(timeout=WITHIN_S)
        return Ended(process.returncode, out, err.read_text())


def deploying(folder: Path, cluster: Calls) -> Deploy:
    """In a project of the test's own."""
    root = folder / "project"
    if root.exists():
        shutil.rmtree(root)
    return Deploy(digits_project(root), cluster)
