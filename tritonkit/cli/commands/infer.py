"""`tritonkit infer`: files to a pipeline, answers out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tritonkit.cli.parameters import Seconds, Version

if TYPE_CHECKING:
    from tritonkit import Answer


@click.command("infer")
@click.argument("pipeline")
@click.argument("files", nargs=-1, required=True, metavar="FILE...", type=click.Path(path_type=Path))
@click.option("--protocol", type=click.Choice(["grpc", "http"]), default="grpc", show_default=True,
              help="How to talk to the server.")  # fmt: skip
@click.option("--address", metavar="HOST:PORT", help="A server; else the one that `tritonkit serve` runs here.")
@click.option("--version", type=Version(), help="This version; else the newest that is served.")
@click.option("--deadline", "deadline_s", type=Seconds(), default=10.0, show_default=True,
              help="How long one item may take.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the answers as JSON.")
def command(
    pipeline: str, files: tuple[Path, ...], protocol: str, address: str | None, version: str | None,
    deadline_s: float, as_json: bool,
) -> None:  # fmt: skip
    """Send FILEs to PIPELINE, one request each, and print the answers; exit 1 if any failed."""
    from tritonkit import Pipeline
    from tritonkit.cli import servers
    from tritonkit.cli.output import print_json

    spoken: servers.Protocol = "http" if protocol == "http" else "grpc"
    server = servers.find(address, spoken)
    with (
        servers.naming_the_known(server, pipeline),
        Pipeline(pipeline, server.address, protocol=spoken, deadline_s=deadline_s, version=version) as client,
    ):
        answers = client.infer(map(Path, files))
    if as_json:
        print_json([_plain(answer) for answer in answers])
    else:
        for answer in answers:
            _show(answer)
    if not all(answer.ok for answer in answers):
        click.get_current_context().exit(1)


def _plain(answer: Answer) -> dict[str, Any]:
    error = None if answer.error is None else {"code": answer.error.code, "message": answer.error.message}
    return {
        "index": answer.index,
        "source": answer.source,
        "outputs": {name: value.tolist() for name, value in answer.outputs.items()},
        "error": error,
        "latency_us": answer.latency_us,
    }


def _show(answer: Answer) -> None:
    """One line an item: `seven.png: label 7 1 9, score 0.98 0.01 0.00`."""
    if answer.error is not None:
        click.echo(f"{answer.source}: {click.style('error', fg='red')}: {answer.error.message}", err=True)
        return
    shown = ", ".join(f"{name} {_values(value)}" for name, value in answer.outputs.items())
    click.echo(f"{answer.source}: {shown}")


def _values(array: Any) -> str:
    flat = array.reshape(-1).tolist()
    shown = " ".join(f"{v:.4g}" if isinstance(v, float) else str(v) for v in flat[:16])
    return shown + (f" … ({len(flat)} values)" if len(flat) > 16 else "")
