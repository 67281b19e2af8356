"""`tritonkit deploy delete`: a release is taken off the cluster."""

from __future__ import annotations

from typing import Any

import click

from tritonkit.cli.deploy_options import cluster_options, json_option, release_options, yes_option
from tritonkit.cli.parameters import Seconds


@click.command("delete")
@release_options
@cluster_options
@click.option("--timeout", "timeout_s", type=Seconds(), default=300.0, show_default=True,
              help="How long pods may take to finish their requests.")  # fmt: skip
@yes_option
@json_option
def command(timeout_s: float, as_json: bool, **options: Any) -> int:
    """Remove the release of SPECs (default: all in specs/) and all its revisions; pods finish their requests first.

    Claims and the namespace stay. It also clears away what an installation that failed or was killed left behind.
    """
    from deploy.release.objects import objects_of
    from deploy.release.preflight import may_remove, reachable
    from deploy.release.remove import removal_of, remove
    from deploy.release.state import installed
    from tritonkit.cli.deploy_options import confirmed, connected, name_of, named
    from tritonkit.cli.output import print_json, progress, say, seldom
    from tritonkit.cli.signals import terminate_as_interrupt

    with terminate_as_interrupt():
        name = name_of(options["specs"], options["target"], options["release"])
        cluster = connected(options)
        named(cluster, options)
        reachable(cluster)
        state = installed(cluster, name)
        removal = removal_of(cluster, state)
        may_remove(cluster, objects_of(cluster.helm.manifest(name)))
        say(f"{name} ({state.sentence}): {', '.join(map(str, removal.goes))} are removed")
        for line in removal.stays:
            say(f"stays: {line}")
        confirmed(f"Remove {name} from {cluster.context.name}, namespace {cluster.namespace}?", options)
        with progress("removing") as now:
            left = remove(cluster, state, timeout_s=timeout_s, say=seldom(now))
    if as_json:
        print_json(
            {
                "release": name, "context": cluster.context.name, "namespace": cluster.namespace,
                "removed": list(map(str, removal.goes)), "stays": list(removal.stays), "pods_left": left,
            }
        )  # fmt: skip
    for pod in left:
        say(f"still there: pod {pod}")
    say(f"{name} is removed" + (", and its pods go" if left else ""))
    return 0
