"""`tritonkit profile`: time by layer, what was fused into what, and what limits it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tritonkit.cli.graphs import SPEC_SUFFIXES, Graph, Length

if TYPE_CHECKING:
    from generator.engine.profile import LayerTime, Profile, Roofs

_TOP, _CHARTS, _ITSELF = 15, (".svg", ".png", ".pdf"), "itself"
_WIDE = ("layer", "operator", "computes", "ms", "share", "op/byte", "of roof", "limit")
_NARROW = tuple(column for column in _WIDE if column != "computes")
_RIGHT = frozenset({"ms", "share", "op/byte", "of roof"})


@click.command("profile")
@click.argument("path", metavar="FILE.onnx|SPEC", type=click.Path(path_type=Path))
@click.option(
    "--batch", type=click.IntRange(1, 1_000_000), metavar="N", help="Items; default: the spec's max, else 1."
)
@click.option("--length", "lengths", multiple=True, type=Length(), metavar="AXIS=N", help="Of another dynamic axis.")
@click.option("--runs", type=click.IntRange(1, 100_000), default=30, show_default=True, help="Runs that count.")
@click.option("--threads", type=click.IntRange(0, 1024), help="0: all cores; default: the spec's, else 0.")
@click.option("--target", help="Of a spec: on this target; else its first.")
@click.option(
    "--engine", type=click.Choice(["onnxruntime", "tensorrt"]),
    help="What runs it; default: onnxruntime, and TensorRT for a plan.",
)  # fmt: skip
@click.option("--installed", is_flag=True, help="Of a spec: what was built, not what it is built of.")
@click.option(
    "--chart", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE.svg", help="Draw it (one model)."
)
@click.option("--layers", "every", is_flag=True, help="Show every layer, in order; else those that take most time.")
@click.option("--nsys", is_flag=True, help="Print the command that records a server of SPEC in Nsight Systems.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def command(
    path: Path, batch: int | None, lengths: tuple[tuple[str, int], ...], runs: int, threads: int | None,
    target: str | None, engine: str | None, installed: bool, chart: Path | None, every: bool, nsys: bool,
    as_json: bool,
) -> None:  # fmt: skip
    """Time an ONNX file layer by layer on this machine, with random inputs.

    In ONNX Runtime on the CPU, with the two roofs (operations and bytes a second) that are measured right after; or
    in a TensorRT plan that is built of it here. The graph is run as it is; of a spec it is what each engine is made
    of on the target, in the file's own precision, or with --installed the engine that was built.
    """
    from generator.problems import UserError
    from tritonkit.cli.graphs import graphs_of, of_each
    from tritonkit.cli.output import print_json, progress
    from tritonkit.cli.signals import terminate_as_interrupt

    if chart is not None and chart.suffix.lower() not in _CHARTS:
        raise click.UsageError(f"--chart {chart} ends in none of {', '.join(_CHARTS)}")
    if chart is not None and not chart.parent.is_dir():
        raise UserError(f"{chart} cannot be written: there is no folder {chart.parent}")
    if nsys:
        click.echo(_nsys(path, target))
        return
    graphs = graphs_of(path, target, None, None, installed=installed)
    if engine == "onnxruntime" and (plans := [graph for graph in graphs if graph.plan is not None]):
        raise UserError(f"{plans[0].shown} is no ONNX file, so ONNX Runtime does not run it", "leave out --engine")
    if chart is not None and len(graphs) > 1:
        raise UserError(f"{path} has {len(graphs)} models, and a chart is of one", "name one of its ONNX files")
    count = threads if threads is not None else graphs[0].threads
    with terminate_as_interrupt(), progress("reading") as now:
        asked = _Asked(engine, dict(lengths), batch, runs, count)
        profiles = of_each(graphs, lambda graph: _profile(graph, asked, now))
        now("measuring the roofs")
        on_cpu = any(found.engine == "onnxruntime" for found in profiles)
        roofs = _roofs(count) if on_cpu else None
    if chart is not None:
        from generator.engine.profile.chart import draw
        from tritonkit.cli.output import say

        draw(profiles[0], roofs, chart, graphs[0].name)
        say(f"{chart} is written")
    if as_json:
        print_json([_plain(graph, found, roofs) for graph, found in zip(graphs, profiles, strict=True)])
        return
    for graph, found in zip(graphs, profiles, strict=True):
        _show(graph, found, roofs if found.engine == "onnxruntime" else None, every=every)


@dataclass(frozen=True)
class _Asked:
    engine: str | None
    lengths: Mapping[str, int]
    batch: int | None
    runs: int
    threads: int


def _nsys(path: Path, target: str | None) -> str:
    from generator.engine.profile.ranges import nsys_command
    from generator.project import Project
    from generator.workspace import open_workspace

    if path.suffix not in SPEC_SUFFIXES:
        raise click.UsageError("--nsys is about the server of a spec, not about an ONNX file")
    project = Project.find()
    work = open_workspace(project, (path,), target, first_only=True)
    work.stop_on_errors()
    where, plans = next(iter(work.plans.items()))
    from tritonkit.cli.output import shown_path

    return nsys_command(plans[0].name, shown_path(project.repository(where)))


def _roofs(threads: int) -> Roofs:
    from generator.engine.profile import measure_roofs

    return measure_roofs(threads).best(measure_roofs(threads))


def _profile(graph: Graph, asked: _Asked, now: Callable[[str], None]) -> Profile:
    """Raises StageError."""
    now(f"running {graph.name}")
    model = graph.read()
    lengths, batch = {**graph.lengths, **asked.lengths}, asked.batch or graph.batch
    if graph.plan is not None:
        from generator.engine.errors import Finding, StageError
        from generator.engine.profile.tensorrt_run import profile_plan

        if graph.engine != "tensorrt":
            message = f"layers of what {graph.engine} compiled cannot be timed"
            raise StageError(Finding("TK918", message, "leave out --installed"))
        data = graph.plan.read_bytes()
        return profile_plan(data, model, lengths, batch, runs=asked.runs, plugins=graph.plugins)
    if asked.engine == "tensorrt":
        from generator.engine.profile.tensorrt_run import profile_tensorrt

        return profile_tensorrt(model, lengths, batch, runs=asked.runs, progress=now)
    from generator.engine.profile import profile

    return profile(model, lengths, batch, runs=asked.runs, threads=asked.threads)


def _show(graph: Graph, found: Profile, roofs: Roofs | None, *, every: bool) -> None:
    from tritonkit.cli.output import fits, make_table, print_line, print_table

    for line in graph.title():
        print_line(line, 11)
    where = "ONNX Runtime on the CPU" if found.engine == "onnxruntime" else "TensorRT"
    print_line(f"  one run   {found.total_ms:.3f} ms, the median of {found.runs} in {where}; {_apart(found)}", 12)
    if roofs is not None:
        threads = f"{roofs.threads} {'thread' if roofs.threads == 1 else 'threads'}"
        flops, copied = f"{roofs.flops_per_s / 1e9:.3g} GFLOP/s", f"{roofs.bytes_per_s / 1e9:.3g} GB/s"
        measured = f"{flops} (a product of matrices), {copied} (a copy)"
        print_line(f"  roofs     {measured}, measured now with {threads} in FP32", 12)
        print_line(f"            from {roofs.ridge:.3g} operations a byte on, arithmetic is the limit", 12)
    fused = [row for row in found.rows if len(row.layers) > 1]
    print_line(f"  fused     {sum(len(row.layers) for row in fused)} nodes into {len(fused)}; {len(found.gone)} need "
               f"not run; {sum(not row.layers for row in found.rows)} added by the engine", 12)  # fmt: skip
    shown = list(found.rows) if every else sorted(found.rows, key=lambda row: -row.ms)[:_TOP]
    what = "layers" if every else f"the {len(shown)} of {len(found.rows)} layers that take most time"
    rows = [_row(row, found, roofs) for row in shown]
    for columns in (_WIDE, _NARROW):
        cells = [[row[column] for column in columns] for row in rows]
        table = make_table(columns, cells, right=_RIGHT, breaks={"layer", "computes"}, title=what)
        if fits(table):
            break
    print_table(table)
    if columns is _NARROW:  # what is fused is more than the table has room for
        for row in rows:
            if row["computes"] != _ITSELF:
                print_line(f"{row['layer']} computes {row['computes']}", 2)
    if roofs is not None:
        _explain(shown, roofs)
    click.echo()


def _apart(found: Profile) -> str:
    """What a run is beside its layers. An engine that times each layer runs slower than one that does not."""
    if found.outside_ms < 0:
        return f"timed one by one, its layers take {found.layers_ms:.3f} ms"
    return f"of it {found.outside_ms:.3f} ms outside of layers"


def _explain(shown: list[LayerTime], roofs: Roofs) -> None:
    """What two words of the table mean, where they are in it."""
    from generator.engine.profile.roofline import NEITHER_BELOW
    from tritonkit.cli.output import print_line

    if any(roofs.bound(row) == "neither" for row in shown):
        print_line(f"neither: it reaches less than {NEITHER_BELOW:.0%} of both roofs; starting a layer has its price")
    over = [row for row in shown if (roofs.of_roof(row) or 0) > 1]
    if over:
        eight = "it computes in 8 bits, " if any(row.op_type.startswith("Q") for row in over) else ""
        print_line(f"more than 100 % of a roof: {eight}its tensors stayed in the processor's caches, or the roofs "
                   "were measured in busier moments")  # fmt: skip


def _row(row: LayerTime, found: Profile, roofs: Roofs | None) -> dict[str, str]:
    """What the table says of a row, by column."""
    from generator.engine.inspect.words import listed

    reached = roofs.of_roof(row) if roofs is not None else None
    intensity = row.flops / row.moved_bytes if row.flops is not None and row.moved_bytes else None
    names = listed(list(row.layers)).replace("`", "") or "nothing of the graph"
    return {
        "layer": row.name, "operator": row.op_type, "computes": _ITSELF if row.layers == (row.name,) else names,
        "ms": f"{row.ms:.3f}", "share": f"{row.ms / found.layers_ms:.0%}" if found.layers_ms else "-",
        "op/byte": "-" if intensity is None else f"{intensity:.3g}",
        "of roof": "-" if reached is None else f"{reached:.0%}",
        "limit": roofs.bound(row) if roofs is not None else "-",
    }  # fmt: skip


def _plain(graph: Graph, found: Profile, roofs: Roofs | None) -> dict[str, Any]:
    from dataclasses import asdict

    rows = [asdict(row) for row in found.rows]
    if roofs is not None:
        rows = [{**asdict(row), "of_roof": roofs.of_roof(row), "bound": roofs.bound(row)} for row in found.rows]
    measured = asdict(roofs) if roofs is not None else None
    return {**graph.to_json(), **asdict(found), "rows": rows, "roofs": measured}
