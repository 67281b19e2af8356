"""`tritonkit snippet`: a client call that works when pasted."""

from __future__ import annotations

import click

from tritonkit.cli.parameters import Version


@click.command("snippet")
@click.argument("pipeline")
@click.option("--curl", "form", flag_value="curl", help="For a shell.")
@click.option(
    "--python", "form", flag_value="python", default="python", help="For Python, with tritonclient (default)."
)
@click.option("--address", metavar="HOST:PORT", help="A server; else the one that `tritonkit serve` runs here.")
@click.option("--version", type=Version(), help="Of this version; else of the newest that is served.")
@click.option("--file", "example", default="image.png", show_default=True, help="The file that the call sends.")
def command(pipeline: str, form: str, address: str | None, version: str | None, example: str) -> None:
    """Print a call of PIPELINE that works when pasted."""
    from tritonkit import Pipeline
    from tritonkit.cli import servers
    from tritonkit.client.snippet import curl_snippet, python_snippet

    protocol: servers.Protocol = "http" if form == "curl" else "grpc"
    server = servers.find(address, protocol)
    with (
        servers.naming_the_known(server, pipeline),
        Pipeline(pipeline, server.address, protocol=protocol, version=version) as client,
    ):
        contract = client.contract
    made = curl_snippet if form == "curl" else python_snippet
    click.echo(made(contract, server.address, example, version), nl=False)
