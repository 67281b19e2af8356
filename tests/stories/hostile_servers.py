"""Servers that die, hang or stop while requests are under way, and pipelines whose requests last."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from story_tools import PROTOCOLS, Array, Protocol, Rendered, Running, eventually, make_project, render_to, texts

from deploy.embedded import stubs
from tritonkit import Answer, Pipeline, PipelineError
from tritonkit.client.values import Item

# What happens to a server; docs/how-to/errors.md has a row for each.
SERVER_CASES = (
    "no server at the address",
    "the server dies before anything is answered",
    "the server dies under way",
    "the server hangs",
    "a Python process of the server dies",
    "an own class raises an exception",
)

WAITS = '''"""Waits for as many seconds as it is told, and tells in a file when it begins; raises below zero."""

import time
from pathlib import Path


class Waits:
    def __init__(self, parameters):
        self.begun = Path(parameters["begun"])

    def run(self, tensors, fail):
        seconds = float(tensors["seconds"].max())
        with self.begun.open("a") as file:
            file.write("x" * len(tensors["seconds"]))
        if seconds < 0:
            raise ValueError("a time below zero")
        time.sleep(seconds)
        return {"waited": tensors["seconds"]}
'''

_SPEC = """
name: {name}
inputs: {{seconds: {{type: fp32, dims: [1]}}}}
outputs: {{waited: {{type: fp32, dims: [1]}}}}
models:
  {name}:
    python: steps/waits.py:Waits
    arguments: {{begun: {begun}}}
    inputs: {{seconds: {{type: fp32, dims: [1]}}}}
    outputs: {{waited: {{type: fp32, dims: [1]}}}}
"""


def waiting_project(root: Path) -> Rendered:
    """Pipelines `waits` and `mortal`, which do the same, beside `digits`."""
    specs = {f"{name}.yaml": _SPEC.format(name=name, begun=root / f"{name}.begun") for name in ("waits", "mortal")}
    project = make_project(root / "project", specs, copied=("digits.yaml",))
    (project.root / "steps" / "waits.py").write_text(WAITS, encoding="utf-8")
    return render_to(root / "repository", project)


def seconds(value: float) -> Array:
    """An item of those pipelines."""
    return np.array([value], np.float32)


def begun(rendered: Rendered, name: str) -> int:
    """How many items the pipeline has begun with, ever."""
    file = rendered.repository.parent / f"{name}.begun"
    return len(file.read_text()) if file.exists() else 0


class Calls:
    """The same items to one pipeline over each protocol at once, each in a thread of its own."""

    def __init__(
        self, running: Running, name: str, items: Sequence[Item], protocols: Sequence[Protocol], **options: Any
    ) -> None:
        self._running, self._name = running, name
        self._before = begun(running.rendered, name)
        self.answers: dict[Protocol, list[Answer]] = {}
        self.errors: dict[Protocol, PipelineError] = {}
        self.pipelines = {
            protocol: Pipeline(name, running.address(protocol), protocol=protocol, **options)
            for protocol in protocols
        }
        self._threads = [threading.Thread(target=self._use, args=(protocol, items)) for protocol in protocols]
        for thread in self._threads:
            thread.start()

    def _use(self, protocol: Protocol, items: Sequence[Item]) -> None:
        try:
            self.answers[protocol] = self.pipelines[protocol].infer(items)
        except PipelineError as error:
            self.errors[protocol] = error

    def wait_until_begun(self, items: int) -> None:
        """Until the server works on so many items of both together."""
        assert eventually(lambda: begun(self._running.rendered, self._name) - self._before >= items)

    def join(self) -> None:
        """Waits for the answers."""
        for thread in self._threads:
            thread.join()

    def close(self) -> None:
        """Ends the connections."""
        for pipeline in self.pipelines.values():
            pipeline.close()

    def codes(self, protocol: Protocol) -> list[str]:
        """Of each item in its order: `ok`, or the code of its error."""
        answers = self.answers[protocol]
        assert [answer.index for answer in answers] == list(range(len(answers)))
        return ["ok" if answer.error is None else answer.error.code for answer in answers]

    def message(self, protocol: Protocol) -> str:
        """What was raised, its address apart."""
        assert protocol in self.errors, self.answers[protocol]
        return str(self.errors[protocol]).replace(self._running.address(protocol), "ADDRESS")


@contextmanager
def calls(
    running: Running, name: str, items: Sequence[Item], *, protocols: Sequence[Protocol] = PROTOCOLS, **options: Any
) -> Iterator[Calls]:
    """Requests under way; all are answered at the end, and the connections closed."""
    under_way = Calls(running, name, items, protocols, **options)
    try:
        yield under_way
    finally:
        under_way.join()
        under_way.close()


def process_of(running: Running, model: str) -> int:
    """The process id of the model's one stub."""
    [found] = [stub.pid for stub in stubs.running(running.server.pid) if stub.model == model]
    return found


def label_of(running: Running, protocol: Protocol, image: bytes) -> list[str]:
    """What `digits` answers."""
    with Pipeline("digits", running.address(protocol), protocol=protocol) as pipeline:
        found: list[str] = texts(pipeline.infer_one(image).label)
        return found
