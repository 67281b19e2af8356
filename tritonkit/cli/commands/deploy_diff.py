"""`tritonkit deploy diff`: what a release would change on the cluster."""

from __future__ import annotations

from typing import Any

import click

from tritonkit.cli.deploy_options import cluster_options, json_option, release_options, values_options

_WOULD_CHANGE = 3  # with --exit-code: neither the user's to mend (1) nor ours (2)


@click.command("diff")
@release_options
@values_options
@cluster_options
@click.option("--exit-code", is_flag=True, help="End with 3 where something would change: then 1 is an error.")
@json_option
def command(exit_code: bool, as_json: bool, **options: Any) -> int:
    """Show what `apply` would change, object by object; nothing is changed.

    The cluster makes every object ready in a dry run, so that what it fills in by itself is no difference. Values of
    Secrets are never shown. Exit status: 0 nothing would change, 1 something would (3 with --exit-code), or an error.
    """
    from deploy.release.apply import plan
    from deploy.release.differences import differing, summary
    from tritonkit.cli.deploy_options import connected, read
    from tritonkit.cli.output import print_json, printable, progress, say, show_problems
    from tritonkit.cli.signals import terminate_as_interrupt

    with terminate_as_interrupt():
        wanted = read(options)
        cluster = connected(options)
        with progress("asking the cluster what would change"):
            planned = plan(cluster, wanted, changing=False)
    show_problems(planned.found.problems)
    if as_json:
        print_json(
            {
                "release": wanted.name, "context": cluster.context.name, "namespace": cluster.namespace,
                "state": planned.found.state.sentence,
                "changes": [
                    {"object": str(change.key), "action": change.action.value, "diff": change.diff()}
                    for change in planned.changes
                ],
            }
        )  # fmt: skip
    else:
        for change in differing(planned.changes):
            click.echo(printable(change.diff().rstrip("\n")))
    say(f"{wanted.name} ({planned.found.state.sentence}): {summary(planned.changes)}")
    return 0 if not differing(planned.changes) else _WOULD_CHANGE if exit_code else 1
