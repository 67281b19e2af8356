"""What the commands of `tritonkit deploy` share: options, the release's name, and questions before changes."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from tritonkit.cli.parameters import MOST_PODS, Given, GivenFile

if TYPE_CHECKING:
    from deploy.release.cluster import Cluster
    from deploy.release.wanted import Wanted

F = TypeVar("F", bound=Callable[..., Any])
_FILE = click.Path(path_type=Path, dir_okay=False)
TARGET = "production"


def _all(*decorators: Callable[[F], F]) -> Callable[[F], F]:
    def decorated(function: F) -> F:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return decorated


def release_options(function: F) -> F:
    """Which release: the specs that it is of, its name, and its namespace."""
    return _all(
        click.argument("specs", nargs=-1, metavar="[SPEC]...", type=_FILE),
        click.option("--target", type=Given(), default=TARGET, show_default=True, help="Which target of the specs."),
        click.option("--release", type=Given(), metavar="NAME",
                     help="[default: the pipeline; of several it has to be said]"),
        click.option("--namespace", type=Given(), metavar="NAME", help="[default: the context's]"),
    )(function)  # fmt: skip


def values_options(function: F) -> F:
    """What is set beside what follows from the specs."""
    return _all(
        click.option("--values", "files", multiple=True, metavar="FILE", type=_FILE,
                     help="Values of yours, over those of the specs."),
        click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="A single value, over all files."),
        click.option("--measured", multiple=True, metavar="FOLDER", type=click.Path(path_type=Path),
                     help="A load test of a pod, which replicas and autoscaling follow from."),
        click.option("--max-pods", type=click.IntRange(1, MOST_PODS), metavar="N",
                     help="What the cluster has room for."),
        click.option("--allow-vulnerable", is_flag=True, help="Take a server release with known holes as it is."),
    )(function)  # fmt: skip


def cluster_options(function: F) -> F:
    """Which cluster."""
    return _all(
        click.option("--context", type=Given(), metavar="NAME", help="Of the kubeconfig. [default: its current one]"),
        click.option("--kubeconfig", type=GivenFile(), help="[default: as kubectl finds it]"),
    )(function)


def kube_version_option(function: F) -> F:
    """Which Kubernetes the manifests are for, where no cluster is asked."""
    return click.option("--kube-version", default="1.31", show_default=True, metavar="1.N", callback=_kube_version,
                        help="Of the cluster that they are for.")(function)  # fmt: skip


def _kube_version(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    match = re.fullmatch(r"v?1\.(\d{1,3})(\.\d{1,3})?", value)
    if match is None:
        raise click.BadParameter(f"`{value}` is no version of Kubernetes: write it as 1.31")
    if int(match[1]) < 29:
        raise click.BadParameter(f"the chart needs Kubernetes 1.29 or later, and {value} is older")
    return value


def json_option(function: F) -> F:
    """For scripts."""
    return click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")(function)


def yes_option(function: F) -> F:
    """For scripts that know what they do."""
    return click.option("--yes", is_flag=True, help="Do not ask before changing the cluster.")(function)


def read(options: dict[str, Any]) -> Wanted:
    """The release that the options ask for; what is worth knowing of it is told."""
    from deploy.release.overrides import read_overrides
    from deploy.release.wanted import wanted
    from deploy.values import Options
    from generator.project import Project
    from tritonkit.cli.output import show_problems
    from tritonkit.deploy_measured import measured_of

    overrides = read_overrides(options["files"], options["sets"])
    made = wanted(
        Project.find(), options["specs"], options["target"], name=options["release"], overrides=overrides,
        measured=measured_of(options["measured"]),
        options=Options(most_pods=options["max_pods"], allow_vulnerable=options["allow_vulnerable"]),
    )  # fmt: skip
    show_problems(made.problems)
    return made


def name_of(specs: Sequence[Path], target: str, release: str | None) -> str:
    """The release's name, as `read` would choose it. The specs are not resolved: a broken one has a release, too."""
    from deploy.release.cluster import check_release, release_of
    from generator.load import load
    from generator.problems import ProblemsError
    from generator.project import Project
    from generator.spec import Spec
    from generator.workspace import all_specs, targets_of

    if release is None:
        project = Project.find()
        loaded = load(list(specs) or all_specs(project), Spec)
        found = [document.value for document in loaded.documents]
        if not found or (specs and loaded.problems):
            raise ProblemsError(loaded.problems)
        mine = found if specs else [spec for spec in found if target in targets_of(spec)] or found
        release = release_of([spec.name for spec in mine])
    check_release(release)
    return release


def connected(options: dict[str, Any]) -> Cluster:
    """The cluster that the options name; which it is is told."""
    from deploy.release.cluster import connect
    from tritonkit.cli.output import say

    cluster = connect(
        kubeconfig=options["kubeconfig"], context=options["context"], namespace=options["namespace"]
    )  # fmt: skip
    say(f"context {cluster.context.name} ({cluster.context.server}), namespace {cluster.namespace}")
    return cluster


def named(cluster: Cluster, options: dict[str, Any]) -> None:
    """Before anything is asked of a cluster that is to be changed: one that is not local has to be named.

    Raises ProblemsError where nobody named it, and UserError where another name was typed.
    """
    from generator.problems import UserError

    if cluster.is_local or options["context"]:
        return
    context = cluster.context
    if options["yes"] or not sys.stdin.isatty():
        raise cluster.stop(
            "TK445", f"the current context `{context.name}` is of {context.server}, which is not on this machine",
            f"name it if it is the one that you mean: --context {context.name}",
        )  # fmt: skip
    typed = click.prompt(f"{context.server} is not on this machine. The context's name, to go on", err=True)
    if typed.strip() != context.name:
        raise UserError(f"`{typed.strip()}` is not its name: nothing was changed")


def confirmed(question: str, options: dict[str, Any]) -> None:
    """Asks. Raises UserError for a no, and where nobody can be asked."""
    from generator.problems import UserError

    if options["yes"]:
        return
    if not sys.stdin.isatty():
        raise UserError("this changes a cluster, and nobody can be asked", "--yes answers every question")
    if not click.confirm(question, err=True):
        raise UserError("you said no: nothing was changed")
