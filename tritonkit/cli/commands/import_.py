"""`tritonkit import`: an existing model repository becomes specs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tritonkit.cli.parameters import Release

if TYPE_CHECKING:
    from generator.adopt.adopt import Adopted
    from generator.project import Project


@click.command("import")
@click.argument("repository", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Where the specs go (default: specs/ of the project).")
@click.option("--target", help="The target that they are for (default: the name of REPOSITORY).")
@click.option("--server", type=Release(embedded=False), metavar="YY.MM", help="The Triton release of that target.")
@click.option("--gpu", metavar="NAME", help="The GPU of that target (default: `any`, if a model wants one).")
@click.option("--force", is_flag=True, help="Replace specs and model folders of the same names.")
@click.option("--json", "as_json", is_flag=True, help="Print what became what as JSON.")
def command(
    repository: Path, out: Path | None, target: str | None, server: str | None, gpu: str | None,
    force: bool, as_json: bool,
) -> None:  # fmt: skip
    """Write specs that render to what the model repository REPOSITORY says.

    An ensemble and its models become one spec, any other model one of its own. What a spec has no name for stands
    under `config`. Files beside the configurations are copied to models/; inside the project they stay where they
    are, and the specs name them there.

    Before anything is written it is checked that every configuration comes back as it is. If one does not, or cannot
    be read, nothing is written, and the exit status is 1.
    """
    from generator.adopt.adopt import Where, adopt
    from generator.adopt.put import put
    from tritonkit.cli.output import say, show_problems, shown_path
    from tritonkit.cli.signals import terminate_as_interrupt

    project, specs = _project(out)
    adopted = adopt(repository, project, Where(_target(repository, target), server, gpu))
    with terminate_as_interrupt():
        files = put(adopted, project, specs, force=force)
    show_problems(adopted.notes)
    shown = {file.stem: shown_path(file) for file in files}
    if as_json:
        _print(adopted, shown)
    else:
        for name, draft in adopted.drafts.items():
            click.echo(f"{shown[name]}: {_became(draft.form, [m for m in draft.models if m != name])}")
    copied = f"{_counted(len(adopted.copies), 'file')} copied to models/" if adopted.copies else "no files copied"
    say(f"{_counted(len(files), 'spec')} for target `{adopted.target}`; {copied}")
    say(f"next: {_next(adopted.target, project, specs)}")


def _next(target: str, project: Project, specs: Path) -> str:
    """The command that renders what was written, from where the user is."""
    from shlex import quote

    from generator.project import NoProjectError, Project
    from tritonkit.cli.output import shown_path

    try:
        is_here = Project.find().root == project.root.resolve()
    except NoProjectError:
        is_here = False
    which = f"{quote(shown_path(specs))} " if specs.resolve() != project.specs.resolve() else ""
    render = f"tritonkit render {which}--target {target}"
    return render if is_here else f"cd {quote(shown_path(project.root))} && {render}"


def _became(form: str, others: list[str]) -> str:
    if others:
        how = "" if form == "flow" else ", without a flow"
        return f"an ensemble and its models {', '.join(others)}{how}"
    return "a model" if form == "model" else "a model, all of it under `config`"


def _counted(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def _print(adopted: Adopted, shown: dict[str, str]) -> None:
    from tritonkit.cli.output import print_json

    print_json({
        "target": adopted.target,
        "specs": [
            {"file": shown[name], "pipeline": name, "form": draft.form, "models": list(draft.models)}
            for name, draft in adopted.drafts.items()
        ],
        "copied": list(adopted.copies),
        "left": [{"code": p.code, "place": str(p.place), "message": p.message} for p in adopted.notes],
    })  # fmt: skip


def _project(out: Path | None) -> tuple[Project, Path]:
    """The project, and the folder of its specs. A folder `specs` that is yet to be makes one."""
    from generator.project import NoProjectError, Project

    if out is not None and out.resolve().name == "specs":
        return Project(out.resolve().parent), out
    try:
        project = Project.find()
    except NoProjectError:
        if out is not None:
            raise
        project = Project(Path.cwd())
    return project, project.specs if out is None else out


def _target(repository: Path, target: str | None) -> str:
    """The target's name, from the repository's where none is given."""
    from pydantic import TypeAdapter, ValidationError

    from generator.problems import UserError
    from generator.spec.base import Key

    name = target or repository.resolve().name
    try:
        return TypeAdapter(Key).validate_python(name)
    except ValidationError as error:
        raise UserError(
            f"`{name}` cannot be the name of a target",
            "name it with --target: at most 64 letters, digits, `_` and `-`, beginning with a letter or digit",
        ) from error
