"""Stands in for a rendered model.py while the server is profiled: says for every execution where its time went.

Copied into the repository under test by profile.py; the product knows nothing of it. Writes one line an execution to
PHOTOS_PROBE/<process id>.jsonl: the end (seconds of the monotonic clock), how many requests it had, and the CPU time
in µs of the whole execution and of the program in it.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

from tritonkit_runtime import adapter


class TritonPythonModel(adapter.TritonPythonModel):
    """The runtime's own, with a clock around it and around its program."""

    def initialize(self, args: Mapping[str, str]) -> None:
        """As always; then the program's `run` is wrapped."""
        super().initialize(args)
        self._program_ns = 0
        path = os.path.join(os.environ["PHOTOS_PROBE"], f"{os.getpid()}.jsonl")  # noqa: PTH118
        self._lines = open(path, "a", buffering=1)  # noqa: PTH123, SIM115 - as long as the process
        inner = self._program.run

        def run(batch: Any) -> Any:
            began = time.thread_time_ns()
            try:
                return inner(batch)
            finally:
                self._program_ns += time.thread_time_ns() - began

        self._program.run = run  # type: ignore[method-assign]

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """As always, and one line about it."""
        self._program_ns, began = 0, time.thread_time_ns()
        answers = super().execute(requests)
        whole_us, program_us = (time.thread_time_ns() - began) / 1000, self._program_ns / 1000
        self._lines.write(json.dumps([time.monotonic(), len(requests), whole_us, program_us]) + "\n")
        return answers
