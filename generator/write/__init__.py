"""The last stage of rendering: a whole repository in memory becomes files on disk, all of them or none.

`write` puts the rendered files into a repository, `check` and `diff` say what it would change. All three
take the rendered files by relative POSIX path, the repository, and `owner_of`, which names the pipeline
that a path was rendered for.

What a run of `write` promises:

- A crash, a full disk or Ctrl-C leaves all of the old repository or all of the new one. The new tree is
  built beside the old one, which it then replaces in one system call. A reader that holds the old directory
  itself open (a working directory, a bind mount of the repository) keeps the old, emptied one: mount the
  directory above it. Where directories cannot be exchanged (the repository is a mount point, or its
  file system does not know how), files are moved one by one under a journal; what a crash left is put back
  by the next `write`.
- `.tritonkit-manifest.json` names every file that was written and the pipeline it was written for. Files
  that it does not name are never changed or removed, and neither are those of pipelines not rendered now.
- Nothing is written through a symbolic link. The repository's own path may be one: it is followed once, and
  the directory it leads to is what is written.
"""

from __future__ import annotations

from generator.write.codes import CODES
from generator.write.compare import Difference, DifferenceKind, check, diff
from generator.write.manifest import MANIFEST_FILE
from generator.write.plan import OwnerOf
from generator.write.writer import WriteReport, write

__all__ = [
    "CODES",
    "MANIFEST_FILE",
    "Difference",
    "DifferenceKind",
    "OwnerOf",
    "WriteReport",
    "check",
    "diff",
    "write",
]
