"""`tritonkit render`: specs become model repositories, or are compared with them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from generator.workspace import Tree, Workspace


@click.command("render")
@click.argument("specs", nargs=-1, metavar="[SPEC]...", type=click.Path(path_type=Path))
@click.option("--target", help="Only this target; else every target of each spec.")
@click.option("--out", type=click.Path(path_type=Path), help="Write there instead of model_repository/TARGET.")
@click.option("--check", "mode", flag_value="check", help="Write nothing; exit 1 if a repository is not as rendered.")
@click.option(
    "--diff", "mode", flag_value="diff", help="Write nothing; print the differences, exit 1 if there are any."
)
@click.option(
    "--show-plan", "mode", flag_value="show", help="Write nothing; print what each spec stands for in full."
)
@click.option("--prune", is_flag=True, help="Remove files rendered earlier that no spec renders now.")
@click.option("--self-contained", is_flag=True, help="Put the runtime into each model, for a stock server image.")
@click.option("--json", "as_json", is_flag=True, help="Print what was done, or the differences, as JSON.")
def command(
    specs: tuple[Path, ...], target: str | None, out: Path | None, mode: str | None,
    prune: bool, self_contained: bool, as_json: bool,
) -> None:  # fmt: skip
    """Render SPECs (default: all in specs/) to model_repository/<target>/."""
    from generator.lint.specs import checked_trees
    from generator.project import Project
    from generator.workspace import open_workspace
    from tritonkit.cli.output import show_problems

    project = Project.find()
    if out is not None and target is None:
        raise click.UsageError("--out is for one target: name it with --target")
    work = open_workspace(project, specs, target)
    work.stop_on_errors()
    if mode == "show":
        _show_plans(work)
        return
    trees = checked_trees(work, self_contained=self_contained)
    show_problems(work.problems)
    pairs = [(tree, out or project.repository(tree.target)) for tree in trees]
    if mode is None:
        _write(pairs, prune=prune, whole=not specs, as_json=as_json)
    elif _differ(pairs, mode, whole=not specs, as_json=as_json):
        click.get_current_context().exit(1)


def _show_plans(work: Workspace) -> None:
    from generator.resolve.show import as_yaml, full_spec

    found = [resolved for group in work.resolved.values() for resolved in group]
    full = [(full_spec(r.spec, r.expanded, r.plan), r.plan) for r in found]
    click.echo("---\n".join(as_yaml(spec, plan) for spec, plan in full), nl=False)


def _write(pairs: list[tuple[Tree, Path]], *, prune: bool, whole: bool, as_json: bool) -> None:
    from generator.write import write
    from tritonkit.cli.output import print_json, say, show_problems, shown_path

    reports = [
        (tree, write(tree.files, root, owner_of=tree.owners.__getitem__, prune=prune, whole=whole))
        for tree, root in pairs
    ]
    show_problems([problem for _, report in reports for problem in report.warnings])
    if as_json:
        print_json([
            {"target": tree.target, "repository": str(report.root), "written": report.written,
             "unchanged": report.unchanged, "pruned": report.pruned, "stale": report.stale}
            for tree, report in reports
        ])  # fmt: skip
        return
    for tree, report in reports:
        counts = f"{len(report.written)} written, {len(report.unchanged)} unchanged"
        counts += f", {len(report.pruned)} pruned" if report.pruned else ""
        say(f"{tree.target}: {shown_path(report.root)}: {counts}")
        if report.stale:
            models = ", ".join(sorted({path.partition("/")[0] for path in report.stale}))
            files = "file" if len(report.stale) == 1 else "files"
            say(f"  {len(report.stale)} {files} that no spec renders now stay (`--prune` removes them), in {models}")


def _differ(pairs: list[tuple[Tree, Path]], mode: str, *, whole: bool, as_json: bool) -> bool:
    """Prints the differences of all repositories; whether there are any."""
    from generator.write import check, diff
    from tritonkit.cli.output import print_json, printable, say, shown_path

    found = []
    stale = False
    for tree, root in pairs:
        differences = check(tree.files, root, owner_of=tree.owners.__getitem__, whole=whole)
        found.append({
            "target": tree.target, "repository": str(root),
            "differences": [{"path": d.path, "kind": d.kind.value} for d in differences],
        })  # fmt: skip
        stale = stale or any(d.kind.value == "stale" for d in differences)
        if as_json:
            continue
        if mode == "diff":
            click.echo(diff(tree.files, root, owner_of=tree.owners.__getitem__, whole=whole), nl=False)
        for difference in differences if mode == "check" else ():
            click.echo(printable(f"{difference.kind.value} {shown_path(root.resolve())}/{difference.path}"))
        if not differences:
            say(f"{tree.target}: {shown_path(root.resolve())} is as rendered")
    if as_json:
        print_json(found)
    differ = any(entry["differences"] for entry in found)
    if differ and mode == "check" and not as_json:
        say(f"`tritonkit render{' --prune' if stale else ''}` brings it up to date; `--diff` shows what differs")
    return differ
