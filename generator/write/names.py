"""Which relative paths may be written: names that Triton, every file system and a shell take as they are."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from generator.problems import Place, Problem, Severity

_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,254}")
# An ensemble's version directory is empty, and version control keeps no empty directory without this file.
PLACEHOLDER = ".gitkeep"


def is_valid(path: str) -> bool:
    """Whether `path` is relative, stays inside, and is made of plain names."""
    parts = path.split("/")
    if len(parts) > 1 and parts[-1] == PLACEHOLDER:
        parts.pop()
    return all(_PART.fullmatch(part) for part in parts)


def version_number(name: str) -> int | None:
    """The version that a model's directory of this name holds; None for any other directory."""
    return int(name) if name.isascii() and name.isdecimal() and not name.startswith("0") else None


def ancestors(path: str) -> list[str]:
    """The directories above `path` inside the repository, outermost first (`a/b/c`: `a`, `a/b`)."""
    parts = path.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]


def check_names(paths: Iterable[str], root: Path) -> list[Problem]:
    """Every name that cannot be written (TK414), and a warning for names that differ only in case (TK413)."""
    paths = sorted(paths)
    problems = [
        Problem(
            "TK414",
            Place(str(root)),
            "",
            f"{path!r} is not a valid path in a repository",
            "use names of letters, digits, '.', '_' and '-', the first of them a letter, a digit or '_', "
            "with '/' between them",
        )
        for path in paths
        if not is_valid(path)
    ]
    valid = [path for path in paths if is_valid(path)]
    folders = {folder for path in valid for folder in ancestors(path)}
    problems += [
        Problem(
            "TK414",
            Place(str(root / path)),
            "",
            f"{path} would have to be a file and a directory at once",
            "rename one of the two",
        )
        for path in valid
        if path in folders
    ]
    return problems + _same_but_for_case({*valid, *folders}, root)


def _same_but_for_case(names: set[str], root: Path) -> list[Problem]:
    spellings: dict[str, list[str]] = {}
    for name in sorted(names):
        # Only names in one directory can clash; `A/x` and `a/x` are told once, by `A` and `a`.
        parent, _, last = name.rpartition("/")
        spellings.setdefault(f"{parent}/{last.lower()}", []).append(name)
    return [
        Problem(
            "TK413",
            Place(str(root / same[0])),
            "",
            f"{' and '.join(same)} differ only in upper and lower case, and are one file on some computers",
            "rename all but one of them",
            Severity.WARNING,
        )
        for same in spellings.values()
        if len(same) > 1
    ]
