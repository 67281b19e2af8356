"""The manifest: which files of a repository were generated, for which pipeline, with which contents."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from generator.problems import Place, Problem, ProblemsError
from generator.write import names

MANIFEST_FILE = ".tritonkit-manifest.json"
FORMAT = 1
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Entry:
    """One generated file: the pipeline it was rendered for, and the hash of what was written."""

    pipeline: str
    sha256: str


def dump(entries: Mapping[str, Entry]) -> bytes:
    """The manifest's text: the same entries always give the same bytes."""
    document = {"format": FORMAT, "files": {path: asdict(entry) for path, entry in entries.items()}}
    return (json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()


def load(root: Path) -> dict[str, Entry]:
    """The manifest of the repository `root`, empty when it has none.

    Raises ProblemsError: TK401 when it is a symbolic link, TK410 when it is not a manifest of this format.
    """
    path = root / MANIFEST_FILE
    if path.is_symlink():
        message = f"{MANIFEST_FILE} is a symbolic link, and nothing is written through links"
        raise ProblemsError([Problem("TK401", Place(str(path)), "", message, "replace the link by a file")])
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return {}
    try:
        return _parse(content)
    except ValueError as error:  # includes JSON's and UTF-8's own errors
        hint = "restore it from version control, or delete it and render again"
        problem = Problem("TK410", Place(str(path)), "", f"the manifest cannot be read: {error}", hint)
        raise ProblemsError([problem]) from error


def _parse(content: bytes) -> dict[str, Entry]:
    document: Any = json.loads(content)
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        found = document.get("format") if isinstance(document, dict) else None
        raise ValueError(f"it has format {found!r}, and this version of tritonkit reads format {FORMAT}")
    files = document.get("files")
    if not isinstance(files, dict):
        raise ValueError("'files' is not a mapping")
    entries = {}
    for path, value in files.items():
        # A manifest may come from anywhere, and pruning removes what it names: believe no path unseen.
        if not names.is_valid(path):
            raise ValueError(f"{path!r} is not a valid path in a repository")
        match value:
            case {"pipeline": str(pipeline), "sha256": str(sha256)} if _SHA256.fullmatch(sha256):
                entries[path] = Entry(pipeline, sha256)
            case _:
                raise ValueError(f"the entry of {path} does not have a pipeline and a sha256")
    return entries
