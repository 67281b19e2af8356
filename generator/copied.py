"""Which files of a directory go into a model repository as they are: for models of `files`, and for their import."""

from __future__ import annotations

import os
from pathlib import Path

from generator.write.names import PLACEHOLDER, version_number

CONFIG = "config.pbtxt"
COMPILED = "__pycache__"


def is_left_behind(name: str) -> bool:
    """Whether a file or directory of this name is none of a model's: hidden, or compiled Python."""
    return name == COMPILED or (name.startswith(".") and name != PLACEHOLDER)


def files_of(root: Path) -> dict[str, Path | None]:
    """The files below `root` by their path there, sorted, but for its own config.pbtxt, which is rendered.

    A version directory without any file is a placeholder (None), since an empty directory is no file. Links are
    followed as the server follows them; one that leads back above itself is not. Raises OSError.
    """
    found: dict[str, Path | None] = {}
    _walk(root, "", frozenset(), found, [])
    for name in (CONFIG, PLACEHOLDER):
        found.pop(name, None)
    for folder in sorted(path.name for path in root.iterdir() if path.is_dir()):
        if version_number(folder) is not None and not any(path.startswith(f"{folder}/") for path in found):
            found[f"{folder}/{PLACEHOLDER}"] = None
    return dict(sorted(found.items()))


def hidden_in(root: Path) -> list[str]:
    """What of `root` is hidden and so left behind, by path, sorted; of a hidden directory its own. Raises OSError."""
    hidden: list[str] = []
    _walk(root, "", frozenset(), {}, hidden)
    return sorted(hidden)


def _walk(folder: Path, prefix: str, above: frozenset[str], found: dict[str, Path | None], hidden: list[str]) -> None:
    real = os.path.realpath(folder)
    if real in above:
        return
    for entry in folder.iterdir():
        if is_left_behind(entry.name):
            if entry.name != COMPILED:
                hidden.append(prefix + entry.name)
        elif entry.is_dir():
            _walk(entry, f"{prefix}{entry.name}/", above | {real}, found, hidden)
        elif entry.is_file():
            found[prefix + entry.name] = entry
