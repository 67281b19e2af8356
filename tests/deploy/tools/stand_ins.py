"""A program in the place of helm or kubectl: what it was given is written down, and what it answers is chosen."""

from __future__ import annotations

import json
import stat
import sys
from pathlib import Path


def stand_in(folder: Path, *, out: str = "", err: str = "", status: int = 0) -> Path:
    """A program that writes down its words and what it reads, and answers so."""
    program = folder / "helm"
    program.write_text(
        f"#!{sys.executable}\n"
        "import json, sys, pathlib\n"
        f"seen = pathlib.Path({str(folder / 'seen.json')!r})\n"
        "seen.write_text(json.dumps([sys.argv[1:], sys.stdin.read()]))\n"
        f"sys.stdout.write({out!r}); sys.stderr.write({err!r}); sys.exit({status})\n"
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return program


def seen(folder: Path) -> tuple[list[str], str]:
    words, text = json.loads((folder / "seen.json").read_text())
    return words, text
