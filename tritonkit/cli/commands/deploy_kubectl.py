"""`tritonkit deploy kubectl`: plain manifests."""

from __future__ import annotations

from typing import Any

import click

from tritonkit.cli.deploy_options import json_option, kube_version_option, release_options, values_options


@click.command("kubectl")
@release_options
@values_options
@kube_version_option
@json_option
def command(as_json: bool, **options: Any) -> None:
    """Print the release of SPECs (default: all in specs/) as plain manifests, for `kubectl apply -f -`.

    They are the chart's objects in their namespace (default: `default`), without what only Helm reads. No Secret is
    printed: the command that makes it is told on standard error.
    """
    from tritonkit.cli.commands.deploy_render import show_manifests

    show_manifests(options, as_json=as_json, bare=True)
