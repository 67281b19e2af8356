"""`tritonkit copies`: where the bytes of a request are copied on their way through a pipeline."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from tritonkit.cli.graphs import Length

if TYPE_CHECKING:
    from generator.copies import Report
    from generator.resolve import Resolved

_CHARTS = (".svg", ".png", ".pdf")
_COLUMNS = ("tensor", "model", "from", "to", "by", "bytes")


@click.command("copies")
@click.argument("spec", metavar="SPEC", type=click.Path(path_type=Path))
@click.option("--target", help="On this target; else the spec's first.")
@click.option("--layout", type=click.Choice(["ensemble", "fused", "folded"]), help="In this layout; else the spec's.")
@click.option(
    "--protocol", type=click.Choice(["grpc", "http", "system-shm", "cuda-shm"]), default="grpc", show_default=True,
    help="How the client sends its tensors.",
)  # fmt: skip
@click.option("--batch", type=click.IntRange(1, 65536), default=1, show_default=True, help="Items in a request.")
@click.option(
    "--requests", type=click.IntRange(1, 65536), default=1, show_default=True, help="Requests in one execution."
)
@click.option(
    "--instances", type=click.IntRange(1, 65536), default=1, show_default=True,
    help="With `process: shared`: instances whose batches the engine process runs as one.",
)  # fmt: skip
@click.option(
    "--length", "lengths", type=Length(), multiple=True, metavar="TENSOR=N",
    help="Length of a tensor's variable axes; of text the bytes of one element.",
)  # fmt: skip
@click.option("--chart", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE.svg", help="Draw it.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def command(
    spec: Path, target: str | None, layout: Literal["ensemble", "fused", "folded"] | None, protocol: Any, batch: int,
    requests: int, instances: int, lengths: tuple[tuple[str, int], ...], chart: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Show every tensor at every hop of a request: where it lies, who copies it, how many bytes.

    From the client to the front end, into and out of the Python processes and engines, and back. It is derived from
    the pipeline, nothing is run; docs/reference/copies.md has the rules and what was seen of them. What the
    arithmetic itself reads and writes is no copy.
    """
    from generator.copies import Sizes, copies_of
    from generator.problems import UserError
    from tritonkit.cli.output import print_json

    if chart is not None and chart.suffix.lower() not in _CHARTS:
        raise click.UsageError(f"--chart {chart} ends in none of {', '.join(_CHARTS)}")
    if chart is not None and not chart.parent.is_dir():
        raise UserError(f"{chart} cannot be written: there is no folder {chart.parent}")
    plan = _resolved(spec, target, layout).plan
    if (plan.max_batch_size and batch * requests > plan.max_batch_size) or (not plan.max_batch_size and batch > 1):
        raise UserError(
            f"{batch} x {requests} items are more than one execution of `{plan.name}` takes: max_batch_size is "
            f"{plan.max_batch_size}", "ask for fewer by --batch and --requests",
        )  # fmt: skip
    if protocol == "cuda-shm" and plan.target.gpu is None:
        raise UserError(f"target `{plan.target.name}` has no GPU for --protocol cuda-shm", "use system-shm")
    report = copies_of(plan, protocol, Sizes(batch, requests, instances, dict(lengths)))
    known = {hop.tensor for hop in report.hops}
    if unknown := sorted({name for name, _ in lengths} - known):
        raise UserError(f"no tensor is called `{unknown[0]}`; there are {', '.join(sorted(known))}")
    if chart is not None:
        from generator.copies.chart import draw
        from tritonkit.cli.output import say

        draw(report, chart)
        say(f"{chart} is written")
    if as_json:
        print_json(_plain(report))
    else:
        _show(report)


def _resolved(spec: Path, target: str | None, layout: Literal["ensemble", "fused", "folded"] | None) -> Resolved:
    """Raises ProblemsError."""
    from generator.project import Project
    from generator.workspace import open_workspace

    project = Project.find()
    work = open_workspace(project, (spec,), target, first_only=True)
    work.stop_on_errors()
    [resolved] = next(iter(work.resolved.values()))
    if layout is None:
        return resolved
    from generator.resolve.other_layout import in_layout

    return in_layout(resolved.spec, resolved.plan, layout, project)


def _show(report: Report) -> None:
    from generator.copies import RULES
    from tritonkit.cli.output import make_table, print_line, print_table

    sizes = report.sizes
    of_one = sizes.items * sizes.requests
    items = f"{of_one} {'item' if of_one == 1 else 'items'} in {sizes.requests} " + (
        "request" if sizes.requests == 1 else "requests"
    )
    run = "one execution"
    if sizes.instances > 1:
        run = f"in each of {sizes.instances} instances, whose batches are run as one"
    print_line(f"{report.pipeline}, target {report.target}, {report.protocol}: {items}, {run}", 2)
    click.echo()
    rows = [
        (hop.tensor, hop.model, hop.source, hop.to, hop.by + ("" if hop.is_seen else " *"),
         (f"{hop.copied_bytes:,}" if hop.copied_bytes else "no copy")
         + (f" in {hop.times}" if hop.copied_bytes and hop.times > 1 else "") + (" w" if hop.waits else ""))
        for hop in report.hops
    ]  # fmt: skip
    print_table(make_table(_COLUMNS, rows, right={"bytes"}, breaks={"tensor", "model", "by"}))
    click.echo()
    each = report.copied_bytes / report.items
    print_line(f"{report.copies} copies of {report.copied_bytes:,} bytes in all, {each:,.0f} an item", 2)
    least = report.least_bytes / report.items
    print_line(
        f"the least possible: {report.least_copies} of {report.least_bytes:,}, {least:,.0f} an item "
        "(over the socket once, to a GPU and back once, nothing in between)", 2,
    )  # fmt: skip
    if report.waits:
        print_line(f"w  the host waits for the GPU: {report.waits} times", 3)
    if any(not RULES[hop.rule].is_seen for hop in report.hops):
        print_line("*  read in the source, not seen in a running server (docs/reference/copies.md)", 3)
    for line in report.assumptions:
        print_line(f"assumed: {line}; `--length` says another", 9)
    for line in report.unknown:
        print_line(f"unknown: {line}", 9)


def _plain(report: Report) -> dict[str, Any]:
    from dataclasses import asdict

    from generator.copies import RULES

    hops = [{**asdict(hop), "why": RULES[hop.rule].title, "seen": hop.is_seen} for hop in report.hops]
    return {
        **asdict(report), "hops": hops, "items": report.items, "copies": report.copies,
        "copied_bytes": report.copied_bytes, "waits": report.waits,
    }  # fmt: skip
