"""`tritonkit deploy status`: what runs of a release."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from tritonkit.cli.deploy_options import cluster_options, json_option, release_options

if TYPE_CHECKING:
    from deploy.release.status import Status


@click.command("status")
@release_options
@cluster_options
@json_option
def command(as_json: bool, **options: Any) -> int:
    """Show what runs of the release of SPECs (default: all in specs/), and what is not ready and why.

    Exit status: 0 all of it is ready, 1 it is not, or there is none.
    """
    from deploy.release.preflight import reachable
    from deploy.release.state import installed
    from deploy.release.status import status_of
    from tritonkit.cli.deploy_options import connected, name_of
    from tritonkit.cli.output import print_json
    from tritonkit.cli.signals import terminate_as_interrupt

    with terminate_as_interrupt():
        name = name_of(options["specs"], options["target"], options["release"])
        cluster = connected(options)
        reachable(cluster)
        status = status_of(cluster, installed(cluster, name))
    if as_json:
        print_json(status.as_json(cluster))
    else:
        _show(status)
    return 0 if status.is_fine else 1


def _show(status: Status) -> None:
    from tritonkit.cli.output import make_table, print_line, print_table

    print_line(f"{status.state.name}: {status.state.sentence}; {status.rollout.sentence}")
    if status.rollout.failed:
        print_line(f"the rollout will not go on: {status.rollout.failed}")
    if status.pods:
        rows = [[pod.name, pod.node or "-", str(pod.restarts), pod.why or "ready"] for pod in status.pods]
        click.echo()
        print_table(make_table(["pod", "node", "restarts", "state"], rows, right={"restarts"}, breaks={"state"}))
    click.echo()
    for title, lines in (
        ("endpoint", status.endpoints), ("autoscaler", [status.autoscaler]), ("evictions", [status.budget]),
    ):  # fmt: skip
        for line in lines:
            if line:
                print_line(f"{title:12}{line}", hang=12)
