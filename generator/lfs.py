"""Pointers of Git LFS, which stand where the files themselves should be until `git lfs pull` fetches those."""

from __future__ import annotations

_BEGINNING = b"version https://git-lfs"
WHAT, MEND = "is a Git LFS pointer, not the file itself", "`git lfs pull` fetches it"
HEAD_BYTES = len(_BEGINNING)


def is_pointer(data: bytes) -> bool:
    """Whether a file is one, by its first `HEAD_BYTES` or more."""
    return data.startswith(_BEGINNING)
