"""The other way to write, where directories cannot be exchanged: file by file, under a journal.

New files are prepared in `.tritonkit-journal` inside the repository, and old ones are moved there, not deleted. While
that directory exists, the change is not done: an error, or the next run after a crash, moves everything back.
It takes only renames to do so, which need no space, and doing it twice does no harm.
"""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

from generator.problems import Place, Problem, ProblemsError
from generator.write import names
from generator.write.disk import Kind, kind_of, look, remove_tree, sync_directory, write_file
from generator.write.manifest import MANIFEST_FILE
from generator.write.plan import Plan
from generator.write.target import remove_quietly

JOURNAL = ".tritonkit-journal"
# The same directory before it counts, and after.
SCRATCH = ".tritonkit-scratch"
_STEPS = "steps.json"
_KEYS = ("writes", "replaces", "removes", "empties", "folders")


def commit(plan: Plan, root: Path) -> None:
    """Carries out `plan`. Whatever is raised, the repository is then as it was before, or will be after `recover`.

    Raises OSError, and ProblemsError (TK408) when an error could not be undone.
    """
    scratch, journal = root / SCRATCH, root / JOURNAL
    try:
        _prepare(plan, root, scratch)
        scratch.rename(journal)
        sync_directory(root)
        _apply(journal, root)
        journal.rename(scratch)
        with contextlib.suppress(OSError):
            sync_directory(root)
    except BaseException:
        recover(root)
        raise
    finally:
        remove_quietly(scratch)


def recover(root: Path) -> None:
    """Moves everything back that an unfinished run has moved, and removes what it left. Idempotent.

    Raises ProblemsError: TK408 when that fails, TK410 when the journal is not one of this program.
    """
    journal = root / JOURNAL
    try:
        if kind_of(journal) is not Kind.ABSENT:
            _roll_back(journal, root)
            remove_tree(root / SCRATCH)
            journal.rename(root / SCRATCH)
        remove_tree(root / SCRATCH)
    except OSError as error:
        message = f"an unfinished change of {root} could not be undone: {error.strerror}"
        hint = "mend that and render again: what is needed to undo it is kept until then"
        raise ProblemsError([Problem("TK408", Place(str(journal)), "", message, hint)]) from error


def _prepare(plan: Plan, root: Path, scratch: Path) -> None:
    """Writes the new files and the list of steps, so that only renames are left to do."""
    scratch.mkdir()
    (scratch / "new").mkdir()
    (scratch / "old").mkdir()
    for number, content in enumerate(plan.writes.values()):
        write_file(scratch / "new" / str(number), content)
    steps = {
        "writes": list(plan.writes),
        "replaces": [path for path in plan.writes if look(root, path) == (Kind.FILE, path)],
        "removes": plan.removes,
        "empties": plan.empties,
        "folders": sorted(
            folder
            for folder in {folder for path in plan.writes for folder in names.ancestors(path)}
            if look(root, folder) != (Kind.DIRECTORY, folder)
        ),
    }
    write_file(scratch / _STEPS, json.dumps(steps).encode())
    for folder in (scratch / "new", scratch / "old", scratch):
        sync_directory(folder)


def _apply(journal: Path, root: Path) -> None:
    steps = _read(journal, root)
    for number, path in _moves(steps):
        (root / path).rename(journal / "old" / str(number))
    for path in steps["folders"]:
        (root / path).mkdir()
    for number, path in enumerate(steps["writes"]):
        (journal / "new" / str(number)).rename(root / path)
    _sync(steps, journal, root)


def _roll_back(journal: Path, root: Path) -> None:
    """Undoes `_apply` from wherever it stopped, and itself from wherever it stopped.

    A file that was replaced is renamed over the new one and never missing once it is back; only a file that was
    not there before is removed, and only when it has left `new`.
    """
    steps = _read(journal, root)
    replaces = set(steps["replaces"])
    # In a second pass a directory may again be where a new file was, or a file where a new directory was.
    again = (FileNotFoundError, NotADirectoryError, IsADirectoryError)
    for number, path in enumerate(steps["writes"]):
        if path not in replaces and not (journal / "new" / str(number)).exists():
            with contextlib.suppress(*again):
                (root / path).unlink()
    for path in reversed(steps["folders"]):
        # Whatever someone else has put there since stays.
        with contextlib.suppress(OSError):
            (root / path).rmdir()
    for number, path in reversed(_moves(steps)):
        with contextlib.suppress(FileNotFoundError):
            (journal / "old" / str(number)).rename(root / path)
    # A full disk may refuse this too, and must not keep the old files from coming back.
    with contextlib.suppress(OSError):
        _sync(steps, journal, root)


def _moves(steps: dict[str, Any]) -> list[tuple[int, str]]:
    """What moves into `old`, under which number: files first, then the directories they leave, deepest first."""
    return list(enumerate([*steps["replaces"], *steps["removes"], *steps["empties"]]))


def _sync(steps: dict[str, Any], journal: Path, root: Path) -> None:
    """Puts every directory that the steps touch on the disk, before the journal is given up."""
    paths = [*steps["writes"], *steps["removes"], *steps["folders"], *steps["empties"]]
    parents = {root / path.rpartition("/")[0] for path in paths}
    for folder in sorted({*parents, journal / "old"}):
        if folder.is_dir():
            sync_directory(folder)


def _read(journal: Path, root: Path) -> dict[str, Any]:
    """The steps in the journal. Those of a stranger's repository could lead anywhere, so each is looked at."""
    try:
        if any(kind_of(folder) is not Kind.DIRECTORY for folder in (journal, journal / "new", journal / "old")):
            raise ValueError("it is not a directory with 'new' and 'old' in it")
        steps: dict[str, Any] = json.loads((journal / _STEPS).read_bytes())
        for path in [path for key in _KEYS for path in steps[key]]:
            if not isinstance(path, str) or (path != MANIFEST_FILE and not names.is_valid(path)):
                raise ValueError(f"{path!r} is not a valid path in a repository")
            if look(root, path)[0] is Kind.LINK:
                raise ValueError(f"{path} leads through a symbolic link")
    except (ValueError, TypeError, KeyError, FileNotFoundError) as error:
        message = f"the journal of an unfinished change cannot be read: {error}"
        hint = f"restore the repository from version control, and remove {os.fspath(journal)}"
        raise ProblemsError([Problem("TK410", Place(str(journal)), "", message, hint)]) from error
    return steps
