"""`tritonkit inspect`: what is in an ONNX file, and what an engine or a precision would trip over."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tritonkit.cli.graphs import Graph, Length

if TYPE_CHECKING:
    from generator.engine.inspect import Inspection, Layer, Suspicion

_TOP = 10
_WIDE = ("layer", "operator", "output", "operations", "share", "read", "written", "weights", "op/byte")
_NARROW = ("layer", "operator", "output", "op", "share", "moved", "op/byte")
_RIGHT = frozenset({*_WIDE, *_NARROW} - {"layer", "operator", "output"})
_ENGINES, _PRECISIONS = ("onnxruntime", "tensorrt", "inductor"), ("fp32", "tf32", "fp16", "bf16", "int8", "fp8")


@click.command("inspect")
@click.argument("path", metavar="FILE.onnx|SPEC", type=click.Path(path_type=Path))
@click.option(
    "--batch", type=click.IntRange(1, 1_000_000), metavar="N", help="Items; default: the spec's max, else 1."
)
@click.option("--length", "lengths", multiple=True, type=Length(), metavar="AXIS=N", help="Of another dynamic axis.")
@click.option("--engine", type=click.Choice(_ENGINES), help="Judge for it; default: the spec's, else onnxruntime.")
@click.option("--precision", type=click.Choice(_PRECISIONS), help="Judge for it; default: the spec's, else fp32.")
@click.option("--target", help="Of a spec: on this target; else its first.")
@click.option("--installed", is_flag=True, help="Of a spec: what was built, not what it is built of.")
@click.option("--layers", "every", is_flag=True, help="Show every layer, in order; else those with most operations.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def command(
    path: Path, batch: int | None, lengths: tuple[tuple[str, int], ...], engine: str | None, precision: str | None,
    target: str | None, installed: bool, every: bool, as_json: bool,
) -> None:  # fmt: skip
    """Show what is in an ONNX file: tensors, axes, weights, operations and bytes by layer, and what is suspicious.

    Of a spec it is the graph that each engine is made of on the target, with the steps that layout `folded` puts into
    it; with --installed it is the graph that was built of it, in its precision.

    Exit status: 0 fine, 1 if the engine would refuse the model, 2 ours.
    """
    from generator.problems import Severity
    from tritonkit.cli.graphs import graphs_of, of_each
    from tritonkit.cli.output import print_json

    graphs = graphs_of(path, target, engine, precision, installed=installed)
    looked = of_each(graphs, lambda graph: _look(graph, dict(lengths), batch))
    if as_json:
        print_json([_plain(graph, *found) for graph, found in zip(graphs, looked, strict=True)])
    for graph, (seen, suspicions) in zip(graphs, looked, strict=True) if not as_json else ():
        _show(graph, seen, every=every)
        _tell(graph, suspicions)
    if any(one.severity is Severity.ERROR for _, suspicions in looked for one in suspicions):
        click.get_current_context().exit(1)


def _look(graph: Graph, lengths: dict[str, int], batch: int | None) -> tuple[Inspection, list[Suspicion]]:
    """Raises StageError."""
    from generator.engine.errors import Finding, StageError
    from generator.engine.inspect import inspect, suspicious

    if graph.plan is not None:
        message = f"the engine of {graph.name} is no ONNX graph, so there is none of it to show"
        hint = "`tritonkit profile` times its layers; without --installed this shows what it was made of"
        raise StageError(Finding("TK901", message, hint))
    model = graph.read()
    seen = inspect(model, {**graph.lengths, **lengths}, batch or graph.batch)
    # What has been quantised already has in its graph which layers run in 8 bits, and none else will.
    is_quantised = graph.installed and seen.quantising_nodes > 0
    return seen, suspicious(model, graph.engine, "fp32" if is_quantised else graph.precision)


def _show(graph: Graph, seen: Inspection, *, every: bool) -> None:
    from tritonkit.cli.output import fits, make_table, print_line, print_table

    for line in graph.title():
        print_line(line, 11)
    for line in _facts(seen):
        print_line(f"  {line}", 11)
    shown = list(seen.layers) if every else sorted(seen.layers, key=lambda one: -(one.flops or 0))[:_TOP]
    what = "layers" if every else f"the {len(shown)} of {len(seen.layers)} layers with most operations"
    rows = [_row(layer, seen.flops) for layer in shown]
    for columns in (_WIDE, _NARROW):
        cells = [[row[column] for column in columns] for row in rows]
        table = make_table(columns, cells, right=_RIGHT, breaks={"layer", "output"}, title=what)
        if fits(table):
            break
    print_table(table)
    if any(layer.block for layer in shown):
        click.echo("* part of an attention")


def _facts(seen: Inspection) -> list[str]:
    from generator.engine.inspect.words import amount, size

    def tensors(values: Sequence[Any]) -> str:
        return ", ".join(f"{v.name} {v.dtype} [{', '.join(map(str, v.dims))}]" for v in values)

    held = ", ".join(f"{amount(w.values)} {word} ({size(w.bytes)})" for word, w in seen.weights.items())
    lines = [
        f"inputs   {tensors(seen.inputs)}",
        f"outputs  {tensors(seen.outputs)}",
        "axes     " + (", ".join(f"{name} ({'batch' if name in seen.batch else 'dynamic'})" for name in seen.axes)
                       or "all fixed"),
        f"made     {', '.join(f'{k} opset {v}' for k, v in seen.opsets.items())}, IR version {seen.ir_version}"
        + (f", by {seen.producer}" if seen.producer else ""),
        f"size     {size(seen.size_bytes)}; weights: {held or 'none'}",
    ]  # fmt: skip
    at = ", ".join(f"{name}={length}" for name, length in seen.lengths.items()) or "its fixed lengths"
    lines.append(f"work     {amount(seen.flops)} operations, {size(seen.moved_bytes)} moved by all layers, at {at}")
    if seen.quantising_nodes:
        lines.append(f"quant.   {seen.quantising_nodes} QuantizeLinear and DequantizeLinear are no layers of their "
                     "own: what is between them counts in its bits")  # fmt: skip
    if seen.uncounted:
        named = ", ".join(f"{one.name} ({one.op_type})" for one in seen.uncounted[:3])
        lines.append(f"unknown  of {len(seen.uncounted)} layers not all is known, and the sums lack it: {named}"
                     + (", ..." if len(seen.uncounted) > 3 else ""))  # fmt: skip
    if seen.free_axes:
        asked = " ".join(f"--length {name}=N" for name in seen.free_axes)
        lines.append(f"         a length is missing: `{asked}` gives it")
    return lines


def _row(layer: Layer, total: int) -> dict[str, str]:
    """What the table says of a layer, by column."""
    from generator.engine.inspect.words import amount, size

    shape = "unknown" if layer.shape is None else "x".join("?" if d is None else str(d) for d in layer.shape)
    return {
        "layer": layer.name, "operator": layer.op_type + (" *" if layer.block else ""), "output": shape,
        "operations": amount(layer.flops), "op": amount(layer.flops),
        "share": f"{layer.flops / total:.0%}" if layer.flops is not None and total else "-",
        "read": size(layer.read_bytes), "written": size(layer.written_bytes), "weights": size(layer.weight_bytes),
        "moved": size(layer.moved_bytes), "op/byte": "-" if layer.intensity is None else f"{layer.intensity:.3g}",
    }  # fmt: skip


def _tell(graph: Graph, suspicions: list[Suspicion]) -> None:
    """The findings: they are what was asked for, so on standard output."""
    from tritonkit.cli.output import print_line

    where = f"{graph.engine} in {graph.precision}"
    click.echo(f"\n{where}: {'nothing suspicious' if not suspicions else f'{len(suspicions)} found'}")
    for one in suspicions:
        print_line(f"  {one.severity.value}[{one.code}]: {one.message}", 4)
        if one.hint:
            print_line(f"    hint: {one.hint}", 10)
    click.echo()


def _plain(graph: Graph, seen: Inspection, suspicions: list[Suspicion]) -> dict[str, Any]:
    from dataclasses import asdict

    layers = [{**asdict(layer), "intensity": layer.intensity} for layer in seen.layers]
    return {
        **graph.to_json(), "engine": graph.engine, "precision": graph.precision,
        **asdict(seen), "layers": layers, "flops": seen.flops, "moved_bytes": seen.moved_bytes,
        "uncounted": [layer.name for layer in seen.uncounted], "findings": [asdict(one) for one in suspicions],
    }  # fmt: skip
