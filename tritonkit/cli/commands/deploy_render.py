"""`tritonkit deploy render`: the manifests of a release."""

from __future__ import annotations

from typing import Any

import click

from tritonkit.cli.deploy_options import json_option, kube_version_option, release_options, values_options


@click.command("render")
@release_options
@values_options
@kube_version_option
@json_option
def command(as_json: bool, **options: Any) -> None:
    """Print the manifests that Helm would send for SPECs (default: all in specs/). No cluster is asked.

    The Secret with the key of the restricted APIs is not printed: on the cluster it is made once, and kept.
    """
    show_manifests(options, as_json=as_json, bare=False)


def show_manifests(options: dict[str, Any], *, as_json: bool, bare: bool) -> None:
    """Prints them; `bare`: without what only Helm reads, and in their namespace."""
    from dataclasses import replace

    from deploy.release.cluster import check_namespace
    from deploy.release.objects import manifest_of
    from deploy.release.plain import plain, without_secrets
    from deploy.tools.helm import Helm
    from tritonkit.cli.deploy_options import read
    from tritonkit.cli.output import print_json, say, show_problems
    from tritonkit.cli.signals import terminate_as_interrupt

    namespace = options["namespace"] or "default"
    check_namespace(namespace)
    with terminate_as_interrupt():
        wanted = read(options)
        helm = replace(Helm.found(namespace=namespace), kube_version=options["kube_version"])
        objects = wanted.rendered(helm)
        show_problems(wanted.warnings(helm))
    objects, keys = without_secrets(plain(objects, namespace) if bare else objects, namespace)
    if as_json:
        print_json(objects)
    else:
        click.echo(manifest_of(objects), nl=False)
    for key in keys if bare else ():
        say(f"the pods need the Secret {key.secret}, which is not printed; make it once, before they start:")
        say(f"  {key.command()}")
