"""What tells one model repository from another."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping


def repository_hash(files: Mapping[str, bytes]) -> str:
    """SHA-256 of every file's path and contents, in hexadecimal digits."""
    digest = hashlib.sha256()
    for path, data in sorted(files.items()):
        digest.update(f"{path}\0{hashlib.sha256(data).hexdigest()}\n".encode())
    return digest.hexdigest()
