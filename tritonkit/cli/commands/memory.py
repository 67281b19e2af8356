"""`tritonkit memory`: what pipelines need of memory at their limits, and the server's flags that follow."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tritonkit.cli.graphs import Length

if TYPE_CHECKING:
    from collections.abc import Sequence

    from generator.memory import GpuMemory, GpuPart, Memory
    from generator.plan import Plan

_COLUMNS = ("model", "instances", "full batch", "shared memory", "engine files", "buffers", "engine processes")
_POOL_COLUMNS = ("in the CUDA pool", "of", "times", "each", "together")
_GPU_COLUMNS = ("on the GPU", "of", "times", "each", "together", "from")
# Where a number comes from, in words.
_FROM = {"derived": "shapes", "file": "its file", "measured": "the build", "seen": "estimate"}


@click.command("memory")
@click.argument("specs", metavar="SPEC...", nargs=-1, required=True, type=click.Path(path_type=Path))
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
@click.option(
    "--gpu-mib", type=click.IntRange(1), metavar="N",
    help="What each GPU has; less than is known to be needed is an error.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def command(
    specs: tuple[Path, ...], target: str | None, lengths: tuple[tuple[str, int], ...], shm_mib: int | None,
    gpu_mib: int | None, as_json: bool,
) -> None:  # fmt: skip
    """Show what pipelines need of memory when every instance has a full batch, and the server's flags for it.

    Several SPECs are on one server and share its GPUs. Shared memory of the Python models, the pinned and the CUDA
    pool, the engines' files, and what lies on each GPU; what no file says is named and not guessed.
    docs/reference/memory.md has the rules.
    """
    from generator.config import model_configs
    from generator.memory import memory_of_all
    from generator.problems import UserError
    from generator.project import Project
    from generator.workspace import open_workspace
    from tritonkit.cli.output import print_json

    project = Project.find()
    work = open_workspace(project, specs, target, first_only=True)
    work.stop_on_errors()
    if len(work.plans) > 1:
        raise UserError(f"the specs are of several targets: {', '.join(work.plans)}", "name one: `--target NAME`")
    plans = next(iter(work.plans.values()))
    for plan in plans:
        model_configs(plan)  # which finds what cannot be counted in a spec's `config`, and says where it is
    found = memory_of_all(plans, project, dict(lengths))
    if as_json:
        print_json(_plain(plans, found))
    else:
        _show(plans, found)
    _stop_where_there_is_less(_names(plans), found, shm_mib, gpu_mib)


def _stop_where_there_is_less(names: str, found: Memory, shm_mib: int | None, gpu_mib: int | None) -> None:
    """Raises UserError."""
    from generator.problems import UserError

    needed = found.shm_bytes >> 20
    if shm_mib is not None and needed > shm_mib:
        raise UserError(
            f"{names} needs {needed} MiB of shared memory when every instance has a full batch; there are {shm_mib}",
            f"give it as much (docker run --shm-size={needed}m), or fewer instances or smaller batches",
        )
    for gpu in found.gpus():
        known = -(-gpu.known_bytes >> 20)
        if gpu_mib is not None and known > gpu_mib:
            raise UserError(
                f"{names} is known to need {known} MiB of GPU {gpu.number}; there are {gpu_mib}",
                "fewer instances or slots, or a smaller largest batch",
            )


def _names(plans: Sequence[Plan]) -> str:
    return ", ".join(f"`{plan.name}`" for plan in plans)


def _mib(size: int) -> str:
    return f"{size / 2**20:.3g} MiB" if size < 1000 << 20 and size else f"{size / 2**30:.3g} GiB" if size else "-"


def _show(plans: Sequence[Plan], found: Memory) -> None:
    from tritonkit.cli.output import make_table, print_line, print_table

    title = ", ".join(plan.name for plan in plans)
    print_line(f"{title}, target {plans[0].target.name}: a full batch in every instance", 2)
    click.echo()
    rows = [
        (m.model, str(m.instances), _mib(m.batch_bytes), _mib(m.instances * m.region_bytes),
         _mib(m.all_file_bytes), _mib(m.all_buffer_bytes), str(m.engine_processes or "-"))
        for m in found.models
    ]  # fmt: skip
    shared = any(m.engine_processes for m in found.models)
    columns = _COLUMNS if shared else _COLUMNS[:-1] if found.staging_bytes else _COLUMNS[:-2]
    rows_shown = [row[: len(columns)] for row in rows]
    print_table(make_table(columns, rows_shown, right={*columns} - {"model"}, breaks={"model"}))
    click.echo()
    print_line(f"shared memory (/dev/shm) of the server's machine or pod: {_mib(found.shm_bytes)} at least")
    if found.pinned_pool_bytes or found.cuda_pool_bytes:
        whose = "of each GPU" if len({*found.cuda_pools.values()}) < 2 else "of the GPU with the largest"
        print_line(f"pinned pool: {_mib(found.pinned_pool_bytes)}, CUDA pool {whose}: {_mib(found.cuda_pool_bytes)}")
    for gpu in found.gpus():
        _show_gpu(gpu)
    if found.pool_parts:
        _show_pools(found.pool_parts)
    flags = found.flags()
    print_line("flags that the server needs" + (":" if flags else ": none, its defaults are enough"))
    for flag in flags:
        click.echo(f"  {flag}")
    for line in found.assumptions:
        print_line(f"assumed: {line}; `--length` says another", 9)
    for line in found.estimates:
        print_line(f"estimated: {line}", 11)
    for line in found.unknown:
        print_line(f"unknown: {line}", 9)


def _show_gpu(gpu: GpuMemory) -> None:
    from tritonkit.cli.output import make_table, print_line, print_table

    click.echo()
    rows = [
        (part.what, part.model or "the server", str(part.count), _mib(part.each_bytes), _mib(part.size_bytes),
         _FROM[part.source])
        for part in gpu.parts
    ]  # fmt: skip
    print_table(make_table(_GPU_COLUMNS, rows, right={"times", "each", "together"}, breaks={"on the GPU", "of"}))
    print_line(f"GPU {gpu.number}: {_mib(gpu.known_bytes)} known to be needed")
    click.echo()


def _show_pools(parts: Sequence[GpuPart]) -> None:
    """What CUDA pools have to hold: the rest of their bytes is free."""
    from tritonkit.cli.output import make_table, print_table

    several = len({part.gpu for part in parts}) > 1
    rows = [
        (part.what + (f" (GPU {part.gpu})" if several else ""), part.model, str(part.count), _mib(part.each_bytes),
         _mib(part.size_bytes))
        for part in parts
    ]  # fmt: skip
    print_table(
        make_table(_POOL_COLUMNS, rows, right={"times", "each", "together"}, breaks={"in the CUDA pool", "of"})
    )
    click.echo()


def _plain(plans: Sequence[Plan], found: Memory) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "pipeline": ", ".join(plan.name for plan in plans), "target": plans[0].target.name, **asdict(found),
        "cuda_pool_bytes": found.cuda_pool_bytes,
        "shm_bytes": found.shm_bytes, "file_bytes": found.file_bytes, "staging_bytes": found.staging_bytes,
        "gpus": {str(gpu.number): gpu.known_bytes for gpu in found.gpus()}, "flags": found.flags(),
    }  # fmt: skip
