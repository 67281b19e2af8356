"""`tritonkit deploy apply`: a release is installed or upgraded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from tritonkit.cli.deploy_options import cluster_options, json_option, release_options, values_options, yes_option
from tritonkit.cli.parameters import Seconds

if TYPE_CHECKING:
    from deploy.release.apply import Applied, Planned
    from deploy.release.cluster import Cluster


@click.command("apply")
@release_options
@values_options
@cluster_options
@click.option("--create-namespace", is_flag=True, help="Make the namespace if it is not there.")
@click.option("--timeout", "timeout_s", type=Seconds(),
              help="Until it serves. [default: a minute more than workload.progressDeadlineSeconds; with engines to "
              "build two hours on top]")  # fmt: skip
@click.option("--no-node-check", is_flag=True, help="Only warn where no node can take a pod: such nodes are to come.")
@click.option("--keep-failed", is_flag=True, help="Leave a rollout that failed as it is, for a look.")
@yes_option
@json_option
def command(
    create_namespace: bool, timeout_s: float | None, no_node_check: bool, keep_failed: bool, as_json: bool,
    **options: Any,
) -> int:  # fmt: skip
    """Install or upgrade the release of SPECs (default: all in specs/), and wait until every pod serves.

    First everything is looked at: rights, kinds, nodes, the release's state; then the cluster tries every object in a
    dry run, and you see what would change and are asked. What fails, or is interrupted, is rolled back; a first
    installation is removed. A cluster that is not on this machine has to be named with --context.
    """
    from deploy.release.apply import apply, plan
    from deploy.release.patience import rollout_s
    from tritonkit.cli.deploy_options import confirmed, connected, named, read
    from tritonkit.cli.output import progress, say, seldom, show_problems
    from tritonkit.cli.signals import interrupted_later, terminate_as_interrupt

    with terminate_as_interrupt():
        wanted = read(options)
        cluster = connected(options)
        named(cluster, options)
        with progress("asking the cluster what would change"):
            planned = plan(cluster, wanted, create_namespace=create_namespace, nodes_must_do=not no_node_check)
        show_problems(planned.found.problems)
        if not planned.is_needed:
            return _as_it_is(cluster, planned, timeout_s=timeout_s or rollout_s(wanted.values), as_json=as_json)
        _show(planned, as_json=as_json)
        confirmed(f"Apply {wanted.name} to {cluster.context.name}, namespace {cluster.namespace}?", options)
        with progress("applying") as now:
            done = apply(
                cluster, planned, create_namespace=create_namespace, timeout_s=timeout_s or rollout_s(wanted.values),
                say=seldom(now), guard=interrupted_later, keep_failed=keep_failed,
            )  # fmt: skip
    _tell(cluster, planned, done, as_json=as_json)
    say(f"{wanted.name}: revision {done.revision} serves, {done.rollout.sentence}")
    return 0


def _show(planned: Planned, *, as_json: bool) -> None:
    """What would change: data for people, so not beside JSON."""
    from deploy.release.apply import shown_changes
    from deploy.release.differences import summary
    from tritonkit.cli.output import printable, say

    if not as_json:
        click.echo(printable(shown_changes(planned.changes)), nl=False)
    say(f"{planned.wanted.name} ({planned.found.state.sentence}): {summary(planned.changes)}")


def _as_it_is(cluster: Cluster, planned: Planned, *, timeout_s: float, as_json: bool) -> int:
    """Nothing differs; whether it serves is another question, and is waited for."""
    from deploy.release.apply import watched
    from tritonkit.cli.output import progress, say, seldom

    with progress("looking whether it serves") as now:
        done = watched(cluster, planned, timeout_s=timeout_s, say=seldom(now))
    _tell(cluster, planned, done, as_json=as_json)
    if done.rollout.failed:
        say(f"the rollout will not go on: {done.rollout.failed}")
    say(f"{planned.wanted.name}: revision {done.revision} is as the specs say, {done.rollout.sentence}")
    return 0 if done.rollout.is_done else 1


def _tell(cluster: Cluster, planned: Planned, done: Applied, *, as_json: bool) -> None:
    from tritonkit.cli.output import print_json

    if as_json:
        print_json(
            {
                "release": planned.wanted.name, "context": cluster.context.name, "namespace": cluster.namespace,
                "revision": done.revision, "ready": done.rollout.is_done,
                "pods": {"ready": done.rollout.ready, "wanted": done.rollout.wanted},
                "not_ready": list(done.rollout.waiting),
                "changes": [
                    {"object": str(change.key), "action": change.action.value} for change in planned.changes
                ],
            }
        )  # fmt: skip
