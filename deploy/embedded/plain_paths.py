"""Paths that Triton can use: its shell command for a stub has no quotes, and the stub's Python knows ASCII alone."""

from __future__ import annotations

import re
from pathlib import Path

from generator.problems import UserError

_PLAIN = re.compile(r"[A-Za-z0-9_./@%+=:,-]*")


def plain(path: Path, links: Path) -> Path:
    """`path` itself where Triton can use it, else a link to it in the directory `links`.

    Raises UserError when `links` is no plain path itself. A path that is not there stays as it is.
    """
    if _PLAIN.fullmatch(str(path)) or not path.exists():
        return path
    if not _PLAIN.fullmatch(str(links)):
        raise UserError(
            f"Triton can use neither the path {path} nor a link to it in {links.parent}: "
            "it starts Python models by a shell that takes ASCII letters, digits and no spaces",
            "move it to a path without spaces and special letters, or set TMPDIR to one",
        )
    links.mkdir(exist_ok=True)
    link = links / str(len(list(links.iterdir())))
    link.symlink_to(path)
    return link
