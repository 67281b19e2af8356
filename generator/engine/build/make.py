"""ONNX files that a script of the project makes."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from generator.problems import UserError
from generator.project import Project
from generator.spec import Spec
from generator.workspace import not_made

LAST_LINES = 12


def make_missing(project: Project, specs: Sequence[Spec], progress: Callable[[str], None]) -> list[str]:
    """Runs the scripts of what is not there; the files that were made.

    Raises UserError when a script fails, or does not write what the spec says.
    """
    made: list[str] = []
    for spec in specs:
        for _, file, script in not_made(spec, project):
            if file in made:
                continue
            progress(f"{script} makes {file}")
            try:
                _run(project, script)
            except BaseException:
                project.path(file).unlink(missing_ok=True)  # half of it would be taken for the whole
                raise
            if not project.has_file(file):
                raise UserError(
                    f"TK985: {script} has run, and {file} is still not there",
                    "it writes the file that the spec names",
                )
            made.append(file)
    return made


def _run(project: Project, script: str) -> None:
    if not project.has_file(script):
        raise UserError(f"TK985: there is no file {script}", "`made_by` names a script of the project")
    with tempfile.TemporaryFile() as said:
        # A file, and not a pipe: a child that the script leaves behind may hold that open for ever.
        found = subprocess.run(
            [sys.executable, Path(script)], cwd=project.root, stdin=subprocess.DEVNULL, stdout=said,
            stderr=subprocess.STDOUT, check=False,
        )  # fmt: skip
        said.seek(0)
        lines = said.read().decode(errors="replace").strip().splitlines()[-LAST_LINES:]
    if found.returncode:
        raise UserError(
            f"TK985: {script} failed with status {found.returncode}:\n" + "\n".join(f"  {line}" for line in lines),
            f"`{Path(sys.executable).name} {script}` runs it alone",
        )
