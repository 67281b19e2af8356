"""The whole of a run: look, lock, look again, carry out, report."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from generator.problems import Place, Problem, ProblemsError, Severity, errors
from generator.write import exchange, journal
from generator.write.failures import in_use, one_sentence_each
from generator.write.manifest import MANIFEST_FILE
from generator.write.plan import OwnerOf, Plan, make_plan
from generator.write.target import (
    cannot_write,
    lock_file_of,
    locked,
    must_stay_in_place,
    parents_made,
    remove_quietly,
    resolve,
    stage_of,
)

_ATTEMPTS = 3


@dataclass(frozen=True)
class WriteReport:
    """What a run has done. Paths are relative to `root`, sorted, and without the manifest."""

    root: Path
    written: tuple[str, ...] = ()  # new or changed
    unchanged: tuple[str, ...] = ()
    pruned: tuple[str, ...] = ()
    stale: tuple[str, ...] = ()  # generated once, no longer rendered, still there
    warnings: tuple[Problem, ...] = ()


def write(
    files: Mapping[str, bytes],
    root: str | Path,
    *,
    owner_of: OwnerOf,
    prune: bool = False,
    whole: bool = False,
    wait_s: float = 5.0,
) -> WriteReport:
    """Makes the repository `root` (created if need be) hold `files`, all of them or, on any error, none.

    `owner_of(path)` names the pipeline that a file was rendered for. `prune` removes generated files of the
    pipelines in `files` that are no longer rendered; with `whole`, which says that `files` is all that the repository
    should hold, also those of pipelines that are gone. Another run on the same repository is waited for, `wait_s`
    seconds. Nothing at all is touched when the repository is as rendered.

    Raises ProblemsError with everything that is wrong; the repository is then as it was.
    """
    base = resolve(root)

    def look() -> Plan:
        return make_plan(files, base, owner_of, prune=prune, whole=whole)

    with one_sentence_each(base):
        # Without the lock another run may be half-way, and only "all is as rendered" can be believed.
        with contextlib.suppress(OSError, ProblemsError):
            plan = look()
            if plan.is_empty and not errors(plan.problems) and not _has_leftovers(base):
                return _report(base, plan)
        with parents_made(base), locked(base, wait_s):
            remove_quietly(stage_of(base))
            journal.recover(base)
            for _ in range(_ATTEMPTS):
                plan = look()
                _refuse(plan, base)
                if plan.is_empty or _commit(plan, base):
                    return _report(base, plan)
    raise ProblemsError([in_use(base, f"{base} was changed by something else each time it was to be written")])


def _refuse(plan: Plan, base: Path) -> None:
    """Raises ProblemsError when `plan` must not be carried out, or cannot be."""
    touched = [path.rpartition("/")[0] for path in (*plan.writes, *plan.removes, *plan.empties)]
    problems = [*plan.problems, *(cannot_write(base, touched) if base.is_dir() else [])]
    if errors(problems):
        raise ProblemsError(problems)


def _commit(plan: Plan, base: Path) -> bool:
    """Carries out `plan`; False when someone else changed the repository meanwhile, and nothing was done."""
    if not must_stay_in_place(base):
        try:
            exchange.commit(plan, base)
        except exchange.ChangedMeanwhileError:
            return False
        except exchange.CannotExchangeError:
            pass
        else:
            return True
    journal.commit(plan, base)
    return True


def _has_leftovers(base: Path) -> bool:
    ours = (stage_of(base), lock_file_of(base), base / journal.SCRATCH, base / journal.JOURNAL)
    return any(os.path.lexists(path) for path in ours)


def _report(base: Path, plan: Plan) -> WriteReport:
    warnings = list(plan.problems)
    if os.path.lexists(stage_of(base)):
        message = f"{stage_of(base)}, the repository as it was before, could not be removed"
        place = Place(str(stage_of(base)))
        warnings.append(Problem("TK415", place, "", message, "remove it yourself", Severity.WARNING))
    return WriteReport(
        root=base,
        written=tuple(sorted(path for path in plan.writes if path != MANIFEST_FILE)),
        unchanged=tuple(sorted(plan.unchanged)),
        pruned=tuple(sorted(plan.removes)),
        stale=tuple(sorted(plan.stale)),
        warnings=tuple(warnings),
    )
