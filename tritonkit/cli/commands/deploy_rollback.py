"""`tritonkit deploy rollback`: an earlier revision serves again."""

from __future__ import annotations

from typing import Any

import click

from tritonkit.cli.deploy_options import cluster_options, json_option, release_options, yes_option
from tritonkit.cli.parameters import Seconds


@click.command("rollback")
@release_options
@click.option("--revision", type=click.IntRange(1), metavar="N", help="[default: the one that served before]")
@cluster_options
@click.option("--timeout", "timeout_s", type=Seconds(),
              help="Until it has to serve. [default: as long as `apply` waits for such values]")  # fmt: skip
@yes_option
@json_option
def command(revision: int | None, timeout_s: float | None, as_json: bool, **options: Any) -> int:
    """Make an earlier revision of the release of SPECs the newest, and wait until every pod serves.

    The specs are not read beyond their names: a revision is what was sent then. It also ends an upgrade that was
    killed half-way. Interrupted, it goes on by itself: `tritonkit deploy status` tells how far it is.
    """
    from deploy.release.apply import rolled_back
    from deploy.release.objects import objects_of
    from deploy.release.patience import rollout_s
    from deploy.release.preflight import may_change, reachable
    from deploy.release.served import known
    from deploy.release.state import installed, revision_of
    from tritonkit.cli.deploy_options import confirmed, connected, name_of, named
    from tritonkit.cli.output import print_json, progress, say, seldom
    from tritonkit.cli.signals import terminate_as_interrupt

    with terminate_as_interrupt():
        name = name_of(options["specs"], options["target"], options["release"])
        cluster = connected(options)
        named(cluster, options)
        reachable(cluster)
        state = known(cluster, installed(cluster, name))
        back = revision_of(cluster, state, revision)
        manifests = [cluster.helm.manifest(name), cluster.helm.manifest(name, back.number)]
        may_change(cluster, [item for text in manifests for item in objects_of(text)])
        patience_s = timeout_s or rollout_s(cluster.helm.values(name, back.number))
        say(f"{name}: {state.sentence}; back to revision {back.number} of {back.updated} ({back.description})")
        confirmed(f"Roll {name} on {cluster.context.name} back to revision {back.number}?", options)
        with progress("rolling back") as now:
            done = rolled_back(cluster, state, back.number, timeout_s=patience_s, say=seldom(now))
    if as_json:
        print_json({"release": name, "context": cluster.context.name, "namespace": cluster.namespace,
                    "revision": done.revision, "as": back.number, "ready": done.rollout.is_done})  # fmt: skip
    say(f"{name}: revision {done.revision} serves as revision {back.number} did, {done.rollout.sentence}")
    return 0
