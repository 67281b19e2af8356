"""An engine that was built elsewhere: for which job it is, and whether the spec has a place for such a file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from generator.engine.build.candidates.choices import choices
from generator.engine.build.candidates.compiling import Built
from generator.engine.build.elsewhere.brought import Brought, path_text, refusal
from generator.engine.build.elsewhere.face import face_of_graph
from generator.engine.build.jobs import Job
from generator.engine.compile.base import Profile
from generator.engine.errors import Finding, StageError
from generator.problems import UserError

if TYPE_CHECKING:
    import onnx


def one_of(jobs: Sequence[Job], given: str) -> tuple[Job, Path]:
    """The job and the file that `[MODEL[/VERSION]=]FILE` names. Raises UserError unless it is one job."""
    name, _, file = given.partition("=")
    if not given.rpartition("=")[2]:
        raise UserError("`--from` names no file", "say `--from FILE`, or `--from MODEL=FILE`")
    named = [job for job in jobs if name in {job.model.name, f"{job.model.name}/{job.version}"}]
    if not file or (not named and os.path.exists(given)):  # noqa: PTH110  (Path's raises for a name that is too long)
        name, file, named = "", given, list(jobs)
    if len(named) == 1:
        return named[0], Path(file)
    listed = "; ".join(job.title for job in named or jobs)
    if not jobs:
        raise UserError("no spec that was named has an engine", "name the spec whose engine the file is")
    if not named:
        raise UserError(f"there is no engine `{name}` to take a file for; there are: {listed}", "name one of them")
    hint = "name one: `SPEC --target TARGET --from MODEL=FILE`, or `MODEL/VERSION=FILE`"
    raise UserError(f"`--from` is for one engine, and {len(named)} were named: {listed}", hint)


def brought(job: Job, file: Path, model: onnx.ModelProto, profiles: Sequence[Profile], root: Path) -> Built:
    """The file in the place of what a compiler would have made of `model`. Raises StageError with all that is wrong.

    It has not been judged yet.
    """
    found = _no_place(job)
    if found is not None:
        raise StageError(found)
    [choice] = choices(job)
    try:
        if file.exists() and not file.is_file():  # a pipe, say, would be waited for
            raise StageError(refusal(f"{path_text(file)} is not an ordinary file"))
        data = file.read_bytes()
    except OSError as error:
        raise StageError(refusal(f"{path_text(file)} cannot be read: {error.strerror}")) from error
    one = Brought(job, choice, file, data, face_of_graph(model), profiles, root)
    if choice.engine == "tensorrt":
        from generator.engine.build.elsewhere.plan import checked_plan

        return checked_plan(one)
    from generator.engine.build.elsewhere.graph import checked_graph

    return checked_graph(one)


def _no_place(job: Job) -> Finding | None:
    """Why a spec has no place for a file from elsewhere."""
    program = job.program
    if program.asked == "auto":
        text = "`engine: auto` serves what was the fastest of the engines that were built and timed together here"
        return refusal(text, "name the engine and the precision of the file, as in `engine: tensorrt`")
    if program.engine == "inductor":
        return refusal("what Inductor compiled elsewhere cannot be judged and served")
    if not program.is_built:
        onnx_file = program.file_of(job.version).onnx
        text = f"in ONNX Runtime and fp32, {onnx_file} itself is served, and an engine has no place"
        return refusal(text, "name the file under `onnx:`, or say in which `precision` it is")
    return None
