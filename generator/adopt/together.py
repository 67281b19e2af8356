"""Files and folders that take their places together: all of them, or on an error or an interrupt none."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from generator.problems import UserError
from generator.write.target import parents_made, remove_quietly


@dataclass(frozen=True)
class _Move:
    """Where something is to stand, where it is built, and where what stood there before waits until all is done."""

    final: Path
    new: Path
    old: Path


@contextmanager
def together(finals: Sequence[Path]) -> Iterator[Mapping[Path, Path]]:
    """Yields where each of `finals` is to be built; at the end all of them take their places.

    Each is built in a hidden folder beside its place, so that a rename puts it there. How far that has come is told
    by what is on the disk, never by what was noted: an interrupt may come between a rename and any note of it.
    Raises OSError, and UserError where what stood there could not be put back: it is kept, and named.
    """
    stages = {final.parent: final.parent / f".import-{secrets.token_hex(4)}" for final in finals}
    moves = [
        _Move(final, stages[final.parent] / "new" / final.name, stages[final.parent] / "old" / final.name)
        for final in finals
    ]
    with ExitStack() as parents:
        for final in finals:
            parents.enter_context(parents_made(final))
        is_built = is_done = False
        try:
            for stage in stages.values():
                for folder in (stage, stage / "new", stage / "old"):
                    folder.mkdir()
            yield {move.final: move.new for move in moves}
            is_built = True
            for move in moves:
                if os.path.lexists(move.final):
                    move.final.rename(move.old)
                move.new.rename(move.final)
            is_done = True
        finally:
            try:
                if is_built and not is_done:
                    _put_back(moves)
            finally:
                waits = {move.old.parent for move in moves if not is_done and os.path.lexists(move.old)}
                for stage in stages.values():
                    if stage / "old" not in waits:
                        remove_quietly(stage)


def _put_back(moves: Sequence[_Move]) -> None:
    """Undoes what has been done of `moves`, also when it is interrupted once. Raises UserError."""
    try:
        failed = _undo(moves)
    except KeyboardInterrupt:  # the second one: finish first
        failed = _undo(moves)
    if failed:
        kept = ", ".join(f"{move.final} ({error.strerror})" for move, error in failed.items())
        raise UserError(
            f"the import failed, and this could not be put back: {kept}",
            "what stood there is kept: move " + ", ".join(f"{move.old} to {move.final}" for move in failed),
        )


def _undo(moves: Sequence[_Move]) -> dict[_Move, OSError]:
    """One pass over all of them, which may follow one that did not get to its end; what failed.

    All was built before the first rename, so what is no longer where it was built stands in its final place.
    """
    failed = {}
    for move in reversed(moves):
        try:
            if not os.path.lexists(move.new) and os.path.lexists(move.final):
                move.final.rename(move.new)
            if os.path.lexists(move.old):
                move.old.rename(move.final)
        except OSError as error:
            failed[move] = error
    return failed
