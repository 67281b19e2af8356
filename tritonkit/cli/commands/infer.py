"""`tritonkit infer`: files to a pipeline, answers out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tritonkit.cli.parameters import Seconds, Version

if TYPE_CHECKING:
    from tritonkit import Answer


@click.command("infer")
@click.argument("pipeline")
@click.argument("given", nargs=-1, required=True, metavar="FILE...|INPUT=VALUE...")
@click.option("--protocol", type=click.Choice(["grpc", "http"]), default="grpc", show_default=True,
              help="How to talk to the server.")  # fmt: skip
@click.option("--address", metavar="HOST:PORT", help="A server; else the one that `tritonkit serve` runs here.")
@click.option("--version", type=Version(), help="This version; else the newest that is served.")
@click.option("--deadline", "deadline_s", type=Seconds(), default=10.0, show_default=True,
              help="How long one item may take.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the answers as JSON.")
def command(
    pipeline: str, given: tuple[str, ...], protocol: str, address: str | None, version: str | None,
    deadline_s: float, as_json: bool,
) -> None:  # fmt: skip
    """Send FILEs to PIPELINE, one request each, and print the answers; exit 1 if any failed.

    A pipeline of several inputs gets one request of INPUT=VALUE for each, as in `image=seven.png text="hello there"`.
    A VALUE that names a file, or ends as a file's name does, is read (an array from a .npy file); anything else is
    text, and INPUT==TEXT is text in any case.
    """
    from tritonkit import Pipeline
    from tritonkit.cli import servers
    from tritonkit.cli.named_inputs import item_of, one_input, split
    from tritonkit.cli.output import print_json

    spoken: servers.Protocol = "http" if protocol == "http" else "grpc"
    server = servers.find(address, spoken)
    with (
        servers.naming_the_known(server, pipeline),
        Pipeline(pipeline, server.address, protocol=spoken, deadline_s=deadline_s, version=version) as client,
    ):
        named = split(given, [tensor.name for tensor in client.contract.inputs])
        if named is None:
            one_input(client.contract)
            answers = client.infer(map(Path, given))
        else:
            answers = [replace(client.infer_one(item_of(client.contract, named)), source=" ".join(given))]
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
