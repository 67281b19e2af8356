"""`tritonkit engines`: what has been built, and whether it is still what the specs ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from generator.engine.build.listing import Listed


@click.command("engines")
@click.option("--json", "as_json", is_flag=True, help="Print the list as JSON.")
@click.option("--check", is_flag=True, help="Exit 1 if any engine is missing, stale or damaged.")
@click.option("--target", help="Only the engines of this target.")
def command(as_json: bool, check: bool, target: str | None) -> None:
    """List the engines of the project, and whether each is what its spec asks for now."""
    from generator.engine.build.listing import listed
    from generator.problems import errors
    from generator.project import Project
    from generator.workspace import open_workspace
    from tritonkit.cli.output import print_json, show_problems

    project = Project.find()
    work = open_workspace(project, target=target)
    show_problems(work.problems)
    found = [one for one in listed(work) if target in {None, one.target}]
    if as_json:
        print_json([_as_json(one) for one in found])
    elif found:
        _show(found)
    if check and (errors(work.problems) or any(one.state in {"not built", "stale", "damaged"} for one in found)):
        click.get_current_context().exit(1)


def _as_json(one: Listed) -> dict[str, Any]:
    return {
        "target": one.target, "model": one.model, "version": one.version, "state": one.state, "why": one.why,
        "asked": one.asked, "engine": one.manifest,
    }  # fmt: skip


def _show(found: list[Listed]) -> None:
    """A table of one line each; in a narrow terminal by target, with what is wrong in lines below."""
    from tritonkit.cli.output import fits, make_table, print_table, printable

    columns = ("target", "model", "asked for", "built", "accuracy", "state")
    rows = [
        (one.target, f"{one.model} {one.version}", one.asked, _built(one), _accuracy(one),
         one.state + (f": {one.why}" if one.why else ""))
        for one in found
    ]  # fmt: skip
    wide = make_table(columns, rows, breaks=("state",))
    if fits(wide):
        print_table(wide)
        return
    narrow: list[tuple[str, ...]] = []
    for target in dict.fromkeys(one.target for one in found):
        narrow.append((target, "", "", ""))
        narrow += [
            (f"  {one.model} {one.version}", _built(one) or one.asked, _accuracy(one), one.state)
            for one in found if one.target == target
        ]  # fmt: skip
    print_table(make_table(("target, model", "engine", "accuracy", "state"), narrow, breaks=("target, model",)))
    for one in found:
        if one.why:
            click.echo(printable(f"{one.target}: {one.model} {one.version} is {one.state}: {one.why}"))


def _built(one: Listed) -> str:
    if one.manifest is None:
        return ""
    where = ", built elsewhere" if "elsewhere" in one.manifest else ""
    return f"{one.manifest['engine']} {one.manifest['precision']}{where}"


def _accuracy(one: Listed) -> str:
    metric = ((one.manifest or {}).get("accuracy") or {}).get("metric")
    return "" if not metric else f"{metric['name']} {metric['value']:.4f} (FP32 {metric['fp32']:.4f})"
