"""`tritonkit lint`: everything that is wrong with specs and repositories, without a server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tritonkit.cli.parameters import Release

if TYPE_CHECKING:
    from generator.lint.run import Linted
    from generator.problems import Problem


class _Path(click.Path):
    """A path; not an empty one, which would be the current directory (`lint "$UNSET"`)."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Raises UsageError."""
        if value == "":
            self.fail("a path is empty; the current directory is `.`", param, ctx)
        return super().convert(value, param, ctx)


@click.command("lint")
@click.argument("paths", nargs=-1, metavar="[PATH]...", type=_Path(path_type=Path))
@click.option("--server", type=Release(), help="Judge for this release (24.10 to 26.10), or for the embedded server.")
@click.option("--backends", metavar="A,B", help="The backends that it has; else those of NVIDIA's image.")
@click.option("--gpus", type=click.IntRange(0, 1024), metavar="N", help="How many GPUs its machine has.")
@click.option("--gpu", default="", metavar="NAME", help="Which kind they are, as in `h200`.")
@click.option("--cores", type=click.IntRange(1, 65536), metavar="N", help="How many cores its machine has.")
@click.option("--disable-auto-complete-config", "complete", flag_value=False, default=None, type=bool,
              help="The server is started with that flag.")  # fmt: skip
@click.option("--model-config-name", "config_name", default="", metavar="NAME", help="The server is started with it.")
@click.option("--cuda-memory-pool-byte-size", "pool", type=click.IntRange(0), metavar="BYTES",
              help="The server is started with it, per GPU.")  # fmt: skip
@click.option("--select", multiple=True, metavar="CODE,...", help="Tell these alone; TK6 is all that begin so.")
@click.option("--ignore", multiple=True, metavar="CODE,...", help="Do not tell these.")
@click.option("--format", "form", type=click.Choice(["text", "json", "github", "sarif"]), default="text",
              show_default=True, help="How problems are printed.")  # fmt: skip
@click.option("--fix", "mode", flag_value="fix", help="Show what is safe to mend as a diff, ask, and mend it.")
@click.option("--diff", "mode", flag_value="diff", help="Show that diff and change nothing; exit 1 if there is one.")
@click.option("--yes", is_flag=True, help="With --fix: do not ask.")
@click.option("--show-completed", "mode", flag_value="completed", help="Print what the server adds to each model.")
def command(
    paths: tuple[Path, ...], server: str | None, backends: str | None, gpus: int | None, gpu: str, cores: int | None,
    complete: bool | None, config_name: str, pool: int | None, select: tuple[str, ...], ignore: tuple[str, ...],
    form: str, mode: str | None, yes: bool,
) -> None:  # fmt: skip
    """Check each PATH as the server would: specs, config.pbtxt files, models, repositories (default: specs/).

    A PATH is a spec, a folder of specs, a model repository, a model's directory (which sees the models beside it), a
    config.pbtxt, or a folder of repositories. Repositories named together are one server's; those below one folder,
    and those rendered for different targets, are judged each by itself.

    Without --server, a repository that tritonkit rendered is judged for its target, any other for the newest release.
    A comment `# tritonkit: ignore[CODE] because REASON` leaves a problem untold; `tritonkit explain CODE` says more
    of it. Exit status: 0 no errors, 1 errors, 2 ours.
    """
    import gc

    from generator.lint.paths import Asked
    from generator.lint.run import lint
    from generator.lint.select import Selection
    from generator.problems import errors
    from tritonkit.cli.output import say

    if yes and mode != "fix":
        raise click.UsageError("--yes is for --fix")
    if form not in {"diff": ("text",), "completed": ("text", "json")}.get(mode or "", (form,)):
        raise click.UsageError(f"--format {form} is for problems, which this does not print")
    gc.disable()  # a short life: what is made here is kept to the end, and looking for garbage takes half of the time
    asked = Asked(server, _listed(backends), gpus, cores, complete, config_name, pool, gpu)
    selection = Selection.of(select, ignore)
    linted = lint(paths, asked)
    problems = selection.of_problems(linted.problems)
    if mode == "completed":
        _show_completed(linted, as_json=form == "json")
        return
    if mode is not None:
        from tritonkit.cli import mending

        if mode == "diff":
            click.get_current_context().exit(int(mending.show(linted, problems)))
        if mending.mend(linted, problems, ask=not yes):
            linted = lint(paths, asked)
            problems = selection.of_problems(linted.problems)
    _show(problems, form)
    if form == "text" and not problems:
        say(f"checked {linted.looked_at} {'file' if linted.looked_at == 1 else 'files'}: nothing found")
    if form == "text" and mode is None and any(checked.edits for checked in linted.checked):
        _tell_of_mends(linted, problems)
    if errors(problems):
        click.get_current_context().exit(1)


def _listed(names: str | None) -> frozenset[str] | None:
    return None if names is None else frozenset(name.strip() for name in names.split(",") if name.strip())


def _show(problems: list[Problem], form: str) -> None:
    from tritonkit.cli.output import show_problems, with_shown_paths

    if form != "sarif":
        show_problems(problems, form)
        return
    from generator.lint.sarif import render_sarif
    from tritonkit.cli.group import VERSION

    click.echo(render_sarif(with_shown_paths(problems), VERSION), nl=False)


def _tell_of_mends(linted: Linted, problems: list[Problem]) -> None:
    from generator.lint.mend import mends_of
    from tritonkit.cli.output import say

    count = sum(len(mend.mended) for mend in mends_of(linted.checked, problems).files)
    if count:
        say(f"{count} can be mended by `--fix`")


def _show_completed(linted: Linted, *, as_json: bool) -> None:
    """What the server adds to each model that is judged and can be read: data, so on standard output."""
    from generator.lint.completion import completions
    from generator.problems import UserError, errors
    from tritonkit.cli.output import print_json, printable, say, show_problems, shown_path

    models = [checked.models[name] for checked in linted.checked for name in checked.judged]
    found = {shown_path(model.file): completions(model) for model in models if model.is_complete}
    if not found:
        if wrong := errors(linted.problems):
            show_problems(wrong)
            click.echo(err=True)
            raise UserError("nothing can be completed before these errors are mended")
        raise UserError("there is no model that could be completed", "give a repository; specs are rendered to some")
    for model in models:
        if not model.is_complete:
            say(f"{shown_path(model.file)} is left out: mend first what `tritonkit lint` says of it")
    if as_json:
        entries = {file: [entry._asdict() for entry in added] for file, added in found.items()}
        print_json([{"file": file, "completed": added} for file, added in entries.items()])
        return
    for file, added in found.items():
        click.echo(printable(f"{file}: {'' if added else 'nothing is added'}".rstrip()))
        for entry in added:
            click.echo(printable(f"  {entry.field}: {entry.value}  ({entry.why})"))
