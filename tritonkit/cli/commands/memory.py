"""`tritonkit memory`: what a pipeline needs of memory at its limits, and the server's flags that follow."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tritonkit.cli.graphs import Length

if TYPE_CHECKING:
    from generator.memory import Memory
    from generator.plan import Plan

_COLUMNS = ("model", "instances", "full batch", "shared memory", "engine files")


@click.command("memory")
@click.argument("spec", metavar="SPEC", type=click.Path(path_type=Path))
@click.option("--target", help="On this target; else the spec's first.")
@click.option(
    "--length", "lengths", type=Length(), multiple=True, metavar="TENSOR=N",
    help="Length of a tensor's variable axes; of text the bytes of one element.",
)  # fmt: skip
@click.option(
    "--shm-mib",
    type=click.IntRange(1),
    metavar="N",
    help="What the pod or container has; less than needed is an error.",
)
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def command(
    spec: Path, target: str | None, lengths: tuple[tuple[str, int], ...], shm_mib: int | None, as_json: bool
) -> None:  # fmt: skip
    """Show what a pipeline needs of memory when every instance has a full batch, and the server's flags for it.

    Shared memory of the Python models, the pinned and the CUDA pool, and the engines' files; what no file says is
    named and not guessed. docs/reference/memory.md has the rules.
    """
    from generator.memory import memory_of
    from generator.problems import UserError
    from generator.project import Project
    from generator.workspace import open_workspace
    from tritonkit.cli.output import print_json

    project = Project.find()
    work = open_workspace(project, (spec,), target, first_only=True)
    work.stop_on_errors()
    [plan] = next(iter(work.plans.values()))
    found = memory_of(plan, project, dict(lengths))
    if as_json:
        print_json(_plain(plan, found))
    else:
        _show(plan, found)
    needed = found.shm_bytes >> 20
    if shm_mib is not None and needed > shm_mib:
        raise UserError(
            f"`{plan.name}` needs {needed} MiB of shared memory when every instance has a full batch; "
            f"there are {shm_mib}",
            f"give it as much (docker run --shm-size={needed}m), or fewer instances or smaller batches",
        )


def _mib(size: int) -> str:
    return f"{size / 2**20:.3g} MiB" if size else "-"


def _show(plan: Plan, found: Memory) -> None:
    from tritonkit.cli.output import make_table, print_line, print_table

    print_line(f"{plan.name}, target {plan.target.name}: a full batch in every instance", 2)
    click.echo()
    rows = [
        (m.model, str(m.instances), _mib(m.batch_bytes), _mib(m.instances * m.region_bytes),
         _mib(m.copies * m.file_bytes))
        for m in found.models
    ]  # fmt: skip
    print_table(make_table(_COLUMNS, rows, right={*_COLUMNS} - {"model"}, breaks={"model"}))
    click.echo()
    print_line(f"shared memory (/dev/shm) of the server's machine or pod: {_mib(found.shm_bytes)} at least")
    if found.pinned_pool_bytes or found.cuda_pool_bytes:
        print_line(
            f"pinned pool: {_mib(found.pinned_pool_bytes)}, CUDA pool of each GPU: {_mib(found.cuda_pool_bytes)}"
        )
    flags = found.flags()
    print_line("flags that the server needs" + (":" if flags else ": none, its defaults are enough"))
    for flag in flags:
        click.echo(f"  {flag}")
    for line in found.assumptions:
        print_line(f"assumed: {line}; `--length` says another", 9)
    for line in found.unknown:
        print_line(f"unknown: {line}", 9)


def _plain(plan: Plan, found: Memory) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "pipeline": plan.name, "target": plan.target.name, **asdict(found), "shm_bytes": found.shm_bytes,
        "file_bytes": found.file_bytes, "flags": found.flags(),
    }  # fmt: skip
