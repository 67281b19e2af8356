"""The family of a process."""

from __future__ import annotations

import os
import subprocess
import sys

from loadtest.cpu import family


def test_children_and_their_children() -> None:
    inner = "import sys; print(flush=True); sys.stdin.read()"
    code = f"import os, subprocess, sys; p = subprocess.Popen([sys.executable, '-c', {inner!r}]); print(p.pid, flush=True); p.wait()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        grandchild = int(process.stdout.readline().strip() or process.stdout.readline())
        found = family(process.pid)
        assert found == [process.pid, grandchild]
        assert {process.pid, grandchild} <= set(family(os.getpid()))
        process.communicate()
    assert family(process.pid) == []
