"""`tritonkit deploy`: specs on a cluster, through the chart; and what runs there."""

from __future__ import annotations

import click

from tritonkit.cli.lazy import LazyGroup

# In the order of use; each is `tritonkit.cli.commands.deploy_<name>`.
COMMANDS = {
    "values": "Write the chart's values that follow from specs.",
    "render": "Print the manifests of a release.",
    "diff": "Show what a release would change on the cluster.",
    "apply": "Install or upgrade a release, and wait until it serves.",
    "status": "Show what runs of a release, and what is not ready and why.",
    "rollback": "Bring a release back to an earlier revision.",
    "delete": "Remove a release from the cluster.",
    "kubectl": "Print plain manifests, for clusters without Helm.",
    "image": "Build and run images: production and embedded.",
    "compose": "Write the files of docker compose: server, Prometheus, load generator.",
    "cost": "Say what a million inferences cost.",
}


@click.group("deploy", cls=LazyGroup, commands_by_name=COMMANDS, modules="tritonkit.cli.commands.deploy_")
def command() -> None:
    """Specs on a cluster: everything of a release follows from the plan and the objective.

    Nothing is changed on a cluster that is not local unless it is named (--context) and confirmed.
    """
